//! The life of a request: receive, snapshot, match, charge, decide, render, tell.

use std::{cell::RefCell, sync::Arc};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::{
    codec::{Answer, receive},
    unary::{Decide, Refusal},
};
use crate::{
    clock::Clock,
    decision::{Decision, decide, plan},
    live::{Generation, Live},
    render::render,
    request::Request,
    rules::{Domain, find::Found, identity::HashKey},
    store::Store,
    telemetry::{Telemetry, events::ServerEvents},
};

/// Decides requests. One for all cores: what it changes are counters.
#[derive(Debug)]
pub struct Service {
    pub clock: Clock,
    pub live: Arc<Live>,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
    pub events: Arc<ServerEvents>,
    pub hash_key: HashKey,
}

impl Decide for Service {
    async fn decide(&self, message: Bytes, core: usize) -> Result<Bytes, Refusal> {
        let stopwatch = self.clock.stopwatch();
        let request = match receive(&message) {
            Ok(request) => request,
            Err(malformed) if malformed.is_too_large() => return Ok(self.over_limit()),
            Err(malformed) => return Err(self.malformed(&malformed.to_string())),
        };
        if request.domain.is_empty() || request.descriptors.is_empty() {
            return Err(self.malformed("a request needs a domain and at least one descriptor"));
        }
        let (generation, now) = (self.live.snapshot(), self.clock.now());
        let generation = generation.as_deref().ok_or_else(|| Refusal::unavailable("no rules were ever loaded"))?;
        let domain = generation.rules.domains.get(request.domain);
        let found = self.find(domain, &request);
        let plan = plan(domain, &request, &found);
        let verdicts = self.store.charge(now, &plan.charges).await;
        let decision = decide(now, domain, &found, &plan, &verdicts);
        let answer = self.write(generation, &request, &decision);
        generation.decisions.count(domain, &found, &plan, &verdicts);
        self.telemetry.latency().record(core, stopwatch.elapsed());
        Ok(answer)
    }

    fn over_limit(&self) -> Bytes {
        Answer::over_limit()
    }
}

impl Service {
    /// The rule of each descriptor.
    fn find<'r>(&self, domain: Option<&'r Domain>, request: &Request<'_>) -> SmallVec<[Found<'r>; 2]> {
        let Some(domain) = domain else { return request.descriptors.iter().map(|_| Found::default()).collect() };
        let find = |descriptor| domain.find(request.entries_of(descriptor), descriptor.limit, &self.hash_key);
        let found: SmallVec<[Found<'r>; 2]> = request.descriptors.iter().map(find).collect();
        let ignored = found.iter().filter(|found| found.ignored_request_limit).count();
        if ignored > 0 {
            self.events.ignored_request_limits.increment(ignored as u64);
        }
        found
    }

    fn write(&self, generation: &Generation, request: &Request<'_>, decision: &Decision<'_>) -> Bytes {
        ROOM.with_borrow_mut(|room| {
            let mut answer = Answer::to(decision, &mut room.answer);
            render(decision, request, &generation.responses, self.store.name(), &mut room.scratch, &mut answer);
            answer.finish()
        })
    }

    fn malformed(&self, what: &str) -> Refusal {
        self.events.malformed.increment(1);
        Refusal::invalid_argument(what)
    }
}

/// Room to write an answer in, kept by each core so that answers share allocations.
#[derive(Default)]
struct Room {
    answer: BytesMut,
    scratch: Vec<u8>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}
