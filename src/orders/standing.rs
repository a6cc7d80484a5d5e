//! The orders that stand, as entries that merge: however often and in whatever order replicas tell them to each other,
//! all end with the same.
//!
//! Each has a name and a stamp. Of two with one name the later one stays; an order that was taken back stays as well, as
//! a [`Deletion`], until what it took back would have ended. A name is that of the words of an order, as they were given:
//! rules, by which two spellings may mean the same, differ from replica to replica while they are rolled out, and may know
//! nothing of a domain today that they know tomorrow. That an order replaces one of another spelling is up to who
//! writes it.
//!
//! All times are the store's: those of a clock that all replicas share.

use std::sync::{Arc, atomic::AtomicU64};

use hashbrown::{HashMap, hash_map::Entry as Place};

use super::{About, entry};
use crate::{
    bounds::{ORDERS_MAX, SHARED_ENTRIES_MAX},
    rules::{
        Counted,
        identity::{HashKey, counter_name, descriptor_key},
    },
    units::Timestamp,
};

/// Other limits, for a while.
#[derive(Clone, Debug)]
pub struct OverrideOrder {
    pub about: About,
    /// `{"limits": [...]}`, as it was given and checked.
    pub limits: Box<str>,
    pub until: Timestamp,
}

/// Refused, for a while.
#[derive(Clone, Debug)]
pub struct BlockOrder {
    pub about: About,
    pub until: Timestamp,
}

/// A beginning that is counted from nothing again.
#[derive(Clone, Debug)]
pub struct ResetOrder {
    pub about: About,
    pub mark: u128,
    pub until: Timestamp,
    /// By our own clock.
    pub last_met_secs: Arc<AtomicU64>,
}

/// An order that was taken back.
#[derive(Clone, Debug)]
pub struct Deletion {
    pub kind: Kind,
    pub about: About,
}

/// The kinds of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Override,
    Block,
    Reset,
}

/// What stands under a name.
#[derive(Clone, Debug)]
pub enum Order {
    Override(OverrideOrder),
    Block(BlockOrder),
    Reset(ResetOrder),
    Deleted(Deletion),
}

/// An order, and what is known of it beside what it says.
#[derive(Clone, Debug)]
pub struct Record {
    pub order: Order,
    /// When it was written, in microseconds since 1970; more, where that was no later than what it replaced.
    pub stamp: u64,
    /// When the last of those that had its name would have ended.
    pub kept_until: Timestamp,
    pub told: Told,
}

/// Whether the other replicas know of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was written just now, and gets its stamp when it is told.
    New,
    Untold,
    Told,
}

/// What merging a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    Changed,
    Unchanged,
    /// There are more than there may be.
    NoRoom,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The names of what is over.
    pub over: Vec<u128>,
    /// The names and stamps of deletions that are not, of which there were too many.
    pub let_go: Vec<(u128, u64)>,
    /// Whether an order was among them.
    pub orders: bool,
}

/// The orders that stand, and those that were taken back.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    records: HashMap<u128, Record>,
}

impl Standing {
    /// Writes an order in the place of whatever has its name.
    pub fn write(&mut self, now: Timestamp, order: Order) {
        let name = order.name();
        let known = self.records.get(&name);
        let after = known.map_or(0, |known| known.stamp.saturating_add(1));
        let kept = known.map_or(Timestamp::EPOCH, |known| known.kept_until);
        let kept_until = kept.max(order.until().unwrap_or_default());
        let record = Record { order, stamp: after.max(now.0 / 1_000), kept_until, told: Told::New };
        self.records.insert(name, record);
    }

    /// Takes back the orders of a kind that `gone` tells; how many stood.
    pub fn delete(&mut self, now: Timestamp, kind: Kind, gone: impl Fn(&About) -> bool) -> u32 {
        let of_kind = self.records.values().filter(|it| it.order.stands(kind, now) && gone(it.order.about()));
        let about: Vec<_> = of_kind.map(|it| it.order.about().clone()).collect();
        let count = u32::try_from(about.len()).unwrap_or(u32::MAX);
        for about in about {
            self.write(now, Order::Deleted(Deletion { kind, about }));
        }
        count
    }

    /// Takes in what another replica, or a file, knows: of two records of one name the later stays, of equally late ones
    /// that which is larger as an entry.
    pub fn merge(&mut self, theirs: Record) -> Merged {
        let count = self.records.len();
        match self.records.entry(theirs.order.name()) {
            Place::Vacant(_) if count >= SHARED_ENTRIES_MAX => Merged::NoRoom,
            Place::Vacant(place) => {
                place.insert(theirs);
                Merged::Changed
            }
            Place::Occupied(mut place) => place.get_mut().merge(theirs),
        }
    }

    /// Drops what is needed no more, and deletions beyond their bound, the first to end first.
    pub fn forget(&mut self, now: Timestamp) -> Forgotten {
        let mut forgotten = Forgotten { over: self.names(|record| record.kept_until <= now), ..Forgotten::default() };
        let mut deleted: Vec<_> =
            self.records.iter().filter(|(_, it)| it.order.is_deletion() && now < it.kept_until).collect();
        if deleted.len() > ORDERS_MAX {
            deleted.sort_unstable_by_key(|(name, it)| (it.kept_until, **name));
            let beyond = deleted.iter().take(deleted.len() - ORDERS_MAX);
            forgotten.let_go = beyond.map(|(name, it)| (**name, it.stamp)).collect();
        }
        for name in &forgotten.over {
            forgotten.orders |= self.records.remove(name).is_some_and(|record| !record.order.is_deletion());
        }
        for (name, _) in &forgotten.let_go {
            self.records.remove(name);
        }
        forgotten
    }

