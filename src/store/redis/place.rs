//! Where a server listens, and the way there: by TCP, with TLS in it, or by a socket of this machine.

use std::{fmt, io, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};

use super::{Away, tls::Tls};
use crate::store_address::Server;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(Server),
    /// A socket of this machine.
    Unix(PathBuf),
}

/// Bytes to a server and from it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Place {
    /// Connects, however long that takes; to each of several addresses but the last it may take so long.
    ///
    /// # Errors
    ///
    /// Nobody is there, or not the one we trust.
    pub async fn connect(&self, tls: Option<&Tls>, patience: Duration) -> Result<Box<dyn Stream>, Away> {
        let server = match self {
            Self::Tcp(server) => server,
            Self::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await.map_err(|_| Away::Lost)?)),
        };
        // First, so that nobody is connected to for a file that cannot be read.
        let configuration = match tls {
            Some(tls) => Some(tls.configuration().await?),
            None => None,
        };
        let stream = connect(server, patience).await.map_err(|_| Away::Lost)?;
        Ok(match configuration {
            Some(configuration) => Box::new(configuration.shake_hands(server, stream).await?),
            None => Box::new(stream),
        })
    }
}

/// Tries the addresses of a server one after the other. One that answers nothing leaves time for the next.
async fn connect(server: &Server, patience: Duration) -> io::Result<TcpStream> {
    let mut addresses = lookup_host((&*server.host, server.port)).await?.peekable();
    let mut failed = io::ErrorKind::NotFound.into();
    while let Some(address) = addresses.next() {
        let connecting = TcpStream::connect(address);
        let connected = match addresses.peek() {
            Some(_) => timeout(patience, connecting).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            None => connecting.await,
        };
        match connected {
            Ok(stream) => {
                // Or a call would wait until the server has acknowledged the one before.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(server) => server.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
