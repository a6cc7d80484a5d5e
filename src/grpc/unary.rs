//! `ShouldRateLimit` by hand: from HTTP/2's request to its response, without the layers of a general gRPC server.

use std::{
    borrow::Cow,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use tonic::{Code, Status};

use super::{
    codec::Answer,
    events::Events,
    message::{self, Message, Missing, Room},
    reply::Reply,
};

/// The one path that is answered here; all others are tonic's.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Decides requests: what the server needs of whoever does.
pub trait Decide: Send + Sync + 'static {
    /// Answers one message (a `RateLimitRequest`) with a framed one (a `RateLimitResponse`, see
    /// [`Answer::finish`]). `core` is the number of the core it runs on, from 0: a thread that serves nobody else while
    /// this computes.
    fn decide(self: &Arc<Self>, message: Bytes, core: usize) -> Decided;

    /// The framed answer where nothing can be decided: the message is too large, or deciding panicked.
    fn by_policy(&self) -> Bytes {
        Answer::over_limit()
    }
}

/// What a message comes to, and when.
pub enum Decided {
    /// Where nothing is waited for there is no future: no memory for it, no task, no second look.
    Now(Answered),
    Later(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

/// The framed answer. It fails only where Envoy's own failure mode shall decide: over the limit is an answer.
pub type Answered = Result<Bytes, Failure>;

impl fmt::Debug for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answered) => f.debug_tuple("Now").field(answered).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Why a call fails as a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// For the people who read Envoy's logs: lower-case, without a client's bytes.
    pub message: Cow<'static, str>,
}

/// The body of a call that may be answered; else the status of a request that is no gRPC.
pub(super) fn admit<B>(request: Request<B>) -> Result<B, StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !is_grpc(request.headers()) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    Ok(request.into_body())
}

/// What a call needs of the core it came to.
pub(super) trait Desk: Send + Sync + 'static {
    type Decide: Decide;
    type Events: Events;

    fn decide(&self) -> &Arc<Self::Decide>;
    fn core(&self) -> usize;
    fn events(&self) -> &Self::Events;
    fn room(&self) -> &Room;
    fn message_deadline(&self) -> Duration;
}

/// A reply, now or later.
pub(super) enum Answering {
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

/// Answers one call: at once where its message is there and its charge waits for nothing, which is the rule.
pub(super) fn answer<B, D>(mut body: B, desk: &Arc<D>) -> Answering
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
    D: Desk,
{
    match message::at_once(&mut body) {
        Ok(message) => match begin(&**desk, message) {
            Begun::Over(outcome) => Answering::Now(respond(&**desk, outcome)),
            Begun::Waits(waits) => {
                let desk = Arc::clone(desk);
                Answering::Later(Box::pin(async move { respond(&*desk, caught(waits).await) }))
            }
        },
        Err(begun) => {
            let desk = Arc::clone(desk);
            Answering::Later(Box::pin(async move { wait_for_message(begun, body, &*desk).await }))
        }
    }
}

/// What became of deciding; none if it panicked.
type Outcome = Option<Answered>;

enum Begun {
    Over(Outcome),
    Waits(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

fn begin<D: Desk>(desk: &D, message: Bytes) -> Begun {
    match catch_unwind(AssertUnwindSafe(|| desk.decide().decide(message, desk.core()))) {
        Ok(Decided::Now(answered)) => Begun::Over(Some(answered)),
        Ok(Decided::Later(waits)) => Begun::Waits(waits),
        Err(_) => Begun::Over(None),
    }
}

async fn wait_for_message<B, D>(begun: Bytes, body: B, desk: &D) -> Reply
where
    B: Body<Data = Bytes> + Unpin,
    D: Desk,
{
    match message::read(begun, body, desk.room(), desk.message_deadline()).await {
        Ok(Message { bytes, taken: _taken }) => match begin(desk, bytes) {
            Begun::Over(outcome) => respond(desk, outcome),
            Begun::Waits(waits) => respond(desk, caught(waits).await),
        },
        Err(Missing::TooLarge) => {
            // What is still to come is dropped with the stream: HTTP/2 then resets it with NO_ERROR, which tells the
            // client to stop sending and to read the answer (RFC 9113, 8.1).
            desk.events().too_large();
            Reply::Answer(desk.decide().by_policy())
        }
        Err(missing) => respond(desk, Some(Err(missing.into()))),
    }
}

fn respond<D: Desk>(desk: &D, outcome: Outcome) -> Reply {
    match outcome {
        Some(Ok(framed)) => Reply::Answer(framed),
        Some(Err(failure)) => {
            desk.events().failed(failure.code);
            Reply::Failure(Status::new(failure.code, failure.message))
        }
        None => {
            desk.events().panicked();
            Reply::Answer(desk.decide().by_policy())
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

/// What `future` comes to; none if it panics. It is dropped then and never looked at again.
async fn caught<T>(mut future: Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