    /// Nobody knows any more what the others know.
    pub fn doubt(&mut self) {
        for record in self.records.values_mut().filter(|record| record.told == Told::Told) {
            record.told = Told::Untold;
        }
    }

    /// Some that the others must be told: those written just now, or with `all` those too of which nobody knows.
    pub fn untold(&self, all: bool) -> impl Iterator<Item = (u128, &Record)> {
        let wanted = move |record: &Record| record.told == Told::New || (all && record.told == Told::Untold);
        self.records.iter().filter(move |(_, record)| wanted(record)).map(|(name, record)| (*name, record))
    }

    /// The record of this name was told as it was with `stamp`.
    pub fn was_told(&mut self, name: u128, stamp: u64) {
        if let Some(record) = self.records.get_mut(&name).filter(|record| record.stamp == stamp) {
            record.told = Told::Told;
        }
    }

    /// Whatever was written just now was not told in time: it keeps the stamp that it got here.
    pub fn grow_old(&mut self) {
        for record in self.records.values_mut().filter(|record| record.told == Told::New) {
            record.told = Told::Untold;
        }
    }

    /// All records, the first written first.
    pub fn records(&self) -> Vec<&Record> {
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_unstable_by_key(|(name, record)| (record.stamp, **name));
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// The orders of a kind that stand, the first written first.
    pub fn of_kind(&self, kind: Kind, now: Timestamp) -> impl Iterator<Item = &Order> {
        let orders = self.records().into_iter().map(|record| &record.order);
        orders.filter(move |order| order.stands(kind, now))
    }

    pub fn count(&self, kind: Kind, now: Timestamp) -> usize {
        self.records.values().filter(|record| record.order.stands(kind, now)).count()
    }

    fn names(&self, which: impl Fn(&Record) -> bool) -> Vec<u128> {
        self.records.iter().filter(|(_, record)| which(record)).map(|(name, _)| *name).collect()
    }
}

impl Record {
    fn merge(&mut self, theirs: Self) -> Merged {
        self.kept_until = self.kept_until.max(theirs.kept_until);
        let (our_bytes, their_bytes) = (entry::bytes_of(&self.order), entry::bytes_of(&theirs.order));
        if our_bytes == their_bytes {
            // A reset that requests meet stays the one that they meet.
            if self.stamp <= theirs.stamp {
                (self.stamp, self.told) = (theirs.stamp, theirs.told);
            } else {
                self.told = self.told.doubted();
            }
            Merged::Unchanged
        } else if self.told == Told::New {
            // It will be told as later than all others, so it is.
            self.stamp = self.stamp.max(theirs.stamp.saturating_add(1));
            Merged::Unchanged
        } else if (self.stamp, our_bytes) < (theirs.stamp, their_bytes) {
            (self.order, self.stamp, self.told) = (theirs.order, theirs.stamp, theirs.told);
            Merged::Changed
        } else {
            self.told = self.told.doubted();
            Merged::Unchanged
        }
    }
}

impl Told {
    fn doubted(self) -> Self {
        if self == Self::Told { Self::Untold } else { self }
    }
}

impl Order {
    /// The name that all replicas have for it.
    pub fn name(&self) -> u128 {
        let (about, kind) = (self.about(), self.kind());
        let salt = match (kind, about.prefix) {
            (Kind::Override, false) => *b"instead=",
            (Kind::Override, true) => *b"instead+",
            (Kind::Block, false) => *b"blocked=",
            (Kind::Block, true) => *b"blocked+",
            (Kind::Reset, false) => *b"recount=",
            (Kind::Reset, true) => *b"recount+",
        };
        let entries = about.entries();
        // By value: as they were given, whatever rules make of them.
        let counted = vec![Counted::Value; entries.len()];
        let words = descriptor_key(&HashKey::Public, &about.domain, &entries, &counted);
        counter_name(words, u64::from_be_bytes(salt))
    }

    pub fn about(&self) -> &About {
        match self {
            Self::Override(order) => &order.about,
            Self::Block(order) => &order.about,
            Self::Reset(order) => &order.about,
            Self::Deleted(order) => &order.about,
        }
    }

    /// Its end; a deletion has none of its own.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Override(order) => Some(order.until),
            Self::Block(order) => Some(order.until),
            Self::Reset(order) => Some(order.until),
            Self::Deleted(_) => None,
        }
    }

    pub fn is_deletion(&self) -> bool {
        matches!(self, Self::Deleted(_))
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Override(_) => Kind::Override,
            Self::Block(_) => Kind::Block,
            Self::Reset(_) => Kind::Reset,
            Self::Deleted(deletion) => deletion.kind,
        }
    }

    fn stands(&self, kind: Kind, now: Timestamp) -> bool {
        self.kind() == kind && self.until().is_some_and(|until| now < until)
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
