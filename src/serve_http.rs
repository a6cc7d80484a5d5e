//! Serves HTTP/1.1: an accept loop of our own, for what axum's lacks. Slow clients are given up, connections are
//! bounded, and accepting does not spin while the system has no handles.

pub mod body;
mod patient;

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::sleep,
};
use tower::Service as _;
use tracing::warn;

use self::patient::Patient;
use crate::bounds::{ACCEPT_PAUSE_MAX, HTTP_HEADER_DEADLINE, HTTP_HEADERS_MAX_BYTES, HTTP_READER_PATIENCE};

/// The addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// What a connection is served.
#[derive(Debug)]
pub struct Served {
    pub router: Router,
    /// A place that it keeps to its end, beside the one that every connection of the listener has.
    pub place: Option<OwnedSemaphorePermit>,
}

impl From<Router> for Served {
    fn from(router: Router) -> Self {
        Self { router, place: None }
    }
}

/// Serves what `serve` says of each connection, or closes it, until told to stop; and then until the last answer is out:
/// whoever calls bounds that.
///
/// Handlers find the peer as [`ConnectInfo`]. HTTP/1.1 only: nobody who asks here needs more, and HTTP/2 has more to
/// attack.
pub async fn serve_http(
    listener: TcpListener,
    serve: impl Fn(Ends) -> Option<Served>,
    connections_max: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let http = http1(HTTP_HEADER_DEADLINE);
    let places = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        match accepted {
            Ok((socket, ends, place)) => {
                if let Some(Served { router, place: second }) = serve(ends) {
                    let (http, stopped) = (http.clone(), stopped.clone());
                    connections.spawn(converse(http, socket, ends.peer, (place, second), router, stopped));
                }
            }
            // It has gone already.
            Err(error) if [io::ErrorKind::ConnectionAborted, io::ErrorKind::NotConnected].contains(&error.kind()) => {}
            Err(error) => {
                // Out of handles or memory. The connection stays in the system's queue, so that accepting at once
                // would fail at once, for ever.
                warn!(%error, "accepting an HTTP connection failed; trying again shortly");
                sleep(ACCEPT_PAUSE_MAX).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// HTTP/1.1 as it is spoken here.
fn http1(header_deadline: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()) // without it, the deadline panics
        .header_read_timeout(header_deadline)
        .max_buf_size(HTTP_HEADERS_MAX_BYTES);
    http
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Ends, OwnedSemaphorePermit)> {
    // Nobody closes the semaphore.
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    // Without it the second part of an answer waits for the peer's delayed acknowledgement: 40 ms. It fails only on a
    // socket whose client is already gone, as the connection will find out.
    let _ = socket.set_nodelay(true);
    let ends = Ends { local: socket.local_addr()?, peer };
    Ok((socket, ends, place))
}

/// One connection, from its first request to its end.
async fn converse(
    http: http1::Builder,
    socket: TcpStream,
    peer: SocketAddr,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| answer(router.clone(), request, peer));
    let socket = TokioIo::new(Patient::new(socket, HTTP_READER_PATIENCE));
    let mut connection = pin!(http.serve_connection(socket, service));
    tokio::select! {
        // Whatever ended it, a client's error or its good-bye, there is nothing to do about it.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.call(request).await
}

#[cfg(test)]
mod tests;
