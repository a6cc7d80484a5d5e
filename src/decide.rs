//! The life of a request, whatever wire it came by: snapshot, match, charge, decide, render, tell.
//!
//! Whoever received it (`grpc`, `http`) has read it before, and writes the answer in a format of its own.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::HeaderMap;
use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    bounds::STORE_PART_OF_TIMEOUT,
    clock::{Clock, Stopwatch},
    decision::{Decision, Plan, decide, plan},
    live::{Generation, Live},
    orders::Book,
    render::{Beside, Response, Sink, render},
    request::{Descriptor, Request},
    rules::{Domain, OnStoreError, Orders, find::Found, identity::HashKey},
    store::{Asking, Charged, Keyspace, Source, Store, memory::Memory},
    telemetry::{Telemetry, compat, decisions, events::ServerEvents},
    trace::{Door, Span, Tracer},
    units::{Nanos, Timestamp},
};

/// Decides requests. One for all cores: what it changes are counters.
#[derive(Debug)]
pub struct Decider {
    pub clock: Clock,
    pub live: Arc<Live>,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
    pub events: Arc<ServerEvents>,
    pub hash_key: HashKey,
    pub book: Arc<Book>,
    /// None: nothing is traced.
    pub tracer: Option<Arc<Tracer>>,
}

/// What is known of a call beside its request.
#[derive(Debug)]
pub struct Call {
    pub came: Came,
    /// The core it runs on, from 0; None: none of those that serve.
    pub core: Option<usize>,
    /// So long the client waits for the answer, where it says so.
    pub timeout: Option<Duration>,
    /// So long it had waited when the whole message was there.
    pub waited: Duration,
    /// None: it is not traced.
    pub span: Option<Box<Span>>,
}

impl Call {
    /// Whether nobody waits for the answer any more, so long after the message was there.
    pub fn is_over(&self, after: Nanos) -> bool {
        self.timeout.is_some_and(|timeout| self.waited.saturating_add(Duration::from_nanos(after.0)) >= timeout)
    }

    /// How long the store may take.
    fn within(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(self.waited) / STORE_PART_OF_TIMEOUT)
    }

    /// Has the span told, where there is one.
    #[inline]
    fn trace(&mut self, tell: impl FnOnce(&mut Span, Came)) {
        if let Some(span) = &mut self.span {
            tell(span, self.came);
        }
    }
}

/// When a whole message was there.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    at: Timestamp,
    /// Runs since then.
    stopwatch: Stopwatch,
}

impl Came {
    /// How long ago that was.
    pub fn elapsed(self) -> Nanos {
        self.stopwatch.elapsed()
    }

    /// How long after `earlier` began to run that was.
    pub fn since(self, earlier: Stopwatch) -> Duration {
        self.stopwatch.since(earlier)
    }
}

/// Rules were never loaded: whoever asks decides by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no rules were ever loaded")]
pub struct NoRules;

/// A request that names nothing to be decided. No Envoy sends one, so no client can make it happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Incomplete {
    #[error("the domain is empty")]
    Domain,
    #[error("there are no descriptors")]
    Descriptors,
}

/// Whether `request` can be decided.
///
/// # Errors
///
/// What it does not say.
pub fn complete(request: &Request<'_>) -> Result<(), Incomplete> {
    if request.domain.is_empty() {
        return Err(Incomplete::Domain);
    }
    if request.descriptors.is_empty() { Err(Incomplete::Descriptors) } else { Ok(()) }
}

