//! One call on its stream: answered at once where that is possible, which is the rule; else by a task of its own, which
//! runs on the core's own runtime and ends with it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response};
use http_body::{Body, Frame};
use tonic::service::Routes;
use tower::Service as _;

use super::{
    connection::Client,
    events::Events,
    reply::Reply,
    unary::{self, Answering, Decide},
};

/// Answers one call. Neither waits nor fails: whoever gave its call up is told nothing.
pub(super) fn answer<D, E>(client: &Arc<Client<D, E>>, request: Request<RecvStream>, respond: SendResponse<Bytes>)
where
    D: Decide,
    E: Events,
{
    if request.uri().path() != unary::PATH {
        // One of tonic's: health.
        tokio::spawn(pass_on(client.seat.routes.clone(), request.map(Received), respond));
        return;
    }
    client.asks();
    match unary::admit(request) {
        Ok(body) => match unary::answer(Received(body), client) {
            Answering::Now(reply) => reply.send(respond),
            Answering::Later(reply) => drop(tokio::spawn(reply_later(reply, respond))),
        },
        Err(status) => Reply::NoGrpc(status).send(respond),
    }
}

async fn reply_later(mut reply: Pin<Box<dyn Future<Output = Reply> + Send>>, mut respond: SendResponse<Bytes>) {
    let reply = poll_fn(|cx| match reply.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(Some(reply)),
        // Nobody waits for it any more.
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    if let Some(reply) = reply.await {
        reply.send(respond);
    }
}

async fn pass_on(mut routes: Routes, request: Request<Received>, mut respond: SendResponse<Bytes>) {
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

/// The body of a request; the room that it took is given back as it is read.
pub(super) struct Received(RecvStream);

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let stream = &mut self.0;
        let data = ready!(stream.poll_data(cx));
        // With the last of it the stream itself gives its room back.
        if let Some(Ok(data)) = &data
            && !stream.is_end_stream()
        {
            stream.flow_control().release_capacity(data.len())?;
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
