//! The ground that a TLS session stands on: a socket that moves from one runtime to another under it.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A socket that a runtime watches, or that is on its way to another.
#[derive(Debug)]
pub(in crate::grpc) enum Ground {
    Settled(TcpStream),
    Lifted(std::net::TcpStream),
    /// Moving failed, and the socket is closed.
    Gone,
}

impl Ground {
    /// Leaves the runtime that watches it.
    ///
    /// # Errors
    ///
    /// Where that does not let it go.
    pub fn lift(&mut self) -> io::Result<()> {
        *self = match mem::replace(self, Self::Gone) {
            Self::Settled(socket) => Self::Lifted(socket.into_std()?),
            lifted_or_gone => lifted_or_gone,
        };
        Ok(())
    }

    /// Settles on the runtime that calls.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch the socket: the process is out of memory or handles.
    pub fn settle(&mut self) -> io::Result<()> {
        *self = match mem::replace(self, Self::Gone) {
            Self::Lifted(socket) => Self::Settled(TcpStream::from_std(socket)?),
            settled_or_gone => settled_or_gone,
        };
        Ok(())
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self {
            Self::Settled(socket) => Ok(Pin::new(socket)),
            Self::Lifted(_) | Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Ground {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

/// With vectored writes: all records of a TLS session that wait leave in one.
impl AsyncWrite for Ground {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
