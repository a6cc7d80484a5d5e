//! One call on its stream: answered at once where that is possible, which is the rule; else by a task of its own, which
//! runs on the core's own runtime and ends with it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;

use super::{
    client::Client,
    decide::Decide,
    events::Events,
    others,
    received::Received,
    reply::Reply,
    unary::{self, Answering},
};

/// Answers one call. Neither waits nor fails: whoever gave its call up is told nothing.
pub(super) fn answer<D, E>(client: &Arc<Client<D, E>>, request: Request<RecvStream>, respond: SendResponse<Bytes>)
where
    D: Decide,
    E: Events,
{
    if request.uri().path() != unary::PATH {
        tokio::spawn(others::pass_on(client.seat.routes.clone(), request.map(Received), respond));
        return;
    }
    client.asks();
    match unary::admit(request.map(Received)) {
        Ok(call) => match unary::answer(call, &client.seat) {
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
