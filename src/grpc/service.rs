//! `ShouldRateLimit`: receives the message, has the request decided, writes the answer.

use std::{cell::RefCell, fmt::Display, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use tonic::Code;

use super::{
    codec::{Answer, receive},
    decide::{self, Answered, Decide, Decided, Failure},
    events::{Events, HandshakeFailure, TurnedAway},
};
use crate::{
    decide::{Call, Came, Decider, NoRules, Outcome, complete},
    request::Request,
    store::Store,
    telemetry::events::ServerEvents,
    trace::{Door, Span},
    units::Nanos,
};

impl Decide for Decider {
    fn decide(self: &Arc<Self>, message: Bytes, call: decide::Call) -> Decided {
        let (came, core) = (self.came(), call.core);
        let call = call_of(came, call);
        match &*self.store {
            Store::Memory(memory) => {
                let answered = match received(&message, &call, Nanos::ZERO, &self.events) {
                    Ok(request) => self.decide_at_once(memory, call, &request, write).map_err(Failure::from),
                    Err(instead) => instead,
                };
                self.called(core, came, answered.is_err());
                Decided::Now(answered)
            }
            Store::Redis(_) => {
                let decider = Arc::clone(self);
                Decided::Later(Box::pin(async move {
                    // Its turn may have been long in coming.
                    let answered = match received(&message, &call, came.elapsed(), &decider.events) {
                        Ok(request) => decider.decide_by_and_by(call, &request, write).await.map_err(Failure::from),
                        Err(instead) => instead,
                    };
                    decider.called(core, came, answered.is_err());
                    answered
                }))
            }
        }
    }

    fn span(&self, headers: &HeaderMap) -> Option<Box<Span>> {
        Decider::span(self, headers, Door::Grpc)
    }
}

fn call_of(came: Came, decide::Call { core, timeout, since, span }: decide::Call) -> Call {
    Call { came, core: Some(core), timeout, waited: came.since(since), span }
}

/// The message as a view, its turn having come so long `after` it; or what to answer instead.
fn received<'m>(message: &'m [u8], call: &Call, after: Nanos, events: &ServerEvents) -> Result<Request<'m>, Answered> {
    // What is too late is not decided, and charges nothing: those whose time runs have it.
    if call.is_over(after) {
        events.expired.increment(1);
        let message = "grpc-timeout was over before the call's turn came".into();
        return Err(Err(Failure { code: Code::DeadlineExceeded, message }));
    }
    let malformed = |message: String| {
        events.malformed.increment(1);
        Err(Err(Failure { code: Code::InvalidArgument, message: message.into() }))
    };
    match receive(message) {
        Ok(request) => match complete(&request) {
            Ok(()) => Ok(request),
            Err(incomplete) => malformed(incomplete.to_string()),
        },
        Err(error) if error.is_too_large() => {
            events.oversized.increment(1);
            Err(Ok(Answer::over_limit()))
        }
        Err(error) => malformed(error.to_string()),
    }
}

fn write(outcome: &Outcome<'_, '_, '_>) -> Bytes {
    ROOM.with_borrow_mut(|room| {
        let mut answer = Answer::to(outcome.decision, &mut room.answer);
        outcome.render(&mut room.scratch, &mut answer);
        answer.finish()
    })
}

/// Envoy's own failure mode decides what happens without rules.
impl From<NoRules> for Failure {
    fn from(no_rules: NoRules) -> Self {
        Self { code: Code::Unavailable, message: no_rules.to_string().into() }
    }
}

/// Room to write an answer in, kept by each core: an answer is allocated once, when its length is known.
#[derive(Default)]
struct Room {
    answer: Vec<u8>,
    scratch: Vec<u8>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Events for ServerEvents {
    fn accepted(&self, _: usize) {
        self.connections_accepted.increment(1);
        self.connections.increment(1);
    }

    fn closed(&self, _: usize) {
        self.connections.decrement(1);
    }

    fn waits(&self) {
        self.calls_under_way.increment(1);
    }

    fn waits_no_more(&self) {
        self.calls_under_way.decrement(1);
    }

    fn given_up(&self) {
        self.late.increment(1);
    }

    fn failed(&self, code: Code) {
        if code == Code::Cancelled {
            self.expired.increment(1);
        }
    }

    fn passed_on(&self, path: &str) {
        if path == "/grpc.health.v1.Health/Check" {
            self.health_checked();
        }
    }

    fn turned_away(&self, why: TurnedAway) {
        match why {
            TurnedAway::TooMany => self.connections_over_limit.increment(1),
            TurnedAway::CoreHangs => self.connections_failed.increment(1),
            TurnedAway::NoRoom => {
                // It was dealt to its core before that had no room for it.
                self.connections.decrement(1);
                self.connections_failed.increment(1);
            }
        }
    }

    fn accept_failed(&self, error: &io::Error) {
        self.accept_failed(error);
    }

    fn handshake_failed(&self, peer: Option<SocketAddr>, failure: HandshakeFailure, why: &dyn Display) {
        if let Some(handshakes) = &self.handshakes {
            // Who only looks whether anybody listens goes away without a word, every few seconds.
            let told = failure != HandshakeFailure::Lost;
            handshakes.failed(failure.name(), peer, why, told);
        }
    }

    fn panicked(&self) {
        self.panicked();
    }

    fn too_large(&self) {
        self.oversized.increment(1);
    }
}
