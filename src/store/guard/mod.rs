//! What stands between a request and a store beyond this process, so that the store's failing never hurts: a deadline, a
//! bound on calls under way, a breaker, and what each rule does meanwhile.
//!
//! | question | file |
//! |---|---|
//! | Was the same refused just now? | [`refusals`] |
//! | May the store be called at all? | [`breaker`] |
//! | Is there a place for one more call? | [`in_flight`] |
//! | What do rules do without it? | [`share`] |
//!
//! No call is made twice: what is lost is only an answer, and a hit that was charged is charged. The breaker is closed by
//! a probe of its own, never by trying a request.

pub mod breaker;
pub mod in_flight;
pub mod refusals;
pub mod share;

use std::{hash::Hasher as _, sync::Arc};

use breaker::Breaker;
use in_flight::InFlight;
use refusals::Refusals;
use share::decide_without_store;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use smallvec::SmallVec;

use super::{
    Asking, Charged, Source,
    memory::{Emptied, Memory},
    redis::{Away, Redis, Seats},
};
use crate::{
    bounds::STORE_CALLS_MAX,
    charge::{Charge, Charges, CounterKey, Verdicts},
    clock::Clock,
    rules::OnStoreError,
    telemetry::store::StoreEvents,
    units::{Nanos, Timestamp},
};

/// A store beyond this process, and what is done when it is away.
#[derive(Debug)]
pub struct Guard {
    redis: Redis,
    /// Counters of this process alone, for while it is away.
    local: Memory,
    /// By how many processes a limit is shared meanwhile.
    replicas: u32,
    breaker: Breaker,
    calls: InFlight,
    refusals: Refusals,
    /// A secret of this process.
    key: [u8; 16],
    clock: Clock,
    events: Arc<StoreEvents>,
}

impl Guard {
    /// `key` is what questions and names are hashed with in this process: random.
    pub fn new(
        redis: Redis,
        local: Memory,
        replicas: u32,
        key: [u8; 16],
        clock: Clock,
        events: Arc<StoreEvents>,
    ) -> Self {
        let (breaker, calls, refusals) = (Breaker::default(), InFlight::new(STORE_CALLS_MAX), Refusals::new(key));
        Self { redis, local, replicas, breaker, calls, refusals, key, clock, events }
    }

    /// Decides all charges of one request: by the store, or in its place. Never fails, and takes no longer than the
    /// deadline of a call.
    pub async fn charge(&self, asking: &Asking<'_, '_>) -> Charged {
        let seats = Seats::of(asking.charges);
        let asked = match self.refusals.refuse(asking.charges, &seats.of, asking.now) {
            Ok(verdicts) => {
                self.events.repeated();
                return Charged { verdicts, now: asking.now, source: Source::Cached };
            }
            Err(asked) => asked,
        };
        match self.call(asking, &seats).await {
            Ok(decided) => {
                self.events.answered();
                self.refusals.remember(asked, &decided.before, &decided.verdicts, decided.at);
                Charged { verdicts: decided.verdicts, now: decided.at, source: Source::Redis }
            }
            Err(NoAnswer) => {
                self.events.decided_alone();
                Charged { verdicts: self.decide_alone(asking), now: asking.now, source: Source::Local }
            }
        }
    }

    fn decide_alone(&self, asking: &Asking<'_, '_>) -> Verdicts {
        let of_descriptor = |descriptor: u32| asking.on_store_error.get(descriptor as usize).copied();
        let of_charge = |charge: &Charge<'_>| of_descriptor(charge.descriptor).unwrap_or_default();
        let on_store_error: SmallVec<[OnStoreError; 8]> = asking.charges.list.iter().map(of_charge).collect();
        decide_without_store(asking.charges, &on_store_error, self.replicas, |charges| {
            self.local.charge(asking.now, &self.named_here(charges))
        })
    }

    /// `charges` with other names: those that replicas have in common can be worked out by everybody, and a client who
    /// chose his values by them could crowd one corner of our memory.
    fn named_here<'p>(&self, charges: &Charges<'p>) -> Charges<'p> {
        let mut named = charges.clone();
        named.list.iter_mut().for_each(|charge| charge.key = self.name_here(charge.key));
        named.gates.iter_mut().for_each(|gate| gate.key = self.name_here(gate.key));
        named
    }

    fn name_here(&self, key: CounterKey) -> CounterKey {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u128(key.0);
        CounterKey(hasher.finish128().as_u128())
    }

    async fn call(&self, asking: &Asking<'_, '_>, seats: &Seats) -> Result<super::redis::Decided, NoAnswer> {
        let Some(admitted) = self.breaker.admits() else { return Err(NoAnswer) };
        let Some(_place) = self.calls.enter() else {
            self.events.failed("busy");
            return Err(NoAnswer);
        };
        match self.redis.charge_seated(asking, seats).await {
            Ok(decided) => {
                self.breaker.succeeded(admitted);
                Ok(decided)
            }
            Err(why) => {
                self.events.failed(why.reason());
                // What one request asks too much says nothing of the store.
                if why != Away::TooMany && self.breaker.failed(admitted, self.clock.now()) {
                    self.redis.hang_up();
                    self.events.went_away(&why);
                }
                Err(NoAnswer)
            }
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn reset(&self, now: Timestamp, domain: &str, charges: &Charges<'_>) -> Result<Emptied, Away> {
        self.local.reset(now, &self.named_here(charges));
        let emptied = self.redis.reset(now, domain, charges).await;
        self.refusals.clear();
        emptied
    }

    /// Lifts a block; whether there was one.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn lift(&self, now: Timestamp, domain: &str, key: CounterKey) -> Result<bool, Away> {
        let here = self.local.lift(self.name_here(key), now);
        let there = self.redis.lift(now, domain, key).await;
        self.refusals.clear();
        there.map(|there| here || there)
    }

    /// The counters of this process alone.
    pub fn local(&self) -> &Memory {
        &self.local
    }

    /// The pause until the next [`probe`](Self::probe).
    pub fn next_probe(&self, random: u64) -> Nanos {
        self.breaker.next_probe(random)
    }

    /// Asks the store whether it is back, if it was away. To be called now and then.
    pub async fn probe(&self) {
        if self.breaker.is_open()
            && self.redis.greet().await.is_ok()
            && let Some(after) = self.breaker.probe_succeeded(self.clock.now())
        {
            self.events.came_back(after);
            self.look_at_eviction().await;
        }
    }

    /// Warns of a server that forgets counters when it is full.
    pub async fn look_at_eviction(&self) {
        if let Some(policy) = self.redis.forgets().await {
            self.events.forgets(&policy);
        }
    }
}

/// The store did not decide; why was told already.
struct NoAnswer;
