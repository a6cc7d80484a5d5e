//! Series whose labels show values of requests: as many as there are places, found without a lock.
//!
//! A place is given once and kept as long as the process lives: a series that went away and came back would have started
//! from zero, and nobody could tell. Whoever finds no place is counted where no values are shown.

use std::{
    hash::BuildHasher as _,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use super::label::{Part, label, of_part};
use crate::bounds::COMPAT_SERIES_MAX;

/// Slots of the table: half of them stay empty, so that the way to a name or to an empty slot is short.
const SLOTS: usize = 2 * COMPAT_SERIES_MAX;

/// The table.
#[derive(Debug)]
pub(super) struct Series {
    /// Nobody who does not know its key can aim at one slot.
    hashes: DefaultHashBuilder,
    slots: Box<[OnceLock<Place>]>,
    taken: AtomicUsize,
}

#[derive(Debug)]
struct Place {
    number: usize,
    name: Box<[u8]>,
    labels: Labels,
}

/// `domain`, `key1` and `key2`, as they read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    domain: String,
    keys: SmallVec<[String; 2]>,
}

/// A name's bytes: those of usual names fit in.
type Name = SmallVec<[u8; 256]>;

impl Series {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| OnceLock::new()).collect();
        Self { hashes: DefaultHashBuilder::default(), slots, taken: AtomicUsize::new(0) }
    }

    /// The number of the place of this name, from 0; None where all are others'.
    pub(super) fn place(&self, domain: &str, parts: &[Part<'_>]) -> Option<usize> {
        self.place_while(domain, parts, || ())
    }

    /// The same, with what others do between our look at an empty slot and our taking it.
    fn place_while(&self, domain: &str, parts: &[Part<'_>], mut others: impl FnMut()) -> Option<usize> {
        let name = encoded(domain, parts);
        let first = self.first_slot(&name);
        let mut own: Option<Place> = None;
        for at in (first..SLOTS).chain(0..first) {
            let slot = &self.slots[at];
            if slot.get().is_none() {
                others();
                // A place that is taken here and given to another in the meantime stays empty for good: only who meets
                // another newcomer at this very slot loses one.
                let place = match own.take() {
                    Some(place) => place,
                    None => Place { number: self.take()?, name: name[..].into(), labels: Labels::of(domain, parts) },
                };
                own = slot.set(place).err();
            }
            match slot.get() {
                Some(place) if *place.name == name[..] => return Some(place.number),
                _ => {}
            }
        }
        None
    }

    fn first_slot(&self, name: &[u8]) -> usize {
        usize::try_from(self.hashes.hash_one(name) % SLOTS as u64).unwrap_or_default()
    }

    fn take(&self) -> Option<usize> {
        let more = |taken: usize| (taken < COMPAT_SERIES_MAX).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, more).ok()
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Every name that has a place, with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Labels)> {
        self.slots.iter().filter_map(OnceLock::get).map(|place| (place.number, &place.labels))
    }
}

impl Labels {
    pub(super) fn of(domain: &str, parts: &[Part<'_>]) -> Self {
        Self { domain: label(domain.as_bytes()), keys: parts.iter().map(|&part| of_part(part)).collect() }
    }

    /// Each with its name.
    pub(super) fn pairs(&self) -> SmallVec<[(&'static str, &str); 3]> {
        let keys = ["key1", "key2"].into_iter().zip(self.keys.iter().map(String::as_str));
        std::iter::once(("domain", self.domain.as_str())).chain(keys).collect()
    }
}

/// No two names are written alike: before each text stands its length, and whether there is one.
fn encoded(domain: &str, parts: &[Part<'_>]) -> Name {
    let mut name = Name::new();
    let mut write = |text: Option<&[u8]>| {
        name.push(u8::from(text.is_some()));
        let text = text.unwrap_or_default();
        name.extend_from_slice(&text.len().to_le_bytes());
        name.extend_from_slice(text);
    };
    write(Some(domain.as_bytes()));
    for &(text, value) in parts {
        write(Some(text));
        write(value);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_have_places_that_differ() {
        let series = Series::new();
        let names: [(&str, &[Part<'_>]); 7] = [
            ("d", &[(b"k", Some(b"v"))]),
            ("d", &[(b"k", Some(b""))]),
            ("d", &[(b"k", None)]),
            ("d", &[(b"k", None), (b"", None)]),
            ("dk", &[(b"", Some(b"v"))]),
            ("d", &[(b"k", Some(b"v")), (b"l", None)]),
            ("d", &[(b"kv", None)]),
        ];
        for _ in 0..2 {
            for (number, (domain, parts)) in names.iter().enumerate() {
                assert_eq!(series.place(domain, parts), Some(number), "{domain} {parts:?}");
            }
        }
        assert_eq!((series.taken(), series.iter().count()), (7, 7));
    }

    #[test]
    fn a_hundred_thousand_names_take_as_many_places_as_there_are() {
        let series = Series::new();
        let place = |number: u32| series.place("d", &[(b"k", Some(number.to_string().as_bytes()))]);
        let placed = (0..100_000).filter(|&number| place(number).is_some()).count();
        assert_eq!(
            (placed, series.taken(), series.iter().count()),
            (COMPAT_SERIES_MAX, COMPAT_SERIES_MAX, COMPAT_SERIES_MAX)
        );
        assert_eq!((place(0), place(99_999)), (Some(0), None), "who has a place keeps it");
    }

    #[test]
    fn who_comes_at_the_same_time_finds_the_same_place() {
        let (series, name): (_, &[Part<'_>]) = (Series::new(), &[(b"k", Some(b"v"))]);
        let mut others = None;
        let own = series.place_while("d", name, || others = series.place("d", name));
        assert!(own.is_some());
        assert_eq!((own, series.iter().count()), (others, 1));
    }

    #[test]
    fn who_loses_a_slot_to_another_name_takes_the_next() {
        let series = Series::new();
        let slot = |number: u32| series.first_slot(&encoded("d", &[(&number.to_le_bytes(), None)]));
        let rival = (1..=u32::MAX).find(|&number| slot(number) == slot(0)).unwrap();
        let (name, rival) = (0_u32.to_le_bytes(), rival.to_le_bytes());
        let place = |name: &[u8]| series.place("d", &[(name, None)]).unwrap();
        let mut others = None;
        let own = series.place_while("d", &[(&name, None)], || others = Some(place(&rival)));
        assert_ne!(own, others);
        assert_eq!((Some(place(&name)), Some(place(&rival)), series.iter().count()), (own, others, 2));
    }
}
