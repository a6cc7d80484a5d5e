//! One connection, from its preface to its end.

use std::{
    convert::Infallible,
    future::pending,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tonic::service::Routes;
use tower::Service as _;

use super::{
    events::Events,
    message::Room,
    reply::{self, Reply},
    settings::Settings,
    unary::{self, Decide},
    wire::{Heard, Wire},
};
use crate::bounds;

/// The preface (24 bytes) and the frame header of the SETTINGS that must follow it: a client that has said so much
/// speaks HTTP/2, and keep-alive watches over it from there.
const PREFACE_BYTES: u64 = 24 + 9;

/// What all connections of one core share. One a core, so that counting its references stays within the core.
pub(super) struct Seat<D, E> {
    pub core: usize,
    pub decide: Arc<D>,
    pub events: Arc<E>,
    pub routes: Routes,
    pub settings: Settings,
    pub room: Room,
    pub h2: http2::Builder<TokioExecutor>,
    /// Connections of this core that have asked for a decision.
    pub working: Arc<AtomicUsize>,
    /// The core has too much to do: the next connection that asks is told to go. The busiest is the likeliest to.
    pub sheds: Arc<AtomicBool>,
    /// Turns true when the server stops.
    pub drain: watch::Receiver<bool>,
}

/// HTTP/2 as it is spoken here. hyper's tasks (one a call) run on the core's own runtime and end with it.
pub(super) fn h2() -> http2::Builder<TokioExecutor> {
    let mut h2 = http2::Builder::new(TokioExecutor::new());
    h2.timer(TokioTimer::new()) // without it, keep-alive panics
        .keep_alive_interval(bounds::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(bounds::KEEP_ALIVE_TIMEOUT)
        .auto_date_header(false) // nobody reads it
        .max_concurrent_streams(bounds::STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(bounds::PENDING_RESETS_MAX)
        .max_local_error_reset_streams(bounds::LOCAL_RESETS_MAX)
        .initial_stream_window_size(bounds::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(bounds::CONNECTION_WINDOW_BYTES)
        .max_header_list_size(bounds::HEADER_LIST_MAX_BYTES)
        .max_send_buf_size(bounds::SEND_BUFFER_MAX_BYTES);
    h2
}

/// Serves one connection until it ends, is too old, or the server stops. `number` counts the connections of the
/// process: see [`age`].
pub(super) async fn serve<D, E, S>(seat: Arc<Seat<D, E>>, socket: S, number: u64)
where
    D: Decide,
    E: Events,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Wire::new(socket);
    let heard = wire.heard();
    let mut drain = seat.drain.clone();
    let client = Arc::new(Client { seat: seat.clone(), works: AtomicBool::new(false), shed: Notify::new() });
    let asking = client.clone();
    let service = service_fn(move |request| respond(asking.clone(), request));
    let mut connection = pin!(seat.h2.serve_connection(TokioIo::new(wire), service));

    let grace = tokio::select! {
        // Whatever ended it, a client's error or its good-bye, there is nothing to do about it.
        _ = connection.as_mut() => return,
        () = silence(&heard, seat.settings.preface_deadline) => return seat.events.stayed_silent(),
        () = sleep(age(seat.settings.age_max, number)) => seat.settings.age_grace,
        () = client.shed.notified() => {
            seat.events.moved(seat.core);
            seat.settings.age_grace
        }
        // An error: the server is gone without a word, which means the same.
        _ = drain.wait_for(|stops| *stops) => seat.settings.drain_grace,
    };
    // GOAWAY for every stream, a PING, GOAWAY with the last one seen; calls until then are answered. Who never answers
    // the PING is dropped after the grace.
    connection.as_mut().graceful_shutdown();
    let _ = timeout(grace, connection).await;
}

/// The other end of one connection.
struct Client<D, E> {
    seat: Arc<Seat<D, E>>,
    /// It has asked for a decision.
    works: AtomicBool,
    /// It shall go and come back to another core.
    shed: Notify,
}

impl<D, E> Client<D, E> {
    fn asks(&self) {
        if !self.works.load(Relaxed) && !self.works.swap(true, Relaxed) {
            self.seat.working.fetch_add(1, Relaxed);
        }
        if self.seat.sheds.load(Relaxed) && self.seat.sheds.swap(false, Relaxed) {
            self.shed.notify_one();
        }
    }
}

impl<D, E> Drop for Client<D, E> {
    fn drop(&mut self) {
        if *self.works.get_mut() {
            self.seat.working.fetch_sub(1, Relaxed);
        }
    }
}

/// What a request comes to. hyper makes a task of each and moves it three times: what is rare is boxed, and the
/// request's head is gone before there is a future.
enum Call {
    Decision(Incoming),
    /// One of tonic's: health.
    Other(Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>),
    NoGrpc(StatusCode),
}

fn respond<D, E>(
    client: Arc<Client<D, E>>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Reply>, Infallible>> + Send
where
    D: Decide,
    E: Events,
{
    let call = if request.uri().path() == unary::PATH {
        client.asks();
        unary::admit(request).map_or_else(Call::NoGrpc, Call::Decision)
    } else {
        let answered = client.seat.routes.clone().call(request);
        Call::Other(Box::pin(async { answered.await.map(|response| response.map(Reply::Tonic)) }))
    };
    async move {
        let seat = &*client.seat;
        match call {
            Call::Decision(body) => {
                let deadline = seat.settings.message_deadline;
                Ok(unary::answer(body, (&*seat.decide, seat.core), &*seat.events, &seat.room, deadline).await)
            }
            Call::Other(answered) => answered.await,
            Call::NoGrpc(status) => Ok(reply::no_grpc(status)),
        }
    }
}

/// Comes to an end only if the client has not begun to speak HTTP/2 by the deadline.
async fn silence(heard: &Heard, deadline: Duration) {
    sleep(deadline).await;
    if heard.bytes() >= PREFACE_BYTES {
        pending::<()>().await;
    }
}

/// How old the connection of this number may become: `longest` more or less a tenth, so that connections that came
/// together do not all come back together.
///
/// Multiples of the golden ratio fall evenly into any interval, however few there are; chance does not.
fn age(longest: Duration, number: u64) -> Duration {
    const GOLDEN_RATIO_OF_2_32: u64 = 2_654_435_769;
    let share = (number.wrapping_mul(GOLDEN_RATIO_OF_2_32) & 0xffff_ffff) as f64 / 4_294_967_296.0;
    // A length that no Duration holds is as good as the longest.
    Duration::try_from_secs_f64(longest.as_secs_f64() * (0.9 + 0.2 * share)).unwrap_or(longest)
}

#[cfg(test)]
mod tests;
