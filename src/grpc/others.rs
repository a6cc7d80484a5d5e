//! Calls of other services than ours, which tonic answers: health.

use std::{future::poll_fn, pin::Pin, task::Poll};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::Body as _;
use tonic::service::Routes;
use tower::Service as _;

use super::received::Received;

/// Passes a call on, and what is answered back.
pub(super) async fn pass_on(mut routes: Routes, request: Request<Received>, mut respond: SendResponse<Bytes>) {
    let Ok(response) = routes.call(request).await;
    let (parts, body) = response.into_parts();
    let is_over = body.is_end_stream();
    // An error means that the client is gone, here and below.
    if let Ok(stream) = respond.send_response(Response::from_parts(parts, ()), is_over)
        && !is_over
    {
        let _ = pipe(body, stream).await;
    }
}

/// Sends what comes of a body as it comes, and as there is room for it; until its end, or until the client wants no more.
async fn pipe(mut body: tonic::body::Body, mut stream: SendStream<Bytes>) -> Result<(), h2::Error> {
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
                    stream.send_data(data, false)?;
                }
                Err(frame) => return stream.send_trailers(frame.into_trailers().unwrap_or_default()),
            },
            Some(Err(_)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => return stream.send_data(Bytes::new(), true),
        }
    }
}
