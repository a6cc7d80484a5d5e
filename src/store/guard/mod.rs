//! What stands between a request and a store beyond this process, so that the store's failing never hurts: a deadline, a
//! bound on calls under way, a breaker, and what each rule does meanwhile.
//!
//! | question | file |
//! |---|---|
//! | Was the same refused just now? | [`refusals`] |
//! | May a server of the store be called at all? | [`breaker`](super::breaker), one a server |
//! | Is there a place for one more call? | [`in_flight`] |
//! | What do rules do without it? | [`share`] |
//! | By how many is a limit shared then? | [`replicas`] |
//!
//! No call is made twice: what is lost is only an answer, and a hit that was charged is charged. A breaker is closed by
//! a probe of its own, never by trying a request.

pub mod in_flight;
pub mod refusals;
pub mod replicas;
pub mod share;

use std::{hash::Hasher as _, sync::Arc};

use in_flight::InFlight;
use refusals::Refusals;
use replicas::Replicas;
use share::decide_without_store;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use smallvec::SmallVec;

use super::{
    Asking, Charged, Keyspace, Source,
    memory::{Emptied, Memory},
    redis::{Away, Exchange, Exchanged, Failure, Node, Probe, Redis, Seats},
};
use crate::{
    bounds::STORE_CALLS_MAX,
    charge::{Charge, Charges, CounterKey, Verdicts, settle},
    clock::Clock,
    rules::OnStoreError,
    telemetry::store::StoreEvents,
    units::Timestamp,
};

