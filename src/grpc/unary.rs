//! `ShouldRateLimit` by hand: from HTTP/2's request to its response, without the layers of a general gRPC server.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use tonic::{Code, Status};

use super::{
    codec::Answer,
    events::Events,
    message::{self, Message, Missing, Room},
    reply::{self, Reply},
};

/// The one path that is answered here; all others are tonic's.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Decides requests: what the server needs of whoever does.
pub trait Decide: Send + Sync + 'static {
    /// Answers one message (a `RateLimitRequest`) with a framed one (a `RateLimitResponse`, see
    /// [`Answer::finish`]). `core` is the number of the core it runs on, from 0: a thread that serves nobody else while
    /// this computes.
    ///
    /// # Errors
    ///
    /// Only where Envoy's own failure mode shall decide: over the limit is an answer.
    fn decide(&self, message: Bytes, core: usize) -> impl Future<Output = Result<Bytes, Failure>> + Send;

    /// The framed answer where nothing can be decided: the message is too large, or deciding panicked.
    fn by_policy(&self) -> Bytes {
        Answer::over_limit()
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

/// Answers one call.
pub(super) async fn answer<D, E, B>(
    body: B,
    (decide, core): (&D, usize),
    events: &E,
    room: &Room,
    deadline: Duration,
) -> Response<Reply>
where
    D: Decide,
    E: Events,
    B: Body<Data = Bytes> + Unpin,
{
    let failure = match message::read(body, room, deadline).await {
        Ok(Message { bytes, taken: _taken }) => match caught(decide.decide(bytes, core)).await {
            Some(Ok(framed)) => return reply::answered(framed),
            Some(Err(failure)) => failure,
            None => {
                events.panicked();
                return reply::answered(decide.by_policy());
            }
        },
        Err(Missing::TooLarge) => {
            // What is still to come is dropped with the stream: HTTP/2 then resets it with NO_ERROR, which tells the
            // client to stop sending and to read the answer (RFC 9113, 8.1).
            events.too_large();
            return reply::answered(decide.by_policy());
        }
        Err(missing) => missing.into(),
    };
    events.failed(failure.code);
    reply::failed(Status::new(failure.code, failure.message))
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
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
