//! One call on its stream: answered at once where that is possible, which is the rule; else by a task of its own, which
//! runs on the core's own runtime and ends with it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

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
    unread::Payload,
};
use crate::clock::Stopwatch;

/// Answers one call, the headers of which were read when `since` began. Neither waits nor fails: whoever gave its call up
/// is told nothing.
pub(super) fn answer<D, E>(
    client: &Arc<Client<D, E>>,
    since: Stopwatch,
    request: Request<RecvStream>,
    respond: SendResponse<Payload>,
) where
    D: Decide,
    E: Events,
{
    if request.uri().path() != unary::PATH {
        client.seat.events.passed_on(request.uri().path());
        tokio::spawn(others::pass_on(Arc::clone(client), request.map(Received), respond));
        return;
    }
    client.asks();
    match unary::admit(request.map(Received), since, &*client.seat.decide) {
        Ok(call) => match unary::answer(call, &client.seat) {
            Answering::Now(reply) => reply.send(respond, &client.unread),
            Answering::Later(reply) => {
                let under_way = UnderWay::of(client);
                drop(tokio::spawn(reply_later(reply, respond, under_way)));
            }
        },
        Err(status) => Reply::NoGrpc(status).send(respond, &client.unread),
    }
}

async fn reply_later<D: Decide, E: Events>(
    mut reply: Pin<Box<dyn Future<Output = Reply> + Send>>,
    mut respond: SendResponse<Payload>,
    under_way: UnderWay<D, E>,
) {
    let reply = poll_fn(|cx| match reply.as_mut().poll(cx) {
        Poll::Ready(reply) => Poll::Ready(Some(reply)),
        // Nobody waits for it any more.
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    match reply.await {
        Some(reply) => reply.send(respond, &under_way.0.unread),
        None => under_way.0.seat.events.given_up(),
    }
}

/// A call that waits, for its message or for the store; its end is told however it ends.
struct UnderWay<D: Decide, E: Events>(Arc<Client<D, E>>);

impl<D: Decide, E: Events> UnderWay<D, E> {
    fn of(client: &Arc<Client<D, E>>) -> Self {
        client.seat.events.waits();
        Self(Arc::clone(client))
    }
}

impl<D: Decide, E: Events> Drop for UnderWay<D, E> {
    fn drop(&mut self) {
        self.0.seat.events.waits_no_more();
    }
}
