//! Connections to the collector, with or without TLS.

use std::{io, sync::Arc};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{Settings, collector::Protocol, export::ExportError};
use crate::{
    pem::{PemFile, trusted_by_this_machine},
    tls_client,
};

/// Opens connections to the collector.
#[derive(Clone)]
pub(super) struct Connect {
    host: Arc<str>,
    port: u16,
    /// None: in plain text.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What is written and read, whatever is between.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connect {
    pub(super) fn new(settings: &Settings) -> Result<Self, ExportError> {
        let (host, port) = (&settings.collector.host, settings.collector.port);
        let tls = if settings.collector.tls {
            let name = ServerName::try_from(&**host).map_err(|_| ExportError::Name(host.clone()))?;
            Some((connector(settings)?, name.to_owned()))
        } else {
            None
        };
        Ok(Self { host: (**host).into(), port, tls })
    }

    /// The first of the host's addresses that lets itself be connected to.
    pub(super) async fn connect(self) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match self.tls {
            Some((tls, name)) => Box::new(tls.connect(name, stream).await?),
            None => Box::new(stream),
        };
        Ok(TokioIo::new(stream))
    }
}

/// Whom we trust is read once, at the start: a collector is ours to restart with.
fn connector(settings: &Settings) -> Result<TlsConnector, ExportError> {
    let trusted = match &settings.ca {
        Some(file) => PemFile::read(file)?.trusted()?,
        None => trusted_by_this_machine().ok_or(ExportError::NobodyTrusted)?,
    };
    let mut config = tls_client::configuration(trusted, None)?;
    config.alpn_protocols = match settings.collector.protocol {
        Protocol::Grpc => vec![b"h2".to_vec()],
        Protocol::Http => vec![b"http/1.1".to_vec()],
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
