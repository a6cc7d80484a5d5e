//! The socket under a connection.
//!
//! It denies vectored writes: h2 then copies small payloads behind their headers, and an answer leaves in one write
//! instead of three (measured: half of the CPU of a call). It counts what it reads: h2 has no deadline for a client that
//! connects and stays silent, asks none whether it still lives, and reads for as long as there is anything to read.

mod ground;

use std::{
    io,
    os::unix::net::UnixStream as StdUnixStream,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take},
    net::{TcpStream, UnixStream},
    task::yield_now,
};
use tokio_rustls::server::TlsStream;

pub(super) use ground::Ground;

/// A connection on its way from the runtime that accepted it to the core it is dealt to.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
    /// After its handshake. In a box: it is ten times as large as the others.
    Tls(Box<TlsStream<Ground>>),
}

impl Accepted {
    /// Settles on the runtime that calls.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch the socket: the process is out of memory or handles.
    pub(super) fn settle(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Socket::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
            Self::Tls(mut session) => {
                session.get_mut().0.settle()?;
                Ok(Socket::Tls(session))
            }
        }
    }
}

/// A connection's socket, of either family, or a TLS session on one.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Ground>>),
}

/// A socket that counts what it reads and offers no vectored writes.
#[derive(Debug)]
pub(super) struct Wire<S> {
    socket: Take<S>,
    heard: Heard,
}

/// How many bytes a wire has read so far, and how many it may until the others' turn.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<Ear>);

#[derive(Debug)]
struct Ear {
    bytes: AtomicU64,
    enough: AtomicU64,
}

impl Heard {
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    /// Begins a turn, in which so many bytes are read and no more.
    pub(super) fn begin_turn(&self, portion: u64) {
        self.0.enough.store(self.bytes().saturating_add(portion), Relaxed);
    }
}

impl Default for Heard {
    /// Without turns: whoever shakes hands reads a few bytes.
    fn default() -> Self {
        Self(Arc::new(Ear { bytes: AtomicU64::new(0), enough: AtomicU64::new(u64::MAX) }))
    }
}

impl<S: AsyncRead> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket: socket.take(0), heard: Heard::default() }
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ear = &*self.heard.0;
        let so_far = ear.bytes.load(Relaxed);
        let left = ear.enough.load(Relaxed).saturating_sub(so_far);
        if left == 0 {
            // Not woken at once: first everybody else who is awake has a turn, and the system is asked who else is.
            return pin!(yield_now()).poll(cx).map(Ok);
        }
        let before = buffer.filled().len();
        self.socket.set_limit(left);
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        // Only this task writes it: a load and a store, no locked instruction.
        self.heard.0.bytes.store(so_far.saturating_add((buffer.filled().len() - before) as u64), Relaxed);
        read
    }
}

/// `is_write_vectored` stays at its default: no.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.get_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(session) => Pin::new(session).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(session) => Pin::new(session).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(session) => Pin::new(session).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(session) => Pin::new(session).poll_shutdown(cx),
        }
    }
}