/// What `deciding` comes to; none if it panics. It is never looked at again then.
pub async fn caught<T>(deciding: impl Future<Output = T>) -> Option<T> {
    let mut deciding = pin!(deciding);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| deciding.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Calls of the house count where the first core does: additions are atomic, and a neighbour's call now and then makes
/// that core wait 43 ns.
const CELLS_OF_THE_HOUSE: usize = 0;

impl Decider {
    /// To be asked once a message is all there: the clock is read here, and nowhere else in a request's life.
    pub fn came(&self) -> Came {
        Came { at: self.clock.now(), stopwatch: self.clock.stopwatch() }
    }

    /// The span of a request with these headers, where it is traced.
    #[inline]
    pub fn span(&self, headers: &HeaderMap, door: Door) -> Option<Box<Span>> {
        self.tracer.as_ref()?.span(headers, door)
    }

    /// Decides a [complete] request, and has `write` write the answer.
    ///
    /// # Errors
    ///
    /// Rules were never loaded.
    pub async fn decide<A>(
        &self,
        call: Call,
        request: &Request<'_>,
        write: impl FnOnce(&Outcome<'_, '_, '_>) -> A,
    ) -> Result<A, NoRules> {
        match &*self.store {
            Store::Memory(memory) => self.decide_at_once(memory, call, request, write),
            Store::Redis(_) => self.decide_by_and_by(call, request, write).await,
        }
    }

    /// The same where the charge waits for nothing.
    ///
    /// # Errors
    ///
    /// Rules were never loaded.
    pub fn decide_at_once<A>(
        &self,
        memory: &Memory,
        mut call: Call,
        request: &Request<'_>,
        write: impl FnOnce(&Outcome<'_, '_, '_>) -> A,
    ) -> Result<A, NoRules> {
        call.trace(|span, Came { at, stopwatch }| span.begins(at, stopwatch, request.descriptors.len()));
        let generation = self.live.snapshot();
        let (generation, now) = (generation.as_deref().ok_or(NoRules)?, call.came.at);
        let domain = generation.rules.domains.get(request.domain);
        let found = self.find(domain, generation.orders_of(request.domain), now, request);
        let plan = plan(domain, request, &found);
        call.trace(|span, _| span.charge_begins());
        let charged = Charged { verdicts: memory.charge(now, &plan.charges), now, source: Source::Memory };
        call.trace(|span, _| span.charge_ends());
        Ok(self.tell(call, &Asked { request, generation, domain }, &found, &plan, &charged, write))
    }

    /// The same where the charge waits for a store beyond this process, for as long as the client does at most.
    ///
    /// # Errors
    ///
    /// Rules were never loaded.
    pub async fn decide_by_and_by<A>(
        &self,
        mut call: Call,
        request: &Request<'_>,
        write: impl FnOnce(&Outcome<'_, '_, '_>) -> A,
    ) -> Result<A, NoRules> {
        call.trace(|span, Came { at, stopwatch }| span.begins(at, stopwatch, request.descriptors.len()));
        let generation = self.live.snapshot().clone().ok_or(NoRules)?;
        let now = call.came.at;
        let domain = generation.rules.domains.get(request.domain);
        let found = self.find(domain, generation.orders_of(request.domain), now, request);
        let plan = plan(domain, request, &found);
        let policy =
            |found: &Found<'_>| found.matched.as_ref().map_or_else(Default::default, |it| it.rule.on_store_error);
        let on_store_error: SmallVec<[OnStoreError; 4]> = found.iter().map(policy).collect();
        let asking = Asking {
            now,
            keyspace: domain.map(Keyspace::from).unwrap_or_default(),
            charges: &plan.charges,
            on_store_error: &on_store_error,
            core: call.core,
            within: call.within(),
        };
        call.trace(|span, _| span.charge_begins());
        let charged = self.store.charge(&asking).await;
        call.trace(|span, _| span.charge_ends());
        Ok(self.tell(call, &Asked { request, generation: &generation, domain }, &found, &plan, &charged, write))
    }

    /// Decides by what became of the charges, has the answer written, and counts what was decided.
    fn tell<'p, A>(
        &self,
        mut call: Call,
        asked: &Asked<'p, '_>,
        found: &'p [Found<'p>],
        plan: &Plan<'p>,
        charged: &Charged,
        write: impl FnOnce(&Outcome<'_, '_, '_>) -> A,
    ) -> A {
        let Asked { request, generation, domain } = *asked;
        let Charged { verdicts, now, source } = charged;
        let decision = decide(*now, domain, found, plan, verdicts);
        let responses = &generation.responses;
        let beside = Beside { store: source.name(), repeats_request: generation.rules.repeats_request };
        let answer = write(&Outcome { decision: &decision, request, responses, beside });
        let core = call.core.unwrap_or(CELLS_OF_THE_HOUSE);
        let told_source = told(*source);
        if generation.decisions.count(core, told_source, domain, found, plan, verdicts) {
            self.note_unmatched(core, asked, found);
        }
        if decision.refused {
            generation.decisions.log_refusal(core, told_source, &decision);
            self.telemetry.refused().note(core, request, |descriptor| decision.statuses[descriptor].refused);
        }
        if let Some(compat) = &generation.compat {
            let (repeated, alone) = (*source == Source::Cached, *source == Source::Local);
            compat.count(&compat::Charged { core, domain, request, found, plan, verdicts, repeated, alone });
        }
        self.book.note_started(*now, request, found, plan, verdicts);
        let took = call.came.elapsed();
        self.telemetry.latency().record(core, took);
        if call.is_over(took) {
            self.events.late.increment(1);
        }
        call.trace(|span, _| span.decided(generation.number, source.name(), &decision, plan, verdicts));
        answer
    }

    /// Counts a call over gRPC by the names of envoyproxy/ratelimit, where they are spoken.
    #[inline]
    pub fn called(&self, core: usize, came: Came, failed: bool) {
        if let Some(compat) = self.telemetry.compat() {
            compat.called(core, came.elapsed(), failed);
        }
    }

    /// Keeps the names of what no rule is about.
    #[cold]
    fn note_unmatched(&self, core: usize, asked: &Asked<'_, '_>, found: &[Found<'_>]) {
        let unmatched = self.telemetry.unmatched();
        match asked.domain {
            None => unmatched.note_domain(core, asked.request),
            Some(_) => unmatched.note_descriptors(core, asked.request, |index| found[index].matched.is_none()),
        }
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
}

/// Who decided, as metrics tell it.
const fn told(source: Source) -> decisions::Source {
    match source {
        Source::Memory | Source::Redis => decisions::Source::Store,
        Source::Cached => decisions::Source::Cached,
        Source::Local => decisions::Source::Local,
    }
}

/// A request, and by what it is decided.
#[derive(Clone, Copy)]
struct Asked<'a, 'r> {
    request: &'a Request<'r>,
    generation: &'a Generation,
    domain: Option<&'a Domain>,
}

/// What was decided, for whoever writes the answer. Three lifetimes, since two of what it borrows are invariant in theirs.
#[derive(Debug)]
pub struct Outcome<'a, 'd, 'r> {
    pub decision: &'a Decision<'d>,
    request: &'a Request<'r>,
    responses: &'a [Response],
    beside: Beside<'a>,
}

impl Outcome<'_, '_, '_> {
    /// Renders headers, body and metadata into `sink`. `scratch` is room to build values in.
    pub fn render(&self, scratch: &mut Vec<u8>, sink: &mut impl Sink) {
        render(self.decision, self.request, self.responses, self.beside, scratch, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_while_deciding_is_caught_before_and_after_a_wait() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        for waits in [false, true] {
            let deciding = async {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("this is a test");
            };
            assert_eq!(caught::<()>(deciding).await, None, "{waits}");
        }
    }
}
