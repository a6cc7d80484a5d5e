//! The life of a request: receive, snapshot, match, charge, decide, render, tell.

use std::{cell::RefCell, io, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;
use tonic::Code;

use super::{
    codec::{Answer, receive},
    decide::{Answered, Call, Decide, Decided, Failure},
    events::{Events, TurnedAway},
};
use crate::{
    charge::{Charges, Verdicts},
    clock::{Clock, Stopwatch},
    decision::{Decision, Plan, decide, plan},
    live::{Generation, Live},
    orders::Book,
    render::render,
    request::{Descriptor, Request},
    rules::{Domain, OnStoreError, Orders, find::Found, identity::HashKey},
    store::{Asking, Charged, Source, Store},
    telemetry::{Telemetry, events::ServerEvents},
    units::Timestamp,
};

/// Decides requests. One for all cores: what it changes are counters.
#[derive(Debug)]
pub struct RateLimitService {
    pub clock: Clock,
    pub live: Arc<Live>,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
    pub events: Arc<ServerEvents>,
    pub hash_key: HashKey,
    pub book: Arc<Book>,
}

impl Decide for RateLimitService {
    fn decide(self: &Arc<Self>, message: Bytes, call: Call) -> Decided {
        let came = Came { at: self.clock.now(), stopwatch: self.clock.stopwatch() };
        match &*self.store {
            Store::Memory(memory) => {
                Decided::Now(self.decide_at_once(&message, call.core, came, |now, charges| memory.charge(now, charges)))
            }
            Store::Redis(_) => Decided::Later(Box::pin(Arc::clone(self).decide_by_and_by(message, call, came))),
        }
    }
}

impl RateLimitService {
    /// The whole life of a request whose charge waits for nothing.
    fn decide_at_once(
        &self,
        message: &[u8],
        core: usize,
        came: Came,
        charge: impl FnOnce(Timestamp, &Charges<'_>) -> Verdicts,
    ) -> Answered {
        let request = match self.receive(message) {
            Ok(request) => request,
            Err(instead) => return instead,
        };
        let generation = self.live.snapshot();
        let (generation, now) = (generation.as_deref().ok_or_else(no_rules)?, came.at);
        let domain = generation.rules.domains.get(request.domain);
        let found = self.find(domain, generation.orders_of(request.domain), now, &request);
        let plan = plan(domain, &request, &found);
        let charged = Charged { verdicts: charge(now, &plan.charges), now, source: Source::Memory };
        let asked = Asked { core, came, request: &request, generation, domain };
        Ok(self.tell(&asked, &found, &plan, &charged))
    }

    /// The same where the charge waits for a store beyond this process, for as long as the client does at most.
    async fn decide_by_and_by(self: Arc<Self>, message: Bytes, call: Call, came: Came) -> Answered {
        let request = match self.receive(&message) {
            Ok(request) => request,
            Err(instead) => return instead,
        };
        let generation = self.live.snapshot().clone().ok_or_else(no_rules)?;
        let now = came.at;
        let domain = generation.rules.domains.get(request.domain);
        let found = self.find(domain, generation.orders_of(request.domain), now, &request);
        let plan = plan(domain, &request, &found);
        let policy =
            |found: &Found<'_>| found.matched.as_ref().map_or_else(Default::default, |it| it.rule.on_store_error);
        let on_store_error: SmallVec<[OnStoreError; 4]> = found.iter().map(policy).collect();
        let asking = Asking {
            now,
            domain: domain.map_or("", |domain| &domain.name),
            charges: &plan.charges,
            on_store_error: &on_store_error,
            core: Some(call.core),
            within: call.timeout,
        };
        let charged = self.store.charge(&asking).await;
        let asked = Asked { core: call.core, came, request: &request, generation: &generation, domain };
        Ok(self.tell(&asked, &found, &plan, &charged))
    }

    /// Decides by what became of the charges, writes the answer, and counts what was decided.
    fn tell<'p>(&self, asked: &Asked<'p, '_>, found: &'p [Found<'p>], plan: &Plan<'p>, charged: &Charged) -> Bytes {
        let Asked { core, came, request, generation, domain } = *asked;
        let Charged { verdicts, now, source } = charged;
        let decision = decide(*now, domain, found, plan, verdicts);
        let answer = Self::write(generation, request, &decision, *source);
        generation.decisions.count(core, domain, found, plan, verdicts);
        self.book.note_started(*now, request, found, plan, verdicts);
        self.telemetry.latency().record(core, came.stopwatch.elapsed());
        answer
    }

    /// The message as a view; or what to answer instead.
    fn receive<'m>(&self, message: &'m [u8]) -> Result<Request<'m>, Answered> {
        match receive(message) {
            Ok(request) if request.domain.is_empty() => Err(Err(self.malformed("the domain is empty".to_owned()))),
            Ok(request) if request.descriptors.is_empty() => {
                Err(Err(self.malformed("there are no descriptors".to_owned())))
            }
            Ok(request) => Ok(request),
            Err(malformed) if malformed.is_too_large() => {
                self.events.oversized.increment(1);
                Err(Ok(self.by_policy()))
            }
            Err(malformed) => Err(Err(self.malformed(malformed.to_string()))),
        }
    }

    /// No Envoy sends this, so no client can make it happen.
    fn malformed(&self, message: String) -> Failure {
        self.events.malformed.increment(1);
        Failure { code: Code::InvalidArgument, message: message.into() }
    }

    /// The rule of each descriptor.
    fn find<'r>(
        &self,
        domain: Option<&'r Domain>,
        orders: Option<&'r Orders>,
        now: Timestamp,
        request: &Request<'_>,
    ) -> SmallVec<[Found<'r>; 2]> {
        let Some(domain) = domain else { return request.descriptors.iter().map(|_| Found::default()).collect() };
        let find = |descriptor: &Descriptor| {
            domain.find_under(orders, now, request.entries_of(descriptor), descriptor.limit, &self.hash_key)
        };
        let found: SmallVec<[Found<'r>; 2]> = request.descriptors.iter().map(find).collect();
        let ignored = found.iter().filter(|found| found.ignored_request_limit).count();
        if ignored > 0 {
            self.events.ignored_request_limits.increment(ignored as u64);
        }
        found
    }

    fn write(generation: &Generation, request: &Request<'_>, decision: &Decision<'_>, source: Source) -> Bytes {
        ROOM.with_borrow_mut(|room| {
            let mut answer = Answer::to(decision, &mut room.answer);
            render(decision, request, &generation.responses, source.name(), &mut room.scratch, &mut answer);
            answer.finish()
        })
    }
}

/// When a whole message was there.
#[derive(Clone, Copy)]
struct Came {
    at: Timestamp,
    /// Runs since then.
    stopwatch: Stopwatch,
}

/// A request, and by what it is decided.
#[derive(Clone, Copy)]
struct Asked<'a, 'r> {
    core: usize,
    came: Came,
    request: &'a Request<'r>,
    generation: &'a Generation,
    domain: Option<&'a Domain>,
}

/// Envoy's own failure mode decides what happens without rules.
fn no_rules() -> Failure {
    Failure { code: Code::Unavailable, message: "no rules were ever loaded".into() }
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
    }

    fn turned_away(&self, why: TurnedAway) {
        match why {
            TurnedAway::TooMany => self.connections_over_limit.increment(1),
            TurnedAway::CoreHangs | TurnedAway::NoRoom => self.connections_failed.increment(1),
        }
    }

    fn accept_failed(&self, error: &io::Error) {
        self.accept_failed(error);
    }

    fn panicked(&self) {
        self.panicked();
    }

    fn too_large(&self) {
        self.oversized.increment(1);
    }
}
