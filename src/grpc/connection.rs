//! One connection, from its preface to its end.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong, RecvStream, server, server::SendResponse};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};

use super::{
    call,
    client::Client,
    decide::Decide,
    events::Events,
    portion::Portion,
    seat::Seat,
    turn::{First, Turns},
    unread::{Payload, Unread},
    wire::{Heard, Wire},
};
use crate::{bounds, clock::Clock};

/// The preface (24 bytes) and the frame header of the SETTINGS that must follow it: a client that has said so much
/// speaks HTTP/2, and keep-alive watches over it from there.
const PREFACE_BYTES: u64 = 24 + 9;

/// Calls that a connection keeps room for (some 300 bytes each): as many as come at once where much is going on. More than
/// that come after a stall.
const ACCEPTED_KEPT: usize = 64;

/// HTTP/2 as it is spoken here.
fn h2() -> server::Builder {
    let mut h2 = server::Builder::new();
    h2.max_concurrent_streams(bounds::STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(bounds::PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(bounds::LOCAL_RESETS_MAX))
        .initial_window_size(bounds::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(bounds::CONNECTION_WINDOW_BYTES)
        .max_header_list_size(bounds::HEADER_LIST_MAX_BYTES)
        .max_send_buffer_size(bounds::SEND_BUFFER_MAX_BYTES);
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
    let client = Arc::new(Client::of(seat.clone()));
    let mut end = pin!(async {
        tokio::select! {
            () = silence(&heard, seat.settings.preface_deadline) => {
                seat.events.stayed_silent();
                End::Now
            }
            () = old_age(seat.settings.age_max, number) => End::Within(seat.settings.age_grace),
            () = client.told_to_go() => {
                seat.events.moved(seat.core);
                End::Within(seat.settings.age_grace)
            }
            () = client.told_to_make_room() => End::Within(bounds::ROOM_WITHIN),
            // An error: the server is gone without a word, which means the same.
            _ = drain.wait_for(|stops| *stops) => End::Within(seat.settings.drain_grace),
        }
    });
    // Whatever ends it here or below, a client's error or its good-bye, there is nothing to do about it.
    let mut connection = tokio::select! {
        shaken = h2().handshake(wire) => {
            let Ok(connection) = shaken else { return };
            connection
        }
        _ = end.as_mut() => return,
    };
    let alive = keep_alive(connection.ping_pong(), &heard);
    let mut conversation = Conversation { connection, accepted: Vec::new(), client: client.clone() };
    let until = pin!(async {
        tokio::select! {
            end = end => end,
            () = alive => End::Now,
            () = reads_nothing(&client.unread) => End::Now,
        }
    });
    let First::Until(End::Within(grace)) = converse(&mut conversation, &heard, until).await else { return };
    // GOAWAY for every stream, a PING, GOAWAY with the last one seen; calls until then are answered. Who never answers
    // the PING is dropped after the grace.
    conversation.connection.graceful_shutdown();
    converse(&mut conversation, &heard, pin!(sleep(grace))).await;
}

/// Goes on with a conversation turn by turn, each of which reads its portion and no more.
async fn converse<C, U>(conversation: &mut C, heard: &Heard, until: Pin<&mut U>) -> First<C::Output, U::Output>
where
    C: Future + Unpin,
    U: Future,
{
    let mut turns = Turns::new(conversation, until);
    let mut portion = Portion::default();
    poll_fn(|cx| {
        let (began, before) = (Clock.stopwatch(), heard.bytes());
        heard.begin_turn(portion.bytes());
        let polled = Pin::new(&mut turns).poll(cx);
        portion.fit(heard.bytes() - before, began.elapsed());
        polled
    })
    .await
}

/// How a connection is ended from this side.
enum End {
    Now,
    /// After calls under way, but not longer than this.
    Within(Duration),
}

/// What is said on a connection: calls are accepted, then answered, and what was said is written.
struct Conversation<D, E, S> {
    connection: server::Connection<Wire<S>, Payload>,
    /// Those of one turn.
    accepted: Vec<(Request<RecvStream>, SendResponse<Payload>)>,
    client: Arc<Client<D, E>>,
}

impl<D, E, S> Future for Conversation<D, E, S>
where
    D: Decide,
    E: Events,
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    /// All are accepted before any is answered: with so much code on the way, each step would else push the other out of
    /// the processor's cache (measured: a tenth of all). At most as many as there may be streams.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { connection, accepted, client } = &mut *self;
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(call))) => accepted.push(call),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if !accepted.is_empty() {
            let since = Clock.stopwatch();
            for (request, respond) in accepted.drain(..) {
                call::answer(client, since, request, respond);
            }
        }
        if accepted.capacity() > ACCEPTED_KEPT {
            *accepted = Vec::new();
        }
        Poll::Pending
    }
}

/// Comes to an end only if the client does not answer any more: where nothing was heard for a while it is asked.
async fn keep_alive(pings: Option<PingPong>, heard: &Heard) {
    let Some(mut pings) = pings else { return pending().await };
    loop {
        let before = heard.bytes();
        sleep(bounds::KEEP_ALIVE_INTERVAL).await;
        if heard.bytes() == before && timeout(bounds::KEEP_ALIVE_TIMEOUT, pings.ping(Ping::opaque())).await.is_err() {
            return;
        }
    }
}

/// Comes to an end only if answers wait and none has left for a while: the client reads nothing, or gives no room.
async fn reads_nothing(unread: &Unread) {
    loop {
        let before = unread.taken();
        sleep(bounds::READER_PATIENCE).await;
        if unread.waits() && unread.taken() == before {
            return;
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

/// Comes to an end when the connection of this number is too old.
async fn old_age(longest: Option<Duration>, number: u64) {
    match longest {
        Some(longest) => sleep(age(longest, number)).await,
        None => pending().await,
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
