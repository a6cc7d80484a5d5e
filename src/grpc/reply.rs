//! The body of every response: an answer of ours with its trailers, or one of tonic's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// Bytes a DATA frame. h2 copies payloads below 1,024 behind the headers in its buffer; a larger one is a write of its
/// own, and so are the trailers after it.
const FRAME_MAX_BYTES: usize = 1_000;

pub(super) enum Reply {
    Ours {
        left: Bytes,
        /// Sent once everything is; none where the headers said all.
        trailers: Option<HeaderMap>,
    },
    Tonic(tonic::body::Body),
}

/// The response that carries a framed answer.
pub(super) fn answered(framed: Bytes) -> Response<Reply> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(Reply::Ours { left: framed, trailers: Some(trailers) });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The response that carries an error and nothing else.
pub(super) fn failed(status: Status) -> Response<Reply> {
    status.into_http::<Reply>()
}

/// The response to a request that is no gRPC.
pub(super) fn no_grpc(status: http::StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    *response.status_mut() = status;
    response
}

impl Default for Reply {
    fn default() -> Self {
        Self::Ours { left: Bytes::new(), trailers: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Ours { left, .. } if !left.is_empty() => {
                let frame = left.split_to(left.len().min(FRAME_MAX_BYTES));
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Self::Ours { trailers, .. } => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Self::Tonic(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours { left, trailers } => left.is_empty() && trailers.is_none(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }

    /// Not told: from an exact size hyper would write a content-length, which no gRPC answer has.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
