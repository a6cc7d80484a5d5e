//! `ShouldRateLimit` by hand: from HTTP/2's request to its response, without the layers of a general gRPC server.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use tonic::{Code, Status};

use super::{
    decide::{Answered, Call, Decide, Decided, Failure},
    events::Events,
    message::{self, Message, Missing},
    reply::Reply,
    seat::Seat,
    timeout,
};
use crate::{clock::Stopwatch, decide::caught, trace::Span};

/// The one path that is answered here; all others are tonic's.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A call that may be answered.
pub(super) struct Admitted<B> {
    body: B,
    timeout: Option<Duration>,
    since: Stopwatch,
    span: Option<Box<Span>>,
}

/// Lets a call in; else the status of a request that is no gRPC.
pub(super) fn admit<B>(request: Request<B>, since: Stopwatch, decide: &impl Decide) -> Result<Admitted<B>, StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_grpc(request.headers()) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let timeout = timeout::of(request.headers());
    let span = decide.span(request.headers());
    Ok(Admitted { body: request.into_body(), timeout, since, span })
}

/// A reply, now or later.
pub(super) enum Answering {
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

/// Answers one call: at once where its message is there and its charge waits for nothing, which is the rule.
pub(super) fn answer<B, D, E>(admitted: Admitted<B>, seat: &Arc<Seat<D, E>>) -> Answering
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
    D: Decide,
    E: Events,
{
    let Admitted { mut body, timeout, since, span } = admitted;
    let call = Call { core: seat.core, timeout, since, span };
    let begun = match message::at_once(&mut body) {
        Ok(message) => match decide(seat, message, call) {
            Deciding::Over(outcome) => return Answering::Now(respond(seat, outcome)),
            Deciding::Waits(waits) => {
                let seat = Arc::clone(seat);
                return Answering::Later(Box::pin(async move { respond(&seat, caught(waits).await) }));
            }
        },
        Err(begun) => begun,
    };
    let seat = Arc::clone(seat);
    Answering::Later(Box::pin(async move { wait_for_message(begun, body, call, &seat).await }))
}

async fn wait_for_message<B, D, E>(begun: Bytes, body: B, call: Call, seat: &Seat<D, E>) -> Reply
where
    B: Body<Data = Bytes> + Unpin,
    D: Decide,
    E: Events,
{
    match message::read(begun, body, &seat.room, seat.settings.message_deadline).await {
        Ok(Message { bytes, taken: _taken }) => match decide(seat, bytes, call) {
            Deciding::Over(outcome) => respond(seat, outcome),
            Deciding::Waits(waits) => respond(seat, caught(waits).await),
        },
        Err(Missing::TooLarge) => {
            // What is still to come is dropped with the stream: HTTP/2 then resets it with NO_ERROR, which tells the
            // client to stop sending and to read the answer (RFC 9113, 8.1).
            seat.events.too_large();
            Reply::Answer(seat.decide.by_policy())
        }
        Err(missing) => respond(seat, Some(Err(missing.into()))),
    }
}

/// What became of deciding; none if it panicked.
type Outcome = Option<Answered>;

enum Deciding {
    Over(Outcome),
    Waits(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

fn decide<D: Decide, E>(seat: &Seat<D, E>, message: Bytes, call: Call) -> Deciding {
    match catch_unwind(AssertUnwindSafe(|| seat.decide.decide(message, call))) {
        Ok(Decided::Now(answered)) => Deciding::Over(Some(answered)),
        Ok(Decided::Later(waits)) => Deciding::Waits(waits),
        Err(_) => Deciding::Over(None),
    }
}

fn respond<D: Decide, E: Events>(seat: &Seat<D, E>, outcome: Outcome) -> Reply {
    match outcome {
        Some(Ok(framed)) => Reply::Answer(framed),
        Some(Err(failure)) => {
            seat.events.failed(failure.code);
            Reply::Failure(Status::new(failure.code, failure.message))
        }
        None => {
            seat.events.panicked();
            Reply::Answer(seat.decide.by_policy())
        }
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let (code, message) = match missing {
            Missing::Compressed => (Code::Unimplemented, "the message is compressed, which was not offered"),
            Missing::Framing => (Code::Internal, "the body is not one length-prefixed message"),
            Missing::Late => (Code::DeadlineExceeded, "the message did not come in time"),
            Missing::Gone => (Code::Cancelled, "the client went away"),
            // Answered by policy before it comes here.
            Missing::TooLarge => (Code::ResourceExhausted, "the message is too large"),
        };
        Self { code, message: message.into() }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    match content_type.as_bytes().strip_prefix(b"application/grpc") {
        // `application/grpc-web` is another protocol.
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}
