//! TLS to the server: whom we trust, and how we show who we are.

use std::{io, path::Path, sync::Arc};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::{Away, files};
use crate::{
    bounds::TLS_FILE_MAX_BYTES,
    pem::{Fingerprint, PemError, PemFile, fingerprint, trusted_by_this_machine},
    store_address::{Server, TlsFiles},
    tls_client::{self, TlsClientError},
};

/// How connections are encrypted. The certificate of a server must bear the name, or the address, by which it is
/// connected to.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    /// Whom this machine trusts, as it was at the start; nobody where a file says who is trusted.
    machine: Arc<RootCertStore>,
    /// What was made of the files last. While they stay the same so does it, and with it the sessions to resume.
    made: Mutex<Option<(Fingerprint, Configuration)>>,
}

/// What the files said.
#[derive(Clone, Debug)]
pub(super) struct Configuration(Arc<ClientConfig>);

impl Tls {
    /// TLS by these files, which are not read yet.
    ///
    /// # Errors
    ///
    /// There is nobody to trust.
    pub fn new(files: TlsFiles) -> Result<Self, &'static str> {
        let machine = match files.ca {
            Some(_) => RootCertStore::empty(),
            None => trusted_by_this_machine()
                .ok_or("this machine trusts nobody: name a file with certificates by `store_tls_ca_file`")?,
        };
        Ok(Self { files, machine: Arc::new(machine), made: Mutex::default() })
    }

    /// What the files say now.
    ///
    /// # Errors
    ///
    /// Which of them cannot be used, and why.
    pub async fn configuration(&self) -> Result<Configuration, Away> {
        let contents = Contents::read(&self.files).await?;
        let fingerprint = contents.fingerprint();
        if let Some((of, configuration)) = &*self.made.lock()
            && *of == fingerprint
        {
            return Ok(configuration.clone());
        }
        let configuration = Configuration(Arc::new(self.configure(&contents)?));
        *self.made.lock() = Some((fingerprint, configuration.clone()));
        Ok(configuration)
    }

    fn configure(&self, contents: &Contents) -> Result<ClientConfig, Away> {
        let trusted = match &contents.ca {
            Some(ca) => Arc::new(ca.trusted()?),
            None => Arc::clone(&self.machine),
        };
        let own = contents.client.as_ref().map(|(certificate, key)| (certificate, key));
        Ok(tls_client::configuration(trusted, own)?)
    }
}

impl Configuration {
    /// # Errors
    ///
    /// What is wrong with the server's certificate, or with ours.
    pub async fn shake_hands(self, server: &Server, stream: TcpStream) -> Result<TlsStream<TcpStream>, Away> {
        let name = ServerName::try_from(&*server.host).map_err(|why| Away::Tls(format!("{server}: {why}").into()))?;
        let shaken = TlsConnector::from(self.0).connect(name.to_owned(), stream).await;
        shaken.map_err(|error| match fault(&error) {
            Some(why) => Away::Tls(format!("{server}: {why}").into()),
            None => Away::Lost,
        })
    }
}

/// What TLS has against a connection, where it is that what ended it.
pub(super) fn fault(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What is in the files.
struct Contents {
    ca: Option<PemFile>,
    client: Option<(PemFile, PemFile)>,
}

impl Contents {
    async fn read(files: &TlsFiles) -> Result<Self, Away> {
        let ca = match &files.ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let client = match &files.client {
            Some(client) => Some((read(&client.certificate).await?, read(&client.key).await?)),
            None => None,
        };
        Ok(Self { ca, client })
    }

    /// Kept in place of the contents.
    fn fingerprint(&self) -> Fingerprint {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        fingerprint(self.ca.iter().chain(client))
    }
}

async fn read(path: &Path) -> Result<PemFile, Away> {
    let bytes = files::read(path, TLS_FILE_MAX_BYTES).await.map_err(Away::Tls)?;
    Ok(PemFile::new(path, bytes))
}

/// A file that will not do.
impl From<PemError> for Away {
    fn from(error: PemError) -> Self {
        TlsClientError::from(error).into()
    }
}

impl From<TlsClientError> for Away {
    fn from(error: TlsClientError) -> Self {
        Self::Tls(error.to_string().into())
    }
}
