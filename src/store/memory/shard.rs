//! One shard: a table of counters, and what makes room when it is full.

use hashbrown::{HashTable, hash_table};

use super::snapshot;
use crate::{charge::CounterKey, limit::Counter, units::Timestamp};

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
    /// Whether any counter changed since all were last collected for the snapshot.
    changed: bool,
}

/// One counter, in 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u128,
    used: u64,
    /// Until when it counts, in milliseconds (the finest step of windows), in the upper 56 bits; the share of its
    /// limit that is used, in 1/255, in the lower 8.
    until_and_share: u64,
}

/// What became of a counter that was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Found,
    Evicting,
    /// Everything near is refused at the moment.
    Nowhere,
}

#[expect(clippy::cast_possible_truncation, reason = "numbers are cut into words, and put together again")]
impl Entry {
    fn new(key: CounterKey, counter: Counter, count: u64) -> Self {
        let until_ms = counter.time.0.div_ceil(1_000_000).min(u64::MAX >> 8);
        Self { key: key.0, used: counter.used, until_and_share: until_ms << 8 | u64::from(share(counter.used, count)) }
    }

    fn counter(&self) -> Counter {
        Counter { used: self.used, rest: 0, time: Timestamp::from_millis(self.until_and_share >> 8) }
    }

    fn to_slot(self) -> snapshot::Slot {
        let Self { key, used, until_and_share } = self;
        let word = |number: u128, place: u32| (number >> (32 * place)) as u32;
        let rest = u128::from(used) | u128::from(until_and_share) << 64;
        [0, 1, 2, 3, 4, 5, 6, 7].map(|place| if place < 4 { word(key, place) } else { word(rest, place - 4) })
    }

    fn from_slot([a, b, c, d, rest @ ..]: snapshot::Slot) -> Self {
        let number = |words: [u32; 4]| words.iter().rev().fold(0, |number, word| number << 32 | u128::from(*word));
        let rest = number(rest);
        Self { key: number([a, b, c, d]), used: rest as u64, until_and_share: (rest >> 64) as u64 }
    }

    fn expired(&self, now: Timestamp) -> bool {
        Timestamp::from_millis(self.until_and_share >> 8) <= now
    }

    fn share(&self) -> u8 {
        self.until_and_share as u8
    }
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The counter of `key`; untouched where there is none.
    pub(super) fn counter(&self, key: CounterKey) -> Counter {
        self.table.find(hash(key.0), |entry| entry.key == key.0).map(Entry::counter).unwrap_or_default()
    }

    /// Remembers `counter`, the state of a limit of `count`, in a table of at most `capacity` counters.
    pub(super) fn place(
        &mut self,
        key: CounterKey,
        counter: Counter,
        count: u64,
        capacity: usize,
        now: Timestamp,
    ) -> Placed {
        if counter.used == 0 {
            if let Ok(found) = self.table.find_entry(hash(key.0), |entry| entry.key == key.0) {
                found.remove();
                self.changed = true;
            }
            return Placed::Found;
        }
        self.put(Entry::new(key, counter, count), capacity, now)
    }

    fn put(&mut self, entry: Entry, capacity: usize, now: Timestamp) -> Placed {
        self.changed = true;
        if let Some(found) = self.table.find_mut(hash(entry.key), |other| other.key == entry.key) {
            *found = entry;
            return Placed::Found;
        }
        let mut placed = Placed::Found;
        if self.table.len() >= capacity {
            placed = self.make_room(now);
        } else if self.table.len() == self.table.capacity() {
            self.grow(now);
        }
        if placed != Placed::Nowhere {
            self.table.insert_unique(hash(entry.key), entry, |entry| hash(entry.key));
        }
        placed
    }

    /// All counters, unless none has changed: changes are noted a shard, not a counter.
    pub(super) fn collect(&mut self, everything: bool, now: Timestamp, out: &mut Vec<snapshot::Slot>) {
        if std::mem::take(&mut self.changed) || everything {
            self.table.retain(|entry| !entry.expired(now));
            out.extend(self.table.iter().map(|entry| entry.to_slot()));
        }
    }

    /// Takes a counter back.
    pub(super) fn insert(&mut self, slot: snapshot::Slot, capacity: usize, now: Timestamp) {
        let (entry, changed) = (Entry::from_slot(slot), self.changed);
        if !entry.expired(now) {
            self.put(entry, capacity, now);
        } else if let Ok(older) = self.table.find_entry(hash(entry.key), |other| other.key == entry.key) {
            older.remove();
        }
        self.changed = changed;
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
            if entry.share() != FULL && victim.is_none_or(|(share, _)| entry.share() < share) {
                victim = Some((entry.share(), self.cursor));
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
