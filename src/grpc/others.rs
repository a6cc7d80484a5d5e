//! Calls of other services than ours, which tonic answers: health.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;
use tonic::Status;
use tower::Service as _;

use super::{
    client::Client,
    received::Received,
    reply::Reply,
    unread::{Payload, Unread},
};
use crate::bounds::OTHER_MESSAGE_MAX_BYTES;

const TOO_LARGE: &str = "the message is too large";
const LATE: &str = "the message did not come in time";

/// Passes a call on, and what is answered back.
///
/// Its message is read here, within a bound and a deadline: tonic would hold 4 MB of each call for as long as the client
/// likes.
pub(super) async fn pass_on<D, E>(
    client: Arc<Client<D, E>>,
    request: Request<Received>,
    mut respond: SendResponse<Payload>,
) {
    let Client { seat, unread, .. } = &*client;
    let (parts, body) = request.into_parts();
    let body =
        match timeout(seat.settings.message_deadline, Limited::new(body, OTHER_MESSAGE_MAX_BYTES).collect()).await {
            Ok(Ok(body)) => Full::new(body.to_bytes()),
            // Or the client is gone, and hears nothing of it.
            Ok(Err(_)) => return Reply::Failure(Status::resource_exhausted(TOO_LARGE)).send(respond, unread),
            Err(_) => return Reply::Failure(Status::deadline_exceeded(LATE)).send(respond, unread),
        };
    let Ok(response) = seat.routes.clone().call(Request::from_parts(parts, body)).await;
    let (parts, body) = response.into_parts();
    let is_over = body.is_end_stream();
    // An error means that the client is gone, here and below.
    if let Ok(stream) = respond.send_response(Response::from_parts(parts, ()), is_over)
        && !is_over
    {
        let _ = pipe(body, stream, unread).await;
    }
}

/// Sends what comes of a body as it comes, and as there is room for it; until its end, or until the client wants no more.
async fn pipe(mut body: tonic::body::Body, mut stream: SendStream<Payload>, unread: &Unread) -> Result<(), h2::Error> {
    loop {
        let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|reason| Err(h2::Error::from(reason.unwrap_or(Reason::CANCEL)))),
        });
        match next.await? {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    stream.reserve_capacity(1); // the rest waits in h2, bounded by its buffer
                    if stream.capacity() == 0 && !data.is_empty() {
                        poll_fn(|cx| stream.poll_capacity(cx)).await.transpose()?;
                    }
                    stream.send_data(unread.payload(data), false)?;
                }
                Err(frame) => return stream.send_trailers(frame.into_trailers().unwrap_or_default()),
            },
            Some(Err(_)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => return stream.send_data(unread.payload(Bytes::new()), true),
        }
    }
}
