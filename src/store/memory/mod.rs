//! Counters in this process: shards of hash tables, each under its own lock.
//!
//! A request's charges are sorted by shard, its shards locked in that order (so that no two requests can wait for each
//! other), all counters decided together, and the locks let go. No lock is held across an `await`: charging never
//! waits for anything else.

mod kept;
mod shard;
pub mod snapshot;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use shard::{Placed, Shard};
use smallvec::SmallVec;

use crate::{
    charge::{Charges, CounterKey, Verdicts, settle},
    limit::Counter,
    units::Timestamp,
};

/// 2¹⁰ shards: at ten million counters a shard that grows moves ten thousand entries, some 0.2 ms under its lock.
const SHARD_BITS: u32 = 10;

/// Counters in memory, at most a fixed number of them.
#[derive(Debug)]
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    counters_per_shard: usize,
    /// The shard that [`expire_some`](Self::expire_some) looks at next.
    next_to_expire: AtomicUsize,
    evicted: AtomicU64,
    unplaced: AtomicU64,
}

/// How full the store is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Live counters; expired ones are among them until they are swept.
    pub counters: usize,
    /// Counters that had to make place for others before they expired, since the start.
    pub evicted: u64,
    /// Charges that found no place because everything near was refused: decided, but not remembered; since the start.
    pub unplaced: u64,
}

impl Memory {
    /// A store that never holds more than about `max_counters` counters.
    pub fn new(max_counters: usize) -> Self {
        let shards = 1 << SHARD_BITS;
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            counters_per_shard: max_counters.div_ceil(shards).max(1),
            next_to_expire: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            unplaced: AtomicU64::new(0),
        }
    }

    /// Decides all charges of one request in one atomic step.
    pub fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        if let [charge] = charges.list.as_slice() {
            let mut shard = self.shards[shard_of(charge.key)].lock();
            let before = shard.counter(charge.key);
            let mut counters = [before];
            let verdicts = settle(charges, &[0], &mut counters, now);
            if counters[0] != before {
                self.place(&mut shard, charge.key, counters[0], charge.limit.count, now);
            }
            return verdicts;
        }
        self.charge_several(now, charges)
    }

    fn charge_several(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        let mut order: SmallVec<[(CounterKey, u32); 8]> =
            charges.list.iter().zip(0..).map(|(charge, index)| (charge.key, index)).collect();
        // The shard is the key's upper bits: this sorts by shard, and brings charges that meet on one counter together.
        order.sort_unstable();

        let mut guards: SmallVec<[(usize, MutexGuard<'_, Shard>); 4]> = SmallVec::new();
        let mut slots: SmallVec<[Slot; 8]> = SmallVec::new();
        let mut slot_of: SmallVec<[u32; 8]> = SmallVec::from_elem(0, order.len());
        let mut counters: SmallVec<[Counter; 8]> = SmallVec::new();
        for (key, index) in order {
            if slots.last().is_none_or(|slot| slot.key != key) {
                let shard = shard_of(key);
                if guards.last().is_none_or(|(locked, _)| *locked != shard) {
                    guards.push((shard, self.shards[shard].lock()));
                }
                let guard = guards.len() - 1;
                let before = guards[guard].1.counter(key);
                slots.push(Slot { key, guard, before, count: 0 });
                counters.push(before);
            }
            let slot = slots.len() - 1;
            slots[slot].count = charges.list[index as usize].limit.count;
            slot_of[index as usize] = u32::try_from(slot).unwrap_or(u32::MAX);
        }

        let verdicts = settle(charges, &slot_of, &mut counters, now);
        for (slot, counter) in slots.iter().zip(counters) {
            if counter != slot.before {
                self.place(&mut guards[slot.guard].1, slot.key, counter, slot.count, now);
            }
        }
        verdicts
    }

    fn place(&self, shard: &mut Shard, key: CounterKey, counter: Counter, count: u64, now: Timestamp) {
        match shard.place(key, counter, count, self.counters_per_shard, now) {
            Placed::Found => {}
            Placed::Evicting => _ = self.evicted.fetch_add(1, Relaxed),
            Placed::Nowhere => _ = self.unplaced.fetch_add(1, Relaxed),
        }
    }

    /// Drops what has expired from the next shard in turn; whoever calls this now and then keeps the memory down.
    /// Holds one lock for one shard's worth of counters.
    pub fn expire_some(&self, now: Timestamp) {
        let next = self.next_to_expire.fetch_add(1, Relaxed) % self.shards.len();
        self.shards[next].lock().expire(now);
    }

    /// How full it is. Takes each lock for a moment.
    pub fn fill(&self) -> Fill {
        Fill {
            counters: self.shards.iter().map(|shard| shard.lock().len()).sum(),
            evicted: self.evicted.load(Relaxed),
            unplaced: self.unplaced.load(Relaxed),
        }
    }
}

/// One counter among those that a request meets.
struct Slot {
    key: CounterKey,
    /// The place of its shard's lock among those held.
    guard: usize,
    before: Counter,
    /// The number of the limit that is counted here, to tell how near to it the counter is.
    count: u64,
}

fn shard_of(key: CounterKey) -> usize {
    (key.0 >> (u128::BITS - SHARD_BITS)) as usize
}

#[cfg(test)]
mod tests;