/// A store beyond this process, and what is done when it is away.
#[derive(Debug)]
pub struct Guard {
    redis: Redis,
    /// Counters of this process alone, for while it is away.
    local: Memory,
    /// By how many processes a limit is shared meanwhile.
    replicas: Replicas,
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
        replicas: Replicas,
        key: [u8; 16],
        clock: Clock,
        events: Arc<StoreEvents>,
    ) -> Self {
        let (calls, refusals) = (InFlight::new(STORE_CALLS_MAX), Refusals::new(key));
        Self { redis, local, replicas, calls, refusals, key, clock, events }
    }

    /// Decides all charges of one request: by the store, or in its place. Never fails, and takes no longer than the
    /// deadline of a call.
    pub async fn charge(&self, asking: &Asking<'_, '_>) -> Charged {
        let charges = self.redis.by_its_clock(asking.keyspace, asking.charges);
        let there = Asking { charges: &charges, ..*asking };
        let seats = Seats::of(&charges);
        if seats.keys.is_empty() {
            // Nothing is counted, so nobody is asked; and what says nothing of the store is no success of it.
            let verdicts = settle(asking.charges, &[], &mut [], asking.now);
            return Charged { verdicts, now: asking.now, source: Source::Redis };
        }
        let asked = match self.refusals.refuse(&charges, &seats.of, asking.now) {
            Ok(verdicts) => {
                self.events.repeated();
                return Charged { verdicts, now: asking.now, source: Source::Cached };
            }
            Err(asked) => asked,
        };
        match self.call(&there, &seats).await {
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
        decide_without_store(asking.charges, &on_store_error, self.replicas.sharing(), |charges| {
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
        let Some(_place) = self.calls.enter() else {
            self.events.failed("busy");
            return Err(NoAnswer);
        };
        let stopwatch = self.clock.stopwatch();
        let decided = self.redis.charge_seated(asking, seats).await;
        if matches!(decided, Err(Failure { why: Away::HeldBack, .. })) {
            return Err(NoAnswer);
        }
        self.events.called(asking.core, stopwatch.elapsed());
        decided.map_err(|failure| {
            self.failed(&failure);
            NoAnswer
        })
    }

    fn failed(&self, Failure { why, at }: &Failure) {
        self.events.failed(why.reason());
        if let Some(hop) = at
            && hop.failed(why, self.clock.now())
        {
            hop.node().hang_up();
            // Of one that has left the cluster, nobody would say that it is back.
            if self.redis.nodes().iter().any(|node| Arc::ptr_eq(node, hop.node())) {
                self.events.went_away(hop.node().name(), why);
            }
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn reset(&self, now: Timestamp, keyspace: Keyspace<'_>, charges: &Charges<'_>) -> Result<Emptied, Away> {
        self.local.reset(now, &self.named_here(charges));
        let emptied = self.redis.reset(now, keyspace, charges).await;
        self.refusals.clear();
        emptied
    }

    /// Lifts a block; whether there was one.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn lift(&self, now: Timestamp, keyspace: Keyspace<'_>, key: CounterKey) -> Result<bool, Away> {
        let here = self.local.lift(self.name_here(key), now);
        let there = self.redis.lift(now, keyspace, key).await;
        self.refusals.clear();
        there.map(|there| here || there)
    }

    /// Tells the other replicas something beside counters, and asks what they have told.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done; nothing is, as long as the store is away.
    pub async fn exchange(&self, asked: &Exchange) -> Result<Exchanged, Away> {
        self.redis.exchange(self.clock.now(), asked).await
    }

    /// By how many nanoseconds the store's clock is ahead of ours, as far as is known.
    pub fn ahead_ns(&self) -> i64 {
        self.redis.ahead_ns()
    }

    /// Forgets what was refused: something has changed by which it might be let through.
    pub fn forget_refusals(&self) {
        self.refusals.clear();
    }

    /// Tells the metrics what nothing that happens tells them.
    pub fn tell(&self) {
        self.events.under_way(self.calls.calls());
    }

    /// The counters of this process alone.
    pub fn local(&self) -> &Memory {
        &self.local
    }

    /// Asks which servers have which keys, where there are several. To be called by one task alone, at the start and
    /// whenever [`map_is_old`](Self::map_is_old).
    pub async fn learn(&self) {
        for gone in self.redis.learn().await {
            if let Some(after) = gone.is_back(self.clock.now()) {
                self.events.replaced(gone.name(), after);
            }
        }
        self.tell_availability();
        for node in self.redis.nodes() {
            if !node.is_away() && node.is_new() {
                self.look_at_eviction(&node).await;
            }
        }
    }

    /// Shows those that share the store that the replica of this `id` lives, and counts them. To be called now and then.
    pub async fn count_replicas(&self, id: u128) {
        match self.redis.show_sign_of_life(id).await {
            Ok(count) => {
                self.replicas.count(count);
                self.events.counted_replicas(self.replicas.sharing(), self.replicas.counted().unwrap_or(count));
            }
            // People must mend that; whatever else fails, fails for requests too, which tell of it.
            Err(why @ Away::Denied(_)) => self.events.may_not_count_replicas(&why),
            Err(_) => {}
        }
    }

    /// By how many a limit is shared while the store is away.
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Waits until the servers may have changed places.
    pub async fn map_is_old(&self) {
        self.redis.changed().await;
    }

    /// Whether a server is away, and its place may be another's by now.
    pub fn is_any_away(&self) -> bool {
        self.redis.nodes().iter().any(|node| node.is_away())
    }

    /// The servers that are away, and that nobody is asking just now whether they are back.
    pub fn to_probe(&self) -> Vec<Probe> {
        self.redis.nodes().iter().filter(|node| node.is_away()).filter_map(Node::probe).collect()
    }

    /// Asks a server whether it is back.
    pub async fn probe(&self, probe: Probe) {
        let node = Arc::clone(probe.node());
        let back = match self.redis.greet(&node).await {
            Ok(()) => node.is_back(self.clock.now()),
            Err(_) => None,
        };
        // What follows may take longer than the server stays.
        drop(probe);
        if let Some(after) = back {
            self.events.came_back(node.name(), after);
            self.tell_availability();
            self.look_at_eviction(&node).await;
        }
    }

    /// Goes over to another server, where that is the master now. To be called now and then.
    pub async fn follow_master(&self) {
        self.redis.follow_master().await;
    }

    fn tell_availability(&self) {
        self.events.all_available(!self.is_any_away());
    }

    /// Warns of a server that forgets counters when it is full.
    async fn look_at_eviction(&self, node: &Arc<Node>) {
        if let Some(policy) = self.redis.forgets(node).await {
            self.events.forgets(node.name(), &policy);
        }
    }
}

/// The store did not decide; why was told already.
struct NoAnswer;
