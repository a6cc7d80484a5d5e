//! Counters in this process: shards of small pages, each shard under its own lock.
//!
//! A request's charges are sorted by shard, its shards locked in that order (so that no two requests can wait for each
//! other), all counters decided together, and the locks let go. No lock is held across an `await`: charging never
//! waits for anything else. All counters of a request are decided under one set of locks, however many there are:
//! exact, and with 10,000 of them at most some 2 ms during which others wait. (Taking slices and giving back what turns
//! out not to fit would make others be refused for what nobody used.)
//!
//! A counter that finds no place in its full shard is counted in a [`sketch`]. The lock of the sketches is taken after
//! those of shards, never before, and held for a look or a change at a time.

mod groups;
mod kept;
mod page;
mod shard;
mod sketch;
mod slot;
pub mod snapshot;
mod spread;
mod sync;

use std::sync::Arc;

use groups::Groups;
use shard::{Placed, Shard};
use sketch::Sketches;
use slot::Name;
pub use slot::{FORMAT_VERSION, Slot};
use smallvec::SmallVec;
use spread::{SHARDS, shard_of};
use sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Relaxed};

use crate::{
    charge::{Charge, Charges, CounterKey, Gate, Role, Verdicts, gate_is_closed, settle},
    limit::{Algorithm, Counter, Limit, Window},
    units::{Nanos, Timestamp},
};

/// A block is kept as the counter of this limit: it has no room left, so that it is never evicted.
static BLOCK: Limit = Limit { count: 1, window: Window::Length(Nanos::SECOND), algorithm: Algorithm::FixedWindow };
/// All blocks together are one group; numbers of limits start at the other end.
const BLOCKS: u32 = u32::MAX;

/// Counters in memory, at most a fixed number of them.
#[derive(Debug)]
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    max_counters: usize,
    sketches: Mutex<Sketches>,
    /// How many sketches there are; while there are none, nobody takes their lock.
    sketch_count: AtomicUsize,
    /// The shard that [`expire_some`](Self::expire_some) looks at next.
    next_to_expire: AtomicUsize,
    /// Somebody collects: that drops what has expired, and must see it before it goes.
    collected: AtomicBool,
    evicted: AtomicU64,
    sketched: AtomicU64,
    unplaced: AtomicU64,
}

/// How full the store is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Live counters; expired ones are among them until they are swept.
    pub counters: usize,
    /// How many there may be; more than was asked for where that was less than one a shard.
    pub max_counters: usize,
    /// Memory they and the sketches take.
    pub bytes: usize,
    /// Counters that had to make place for others before they expired, since the start.
    pub evicted: u64,
    /// Limits whose counters without a place are counted in a sketch now.
    pub sketches: usize,
    /// Charges that were counted in a sketch because everything near was refused, since the start.
    pub sketched: u64,
    /// Charges that found no place in a sketch either: decided, but not remembered; since the start.
    pub unplaced: u64,
}

/// What a reset found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Counters that held something.
    pub counters: u32,
    /// Blocks that were not over.
    pub blocks: u32,
}

impl Memory {
    /// A store that never holds more than `max_counters` counters, or one a shard.
    pub fn new(max_counters: usize) -> Self {
        let capacities = || spread::shares(max_counters).map(|capacity| capacity.max(1));
        let max_counters: usize = capacities().sum();
        let groups = Arc::new(Groups::new(max_counters));
        let shards = capacities().map(|capacity| Mutex::new(Shard::new(capacity, Arc::clone(&groups)))).collect();
        Self {
            shards,
            max_counters,
            sketches: Mutex::new(Sketches::new(max_counters)),
            sketch_count: AtomicUsize::new(0),
            next_to_expire: AtomicUsize::new(0),
            collected: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
            sketched: AtomicU64::new(0),
            unplaced: AtomicU64::new(0),
        }
    }

