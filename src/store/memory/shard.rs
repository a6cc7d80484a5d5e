//! One shard: a table of counters, and what makes room when it is full.

use hashbrown::{HashTable, hash_table};

use crate::{
    charge::CounterKey,
    limit::{Counter, Limit},
    units::Timestamp,
};

/// How many places are looked at to find one to evict. Enough that the victim is among the third of the counters that
/// are furthest from their limit but once in a hundred thousand, and few enough to cost less than a microsecond.
const EVICTION_SAMPLE: usize = 32;

/// The share of a counter that has no room left: never evicted, or a client would be forgiven by someone else's flood.
const FULL: u8 = u8::MAX;

/// A table of counters.
#[derive(Debug, Default)]
pub(super) struct Shard {
    table: HashTable<Entry>,
    /// Where the last search for a victim ended.
    cursor: usize,
}

/// One counter.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u128,
    counter: Counter,
    /// From when on it is as good as untouched.
    until: Timestamp,
    /// The share of its limit that is used, in 1/255.
    share: u8,
}

/// What became of a counter that was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Found,
    Evicting,
    /// Everything near is refused at the moment.
    Nowhere,
}

impl Entry {
    fn new(key: CounterKey, counter: Counter, limit: &Limit, now: Timestamp) -> Self {
        let share = share(limit.standing(counter, now).used, limit.capacity());
        Self { key: key.0, counter, until: limit.forgotten_at(counter), share }
    }

    fn expired(&self, now: Timestamp) -> bool {
        self.until <= now
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The counter of `key`; untouched where there is none.
    pub(super) fn counter(&self, key: CounterKey) -> Counter {
        self.table.find(hash(key.0), |entry| entry.key == key.0).map(|entry| entry.counter).unwrap_or_default()
    }

    /// Remembers `counter`, the state of `limit`, in a table of at most `capacity` counters.
    pub(super) fn place(
        &mut self,
        key: CounterKey,
        counter: Counter,
        limit: &Limit,
        capacity: usize,
        now: Timestamp,
    ) -> Placed {
        let entry = Entry::new(key, counter, limit, now);
        let untouched = (counter.used, counter.rest) == (0, 0);
        if let Ok(mut found) = self.table.find_entry(hash(key.0), |entry| entry.key == key.0) {
            if untouched {
                found.remove();
            } else {
                *found.get_mut() = entry;
            }
            return Placed::Found;
        }
        if untouched {
            return Placed::Found;
        }
        let mut placed = Placed::Found;
        if self.table.len() >= capacity {
            placed = self.make_room(now);
        } else if self.table.len() == self.table.capacity() {
            self.grow(now);
        }
        if placed != Placed::Nowhere {
            self.table.insert_unique(hash(key.0), entry, |entry| hash(entry.key));
        }
        placed
    }

    /// Makes the table larger, less what has expired. It grows although some may have gone: else a full table in which
    /// one counter expires for each that comes would be walked for every one.
    fn grow(&mut self, now: Timestamp) {
        self.table.retain(|entry| !entry.expired(now));
        let wanted = self.table.capacity().max(4);
        self.table.reserve(wanted - self.table.len() / 2, |entry| hash(entry.key));
    }

    /// Drops one entry: an expired one, else of those looked at the furthest from its limit that is not refused.
    fn make_room(&mut self, now: Timestamp) -> Placed {
        let buckets = self.table.num_buckets();
        let mut victim: Option<(u8, usize)> = None;
        let mut seen = 0;
        for _ in 0..buckets {
            self.cursor = (self.cursor + 1) % buckets;
            let Some(entry) = self.table.get_bucket(self.cursor) else { continue };
            if entry.expired(now) {
                self.remove_bucket(self.cursor);
                return Placed::Found;
            }
            if entry.share != FULL && victim.is_none_or(|(share, _)| entry.share < share) {
                victim = Some((entry.share, self.cursor));
            }
            seen += 1;
            if seen == EVICTION_SAMPLE {
                break;
            }
        }
        match victim {
            Some((_, bucket)) => {
                self.remove_bucket(bucket);
                Placed::Evicting
            }
            None => Placed::Nowhere,
        }
    }

    fn remove_bucket(&mut self, bucket: usize) {
        if let Ok(entry) = self.table.get_bucket_entry(bucket) {
            let _ = hash_table::OccupiedEntry::remove(entry);
        }
    }

    /// Drops what has expired, and the room it took where that is most of the table.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.table.retain(|entry| !entry.expired(now));
        if self.table.len() < self.table.capacity() / 4 {
            self.table.shrink_to(self.table.len() * 2, |entry| hash(entry.key));
        }
    }
}

/// Keys are keyed hashes already: the lower half is as good as any. (The upper bits choose the shard, and are the same
/// for all keys of one.)
#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn hash(key: u128) -> u64 {
    key as u64
}

/// How much of `count` is used, in 1/255, rounded down; [`FULL`] only where nothing is left.
fn share(used: u64, count: u64) -> u8 {
    if used >= count {
        return FULL;
    }
    let share = u128::from(used) * u128::from(FULL) / u128::from(count);
    u8::try_from(share).unwrap_or(FULL - 1)
}
