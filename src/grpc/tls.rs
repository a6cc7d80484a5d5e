//! TLS with whoever connects: what the files say of it, read again while we serve.
//!
//! A handshake takes what is live when it begins; connections under way go on with what they began with.

mod clients;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::NoServerSessionStorage,
};
use webpki::{EndEntityCert, KeyUsage};

use self::clients::Clients;
pub(super) use self::clients::NotListed;
use crate::{
    config::settings::{ClientNames, GrpcTls},
    pem::{Fingerprint, PemError, PemFile, Unusable, fingerprint},
};

/// What handshakes are made with.
pub struct Tls {
    files: GrpcTls,
    live: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// What was seen of the files.
struct Seen {
    /// As they were when it was last decided whether they go live.
    decided: Mark,
    /// As they are since the last look, if that is something else.
    changed: Option<Mark>,
}

/// What tells one state of the files from another: their contents, or what is wrong with them.
type Mark = Result<Fingerprint, String>;

/// A certificate that is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Since 1970. The first to expire counts, of ours and those that lead from it to whom clients trust.
    pub expires_secs: u64,
}

/// What a look at the files led to.
#[derive(Debug)]
pub enum Looked {
    /// Nothing, so far.
    Same,
    /// They changed, and are live.
    Live(Shown),
    /// They changed, and will not do: what was live stays so.
    Refused(PemError),
}

impl Tls {
    /// TLS as the files say now.
    ///
    /// # Errors
    ///
    /// Which of them will not do, and why.
    pub fn read(files: GrpcTls) -> Result<(Self, Shown), PemError> {
        let contents = Contents::read(&files)?;
        let (config, shown) = contents.configure()?;
        let seen = Seen { decided: Ok(contents.fingerprint()), changed: None };
        Ok((Self { files, live: ArcSwap::from_pointee(config), seen: Mutex::new(seen) }, shown))
    }

    /// What a handshake that begins now is made with.
    pub(super) fn live(&self) -> Arc<ServerConfig> {
        self.live.load_full()
    }

    /// Reads the files, and lets them go live if they changed and are good.
    ///
    /// Two looks must see the same: a certificate and its key are written one after the other, and so are the parts of
    /// each. Until then, and as long as they are broken, what was live stays so.
    pub fn look(&self) -> Looked {
        let contents = Contents::read(&self.files);
        let mark = contents.as_ref().map(Contents::fingerprint).map_err(ToString::to_string);
        let mut seen = self.seen.lock();
        if mark == seen.decided {
            seen.changed = None;
            return Looked::Same;
        }
        if seen.changed.as_ref() != Some(&mark) {
            seen.changed = Some(mark);
            return Looked::Same;
        }
        *seen = Seen { decided: mark, changed: None };
        match contents.and_then(|contents| contents.configure()) {
            Ok((config, shown)) => {
                self.live.store(Arc::new(config));
                Looked::Live(shown)
            }
            Err(error) => Looked::Refused(error),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What is in the files.
struct Contents {
    certificate: PemFile,
    key: PemFile,
    clients: Option<Clients>,
}

impl Contents {
    fn read(files: &GrpcTls) -> Result<Self, PemError> {
        let clients = match &files.clients {
            Some(clients) => Some(Clients {
                ca: PemFile::read(&clients.ca)?,
                names: match &clients.names {
                    ClientNames::Any => clients::Names::Any,
                    ClientNames::Of(names) => clients::Names::Of(names.clone()),
                    ClientNames::InFile(path) => clients::Names::In(PemFile::read(path)?),
                },
            }),
            None => None,
        };
        Ok(Self { certificate: PemFile::read(&files.certificate)?, key: PemFile::read(&files.key)?, clients })
    }

    /// Kept in place of the contents, one of which is secret.
    fn fingerprint(&self) -> Fingerprint {
        fingerprint([&self.certificate, &self.key].into_iter().chain(self.clients.iter().flat_map(Clients::files)))
    }

    fn configure(&self) -> Result<(ServerConfig, Shown), PemError> {
        let chain = self.certificate.certificates()?;
        let shown = Shown { expires_secs: self.expiry(&chain)? };
        // Named, not found: where two providers are compiled in, rustls would not know which, and panic.
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|why| self.certificate.blame(why))?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, self.key.private_key()?);
        let mut config = config.map_err(|why| self.blame_key(why))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // An Envoy stays for an hour: nothing is gained by resuming, and who is trusted no more must not come back by an
        // old session.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok((config, shown))
    }

    fn blame_key(&self, why: rustls::Error) -> PemError {
        let rustls::Error::InconsistentKeys(_) = why else { return self.key.blame(why) };
        let certificate = self.certificate.path().display();
        self.key.blame(Unusable::Other(format!("it is not the key of the certificate in {certificate}").into()))
    }

    fn expiry(&self, chain: &[CertificateDer<'_>]) -> Result<u64, PemError> {
        let mut first = u64::MAX;
        for certificate in chain {
            first = first.min(expiry(certificate).map_err(|why| self.certificate.blame(Unusable::Other(why)))?);
        }
        Ok(first)
    }
}

/// When the certificate expires, in seconds since 1970.
///
/// Asked whether it holds at the end of time, webpki answers with that, before it looks for anything else.
fn expiry(certificate: &CertificateDer<'_>) -> Result<u64, Box<str>> {
    let odd = |why: webpki::Error| format!("a certificate in it is odd: {why}").into();
    let certificate = EndEntityCert::try_from(certificate).map_err(odd)?;
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    let (nobody, usage) = (&[], KeyUsage::server_auth());
    match certificate.verify_for_usage(nobody, &[], &[], end_of_time, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Ok(not_after.as_secs()),
        Err(why) => Err(odd(why)),
        Ok(_) => Ok(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
