//! Whoever decides, as the server sees it.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use tonic::Code;

use super::codec::Answer;
use crate::{clock::Stopwatch, trace::Span};

/// Decides requests: what the server needs of whoever does.
pub trait Decide: Send + Sync + 'static {
    /// Answers one message (a `RateLimitRequest`) with a framed one (a `RateLimitResponse`, see
    /// [`Answer::finish`]).
    fn decide(self: &Arc<Self>, message: Bytes, call: Call) -> Decided;

    /// The span of a call with these headers, where it is traced.
    fn span(&self, _headers: &HeaderMap) -> Option<Box<Span>> {
        None
    }

    /// The framed answer where nothing can be decided: the message is too large, or deciding panicked.
    fn by_policy(&self) -> Bytes {
        Answer::over_limit()
    }
}

/// What is known of a call beside its message.
#[derive(Debug)]
pub struct Call {
    /// The number of the core it runs on, from 0: a thread that serves nobody else while this computes.
    pub core: usize,
    /// So long the client waits for the answer, in its own words (`grpc-timeout`), never zero; none where it does not
    /// say. It began when the client sent its headers, a little before they were read.
    pub timeout: Option<Duration>,
    /// Runs since its headers were read, with all that came on its connection in the same turn.
    pub since: Stopwatch,
    /// None: it is not traced.
    pub span: Option<Box<Span>>,
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