    /// Decides all charges of one request in one atomic step.
    pub fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        if let ([charge], []) = (charges.list.as_slice(), charges.gates.as_slice()) {
            let kept = Kept::from(charge);
            let mut shard = self.shards[shard_of(kept.key)].lock();
            let before = self.counter(&shard, kept, now);
            let mut counters = [before.unwrap_or_default()];
            let verdicts = settle(charges, &[0], &mut counters, now);
            self.remember(&mut shard, kept, before, counters[0], now);
            return verdicts;
        }
        self.charge_together(now, charges)
    }

    fn charge_together(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        let kept = charges.list.iter().map(Kept::from).chain(charges.gates.iter().map(Kept::from));
        let mut order: SmallVec<[(Kept<'_>, u32); 8]> = kept.zip(0..).collect();
        // Shards stand in the order of keys: this sorts by shard, and brings charges that meet on one counter together.
        order.sort_unstable_by_key(|(kept, index)| (kept.key, *index));

        let mut guards: SmallVec<[(usize, MutexGuard<'_, Shard>); 4]> = SmallVec::new();
        let mut seats: SmallVec<[Seat<'_>; 8]> = SmallVec::new();
        let mut seat_of: SmallVec<[u32; 8]> = SmallVec::from_elem(0, order.len());
        for (kept, index) in order {
            if seats.last().is_none_or(|seat| seat.kept.key != kept.key) {
                let shard = shard_of(kept.key);
                if guards.last().is_none_or(|(locked, _)| *locked != shard) {
                    guards.push((shard, self.shards[shard].lock()));
                }
                seats.push(Seat { kept, guard: guards.len() - 1, before: None });
            }
            let seat = seats.len() - 1;
            seats[seat].kept = kept;
            seat_of[index as usize] = u32::try_from(seat).unwrap_or(u32::MAX);
        }

        // Sketches may only be looked at when all shards are locked.
        for seat in &mut seats {
            seat.before = self.counter(&guards[seat.guard].1, seat.kept, now);
        }
        let mut counters: SmallVec<[Counter; 8]> = seats.iter().map(|seat| seat.before.unwrap_or_default()).collect();
        let verdicts = settle(charges, &seat_of, &mut counters, now);
        for (seat, counter) in seats.iter().zip(counters) {
            self.remember(&mut guards[seat.guard].1, seat.kept, seat.before, counter, now);
        }
        verdicts
    }

    /// The counter as it was left; None where nothing is known of it.
    fn counter(&self, shard: &Shard, kept: Kept<'_>, now: Timestamp) -> Option<Counter> {
        let name = Name::of(kept.key);
        if let Some(slot) = shard.find(name) {
            return Some(slot::counter(slot, slot::form_of(kept.limit), now));
        }
        if self.sketch_count.load(Relaxed) == 0 {
            return None;
        }
        self.sketches.lock().estimate(name, kept.group, kept.limit, now)
    }

    /// Keeps what became of a counter, if anything did.
    fn remember(&self, shard: &mut Shard, kept: Kept<'_>, before: Option<Counter>, after: Counter, now: Timestamp) {
        let untouched = after.used == 0 && after.rest == 0;
        // A counter that came down to nothing stays until its time is over: else a snapshot, which holds only what
        // changed, would bring the old figure back.
        let name = Name::of(kept.key);
        if before.is_none() && (untouched || kept.holds_none) {
            return;
        }
        if before == Some(after) && (kept.limit.has_room(after, now, 1) || shard.is_held(name)) {
            return;
        }
        match shard.put(slot::pack(name, kept.group, kept.limit, after, now), now) {
            Placed::Found => {}
            Placed::Evicting => _ = self.evicted.fetch_add(1, Relaxed),
            Placed::Nowhere => self.sketch(name, kept, after, now),
        }
    }

    #[cold]
    fn sketch(&self, name: Name, kept: Kept<'_>, after: Counter, now: Timestamp) {
        let mut sketches = self.sketches.lock();
        // A sketch errs against those who share its cells: one hit too many is borne, a block for an hour is not.
        let recorded = kept.group != BLOCKS && sketches.record(name, kept.group, kept.limit, after, now);
        self.sketch_count.store(sketches.len(), Relaxed);
        if recorded { &self.sketched } else { &self.unplaced }.fetch_add(1, Relaxed);
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way, whatever they ask.
    ///
    /// Each on its own: a request that comes meanwhile may meet some as they were and some empty, as if it had come a
    /// moment earlier or later on each.
    pub fn reset(&self, now: Timestamp, charges: &Charges<'_>) -> Emptied {
        let mut emptied = Emptied::default();
        for charge in &charges.list {
            let stands = |counter: Counter| charge.limit.standing(charge.limit.at(counter, now), now).used > 0;
            emptied.counters += u32::from(self.empty(Kept::from(charge), now, stands));
        }
        for gate in &charges.gates {
            emptied.blocks += u32::from(self.lift(gate.key, now));
        }
        emptied
    }

    /// Lifts a block; whether there was one.
    pub fn lift(&self, key: CounterKey, now: Timestamp) -> bool {
        let kept = Kept { key, group: BLOCKS, limit: &BLOCK, holds_none: false };
        self.empty(kept, now, |block| gate_is_closed(block, now))
    }

    /// Empties one counter; whether that made a difference. Its place stays until it would have ended, so that a
    /// snapshot, which holds what changed, learns of it.
    fn empty(&self, kept: Kept<'_>, now: Timestamp, stands: impl Fn(Counter) -> bool) -> bool {
        let mut shard = self.shards[shard_of(kept.key)].lock();
        let Some(before) = self.counter(&shard, kept, now) else { return false };
        self.remember(&mut shard, kept, Some(before), Counter { used: 0, rest: 0, ..before }, now);
        stands(before)
    }

    /// Drops what has expired from the next shard in turn, and gives memory back; whoever calls this now and then keeps
    /// the memory down. Holds a lock for a page at a time: a microsecond.
    pub fn expire_some(&self, now: Timestamp) {
        if !self.collected.load(Relaxed) {
            let shard = self.next_to_expire.fetch_add(1, Relaxed) % SHARDS;
            self.walk(shard, now, |_| {});
        }
        if self.sketch_count.load(Relaxed) > 0 {
            let mut sketches = self.sketches.lock();
            sketches.forget(now);
            self.sketch_count.store(sketches.len(), Relaxed);
        }
    }

    /// Visits every counter of a shard, a page a lock; then drops the expired. What comes meanwhile may be missed, what is
    /// there all the while is not.
    fn walk(&self, shard: usize, now: Timestamp, mut each: impl FnMut(&mut Slot)) {
        let mut next = Some(0);
        while let Some(cursor) = next {
            next = self.shards[shard].lock().visit(cursor, now, &mut each);
        }
    }

    /// How full it is. Takes each lock for a moment.
    pub fn fill(&self) -> Fill {
        let mut fill = Fill {
            max_counters: self.max_counters,
            evicted: self.evicted.load(Relaxed),
            sketched: self.sketched.load(Relaxed),
            unplaced: self.unplaced.load(Relaxed),
            ..Fill::default()
        };
        for shard in &self.shards {
            let shard = shard.lock();
            fill.counters += shard.len();
            fill.bytes += shard.bytes();
        }
        let sketches = self.sketches.lock();
        fill.sketches = sketches.len();
        fill.bytes += sketches.bytes();
        fill
    }
}

/// What is kept under one key: the counter of a limit, or a block.
#[derive(Clone, Copy, Debug)]
struct Kept<'p> {
    key: CounterKey,
    group: u32,
    limit: &'p Limit,
    /// A limit of 0 refuses whatever it has counted: a flood of what it refuses must not fill the store, also where
    /// refused hits are charged. What is overdrawn was spent, and stands against a limit that is raised.
    holds_none: bool,
}

impl<'p> From<&Charge<'p>> for Kept<'p> {
    fn from(charge: &Charge<'p>) -> Self {
        let holds_none = charge.limit.count == 0 && charge.role != Role::Overdraw;
        Self { key: charge.key, group: charge.group, limit: charge.limit, holds_none }
    }
}

impl From<&Gate> for Kept<'_> {
    fn from(gate: &Gate) -> Self {
        Self { key: gate.key, group: BLOCKS, limit: &BLOCK, holds_none: false }
    }
}

/// One counter among those that a request meets.
struct Seat<'p> {
    /// As the last of those who meet on it names it.
    kept: Kept<'p>,
    /// The place of its shard's lock among those held.
    guard: usize,
    before: Option<Counter>,
}

// Under shuttle there are no locks outside of its scheduler, so either those tests or these.
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod bounded_tests;
#[cfg(all(test, feature = "shuttle"))]
mod shuttle_tests;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
