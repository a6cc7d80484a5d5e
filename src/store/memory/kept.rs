//! What the snapshot sees of the counters.

use super::{
    Memory, SHARDS,
    slot::{self, Slot},
    snapshot::{Source, Target},
    sync::Relaxed,
};
use crate::units::Timestamp;

impl Source for Memory {
    fn shards(&self) -> usize {
        SHARDS
    }

    /// Holds the shard's lock for a page at a time; a counter may come twice where pages merge meanwhile, the later one
    /// counts.
    fn collect(&self, shard: usize, everything: bool, now: Timestamp, out: &mut Vec<Slot>) {
        self.collected.store(true, Relaxed);
        self.walk(shard, now, |slot| {
            if slot::is_dirty(slot) || (everything && !slot::expired(slot, now)) {
                slot::clean(slot);
                out.push(*slot);
            }
        });
    }
}

impl Target for Memory {
    fn insert(&self, shard: usize, mut slot: Slot, now: Timestamp) {
        let Some(shard) = self.shards.get(shard) else { return };
        slot::clean(&mut slot);
        let mut shard = shard.lock();
        // One that has expired is of use only to whom it replaces; the next walk drops it.
        if !slot::expired(&slot, now) || shard.find(slot::name(&slot)).is_some() {
            shard.put(slot, now);
        }
    }
}
