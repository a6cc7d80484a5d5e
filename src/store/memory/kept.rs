//! What the snapshot sees of the counters.

use super::{
    Memory,
    snapshot::{Slot, Source, Target},
};
use crate::units::Timestamp;

impl Source for Memory {
    fn shards(&self) -> usize {
        self.shards.len()
    }

    fn collect(&self, shard: usize, everything: bool, now: Timestamp, out: &mut Vec<Slot>) {
        self.shards[shard].lock().collect(everything, now, out);
    }
}

impl Target for Memory {
    fn insert(&self, shard: usize, slot: Slot, now: Timestamp) {
        self.shards[shard].lock().insert(slot, self.counters_per_shard, now);
    }
}
