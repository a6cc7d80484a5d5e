//! Where to listen: `HOST:PORT` or `unix:PATH`.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _},
        net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};

use super::{accept::Source, tls::Tls, wire::Accepted};
use crate::bounds::CONNECTIONS_WAITING_MAX;

/// An address as it is written in settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address (IPv6 in brackets) and a port; port 0 lets the system choose.
    Tcp {
        host: Box<str>,
        port: u16,
    },
    Unix(PathBuf),
}

/// What cannot be listened on, and why.
#[derive(Debug, Error)]
pub enum ListenError {
    #[error("`{text}` is no address: {why}; write HOST:PORT or unix:PATH")]
    Address { text: String, why: &'static str },
    #[error("cannot listen on {address}")]
    Bind { address: Address, source: io::Error },
    #[error("cannot listen on unix:{path}: another process does")]
    InUse { path: PathBuf },
    #[error("cannot listen on unix:{path}: there is a file, and it is no socket")]
    NotASocket { path: PathBuf },
}

impl Address {
    /// Reads `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// Where the text is neither.
    pub fn parse(text: &str) -> Result<Self, ListenError> {
        let wrong = |why| ListenError::Address { text: text.to_owned(), why };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(wrong("the path is empty")),
                // The kernel's `sun_path` holds 108 bytes, the last of them zero.
                1..=107 => Ok(Self::Unix(path.into())),
                _ => Err(wrong("a socket's path has at most 107 bytes")),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port is no number from 0 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(|| wrong("the bracket is not closed"))?,
            None if host.contains(':') => return Err(wrong("an IPv6 address stands in brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        Ok(Self::Tcp { host: host.into(), port })
    }

    /// Begins to listen.
    ///
    /// A socket file that a dead process left is replaced; one that somebody listens on is not.
    ///
    /// # Errors
    ///
    /// Where the system or another process does not let us.
    pub async fn bind(&self) -> Result<Listener, ListenError> {
        match self {
            Self::Tcp { host, port } => {
                let listening = async { tcp(lookup_host((&**host, *port)).await?) };
                match listening.await {
                    Ok(listener) => Ok(Listener { inner: Inner::Tcp(listener), host: host.clone(), tls: None }),
                    Err(source) => Err(ListenError::Bind { address: self.clone(), source }),
                }
            }
            Self::Unix(path) => {
                let listener = bind_unix(path)?;
                let failed = |source| ListenError::Bind { address: self.clone(), source };
                // Whoever replaces the file later owns it: ours is known by its number.
                let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
                listener.set_nonblocking(true).map_err(failed)?;
                let listener = UnixListener::from_std(listener).map_err(failed)?;
                Ok(Listener {
                    inner: Inner::Unix { listener, file: SocketFile { path: path.clone(), inode } },
                    host: "".into(),
                    tls: None,
                })
            }
        }
    }
}

impl FromStr for Address {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Listens on the first of these addresses that can be listened on, with room for all who come at once: without it
/// everybody but the first 128 who come back after a restart waits for a second or more, until their system tries again.
///
/// # Errors
///
/// Why not on the last of them.
pub fn tcp(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let listen = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port is free again as soon as nobody listens, whatever still closes there.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(CONNECTIONS_WAITING_MAX)
    };
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// A bound socket. Dropped, it is closed, and a Unix socket's file removed.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    host: Box<str>,
    tls: Option<Arc<Tls>>,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix { listener: UnixListener, file: SocketFile },
}

impl Listener {
    /// The same where TLS is spoken, if it is a port: who may use a Unix socket, the rights of its file say.
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The address it really has, with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    ///
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match &self.inner {
            Inner::Tcp(listener) => Address::Tcp { host: self.host.clone(), port: listener.local_addr()?.port() },
            Inner::Unix { file, .. } => Address::Unix(file.path.clone()),
        })
    }
}

impl Source for Listener {
    fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (socket, _peer) = listener.accept().await?;
                // Without it the second part of an answer waits for the peer's delayed acknowledgement: 40 ms. It fails
                // only on a socket whose client is already gone, as the connection will find out.
                let _ = socket.set_nodelay(true);
                socket.into_std().map(Accepted::Tcp)
            }
            Inner::Unix { listener, .. } => listener.accept().await?.0.into_std().map(Accepted::Unix),
        }
    }
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // What cannot be removed is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_unix(path: &Path) -> Result<StdUnixListener, ListenError> {
    let failed = |source| ListenError::Bind { address: Address::Unix(path.to_owned()), source };
    match StdUnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        bound => return bound.map_err(failed),
    }
    if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    match StdUnixStream::connect(path) {
        // Nobody listens: the file is left over.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // Somebody does, even if its queue is full or we may not connect.
        _ => return Err(ListenError::InUse { path: path.to_owned() }),
    }
    fs::remove_file(path).map_err(failed)?;
    StdUnixListener::bind(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in ["127.0.0.1:8081", "[::1]:0", "localhost:65535", "unix:/run/tallygate.sock", "unix:rel"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_named_with_the_reason() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, why) in [
            ("8081", "the port is missing"),
            (":8081", "the host is missing"),
            ("host:", "the port is no number from 0 to 65535"),
            ("host:65536", "the port is no number from 0 to 65535"),
            ("::1:8081", "an IPv6 address stands in brackets"),
            ("[::1:8081", "the bracket is not closed"),
            ("[]:1", "the host is missing"),
            ("unix:", "the path is empty"),
            (&long, "a socket's path has at most 107 bytes"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no address: {why}; write HOST:PORT or unix:PATH"));
        }
    }

    #[tokio::test]
    async fn port_0_is_told_once_it_is_chosen() {
        let listener = Address::parse("127.0.0.1:0").unwrap().bind().await.unwrap();
        let Address::Tcp { port, .. } = listener.address().unwrap() else { panic!("a port") };
        assert_ne!(port, 0);
        let taken = listener.address().unwrap();
        let error = taken.bind().await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {taken}"));
    }

    #[tokio::test]
    async fn hundreds_who_come_at_once_find_room() {
        let listener = Address::parse("127.0.0.1:0").unwrap().bind().await.unwrap();
        let Inner::Tcp(tcp) = &listener.inner else { panic!("a port") };
        let address = tcp.local_addr().unwrap();
        // Nobody accepts them: who finds no room tries in vain.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
        let crowd: Vec<_> = (0..300).map(connect).collect();
        drop(crowd);
    }

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_where_nobody_listens_and_removed_on_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rls.sock");
        let address = Address::Unix(path.clone());

        drop(StdUnixListener::bind(&path).unwrap()); // leaves its file, as a killed process does
        let listener = address.bind().await.unwrap();
        assert!(matches!(address.bind().await, Err(ListenError::InUse { .. })));
        drop(listener);
        assert!(!path.exists());

        fs::write(&path, "notes").unwrap();
        assert!(matches!(address.bind().await, Err(ListenError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    }

    #[tokio::test]
    async fn a_socket_file_that_somebody_else_put_there_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rls.sock");
        let listener = Address::Unix(path.clone()).bind().await.unwrap();
        fs::rename(&path, directory.path().join("ours.sock")).unwrap();
        let _theirs = StdUnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
