//! What a call is answered with, and how it leaves: headers, message and trailers, small enough to be one write.

use std::sync::LazyLock;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use tonic::Status;

use super::unread::{Payload, Unread};

/// Bytes a DATA frame. h2 copies payloads below 1,024 behind the headers in its buffer; a larger one is a write of its
/// own, and so are the trailers after it.
const FRAME_MAX_BYTES: usize = 1_000;

/// What every answer says beside itself. Made once: a copy hashes no names.
static HEADERS: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]));
static TRAILERS: LazyLock<HeaderMap> =
    LazyLock::new(|| HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]));

/// What a call is answered with.
#[derive(Debug)]
pub(super) enum Reply {
    /// A framed message.
    Answer(Bytes),
    /// An error and nothing else.
    Failure(Status),
    /// What to say to a request that is no gRPC.
    NoGrpc(StatusCode),
}

impl Reply {
    /// Sends it, to be counted as unread until it has left. An error means that the client is gone or gave its call up:
    /// there is nobody to tell.
    pub(super) fn send(self, respond: SendResponse<Payload>, unread: &Unread) {
        let _ = match self {
            Self::Answer(framed) => answer(respond, framed, unread),
            Self::Failure(status) => end(respond, status.into_http()),
            Self::NoGrpc(status) => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                end(respond, response)
            }
        };
    }
}

fn answer(mut respond: SendResponse<Payload>, mut framed: Bytes, unread: &Unread) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.headers_mut() = HEADERS.clone();
    let mut stream = respond.send_response(response, false)?;
    // All of it at once, whatever room the client has for it now: it is one answer, and its stream holds no more.
    while framed.len() > FRAME_MAX_BYTES {
        stream.send_data(unread.payload(framed.split_to(FRAME_MAX_BYTES)), false)?;
    }
    stream.send_data(unread.payload(framed), false)?;
    stream.send_trailers(TRAILERS.clone())
}

fn end(mut respond: SendResponse<Payload>, response: Response<()>) -> Result<(), h2::Error> {
    respond.send_response(response, true).map(drop)
}
