//! Who may come: a certificate that somebody we trust signed, for one of the names on the list.

use std::{fmt, sync::Arc};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use webpki::EndEntityCert;

use crate::{
    bounds::CLIENT_NAMES_MAX,
    config::settings::ClientName,
    pem::{PemError, PemFile, Unusable},
};

/// What was read of who may come.
pub(super) struct Clients {
    pub ca: PemFile,
    pub names: Names,
}

pub(super) enum Names {
    Any,
    Of(Vec<ClientName>),
    /// A line each; empty ones, and those that begin with `#`, say nothing.
    In(PemFile),
}

impl Clients {
    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = &PemFile> {
        let names = match &self.names {
            Names::In(file) => Some(file),
            Names::Any | Names::Of(_) => None,
        };
        [&self.ca].into_iter().chain(names)
    }

    /// Who looks at their certificates.
    ///
    /// # Errors
    ///
    /// Which file will not do, and why.
    pub fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, PemError> {
        let trusted = Arc::new(self.ca.trusted()?);
        let signed = WebPkiClientVerifier::builder_with_provider(trusted, provider)
            .build()
            .map_err(|why| self.ca.blame(Unusable::Other(why.to_string().into())))?;
        Ok(match &self.names {
            Names::Any => signed,
            Names::Of(names) => Arc::new(Named { signed, names: names.clone() }),
            Names::In(file) => Arc::new(Named { signed, names: names_in(file)? }),
        })
    }
}

fn names_in(file: &PemFile) -> Result<Vec<ClientName>, PemError> {
    let blame = |why: String| file.blame(Unusable::Other(why.into()));
    let mut names = Vec::new();
    for (number, line) in (1..).zip(file.text()?.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = ClientName::parse(line);
        names.push(name.ok_or_else(|| blame(format!("line {number} is no DNS name, address or URI")))?);
    }
    match names.len() {
        // Nobody may come: that is hardly ever meant, and often a file that is being written.
        0 => Err(blame("there is no name in it".into())),
        1..=CLIENT_NAMES_MAX => Ok(names),
        more => Err(blame(format!("it has {more} names, more than {CLIENT_NAMES_MAX}"))),
    }
}

/// Asks of a certificate that is signed as it should be for a name on the list, too.
struct Named {
    signed: Arc<dyn ClientCertVerifier>,
    names: Vec<ClientName>,
}

/// A certificate that is signed as it should be, and bears none of the names on the list.
#[derive(Debug, Error)]
#[error("the client's certificate is for none of the names that may come, but for {}", .borne.join(", "))]
pub(in crate::grpc) struct NotListed {
    borne: Vec<String>,
}

impl NotListed {
    fn new(certificate: &EndEntityCert<'_>) -> Self {
        let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
        let borne: Vec<String> = names.take(NAMES_TOLD).map(str::to_owned).collect();
        Self { borne: if borne.is_empty() { vec!["no name".to_owned()] } else { borne } }
    }
}

/// Names of one certificate that the log tells: real ones have one or two.
const NAMES_TOLD: usize = 4;

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.signed.verify_client_cert(certificate, between, now)?;
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let named = self.names.iter().any(|name| name.is_borne_by(&parsed));
        let not_listed = || OtherError(Arc::new(NotListed::new(&parsed)));
        if named { Ok(verified) } else { Err(CertificateError::Other(not_listed()).into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("names", &self.names).finish_non_exhaustive()
    }
}
