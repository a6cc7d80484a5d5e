//! A store of plain numbers that is so simple that it is right.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{super::*, NOW};

/// Counters by key. A slot is key, value, and the second after [`NOW`] at which it expires; a value of 0 says that
/// there is no counter.
pub struct Shelf(Vec<Mutex<BTreeMap<u32, Counter>>>);

/// Value and end of every live counter.
pub type Live = BTreeMap<u32, (u32, u32)>;

struct Counter {
    value: u32,
    until: u32,
    changed: bool,
}

impl Counter {
    fn expired(&self, now: Timestamp) -> bool {
        NOW.plus(crate::units::Nanos::from_secs(self.until.into())) <= now
    }
}

impl Shelf {
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Mutex::default()).collect())
    }

    pub fn set(&self, key: u32, value: u32, until: u32) {
        self.0[key as usize % self.0.len()].lock().insert(key, Counter { value, until, changed: true });
    }

    pub fn remove(&self, key: u32) {
        if let Some(counter) = self.0[key as usize % self.0.len()].lock().get_mut(&key) {
            *counter = Counter { value: 0, changed: true, ..*counter };
        }
    }

    pub fn live(&self, now: Timestamp) -> Live {
        let mut live = Live::new();
        for shard in &self.0 {
            for (key, counter) in &*shard.lock() {
                if counter.value != 0 && !counter.expired(now) {
                    live.insert(*key, (counter.value, counter.until));
                }
            }
        }
        live
    }
}

impl Source for Shelf {
    fn shards(&self) -> usize {
        self.0.len()
    }

    fn collect(&self, shard: usize, everything: bool, now: Timestamp, out: &mut Vec<Slot>) {
        let mut counters = self.0[shard].lock();
        counters.retain(|_, counter| counter.changed || !counter.expired(now));
        for (&key, counter) in &mut *counters {
            if everything || counter.changed {
                out.push([key, counter.value, counter.until, 0, 0, 0, 0, !key]);
            }
            counter.changed = false;
        }
    }
}

impl Target for Shelf {
    fn insert(&self, shard: usize, [key, value, until, ..]: Slot, now: Timestamp) {
        assert_eq!(key as usize % self.0.len(), shard);
        let counter = Counter { value, until, changed: false };
        let mut counters = self.0[shard].lock();
        if value == 0 || counter.expired(now) {
            counters.remove(&key);
        } else {
            counters.insert(key, counter);
        }
    }
}
