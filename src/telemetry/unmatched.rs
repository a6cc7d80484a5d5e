//! What no rule is about: domains that nobody knows, and descriptors that match nothing. The most frequent of them, by
//! name, for people who wonder why nothing is limited.
//!
//! Names come from requests, so they are no labels of metrics: each core has a fixed number of places
//! ([`frequent`](super::frequent)). Kept are domains and keys, bounded and without what a terminal would obey; values are
//! never looked at.

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::frequent::{Merged, Seen, Sketch};
use crate::{
    bounds::{UNMATCHED_KEYS_MAX, UNMATCHED_NAME_CHARS, UNMATCHED_NOTED_MAX},
    request::Request,
};

/// The most frequent names, of all cores together.
#[derive(Debug)]
pub struct Unmatched {
    hashes: DefaultHashBuilder,
    /// One a core. A lock for whoever reads: nobody else is ever in the way.
    cores: Box<[Mutex<Sketches>]>,
}

/// What one core saw. Two, so that one kind of mistake does not crowd out the other.
#[derive(Debug, Default)]
struct Sketches {
    domains: Sketch<Name>,
    descriptors: Sketch<Name>,
}

/// What was seen often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Domains that no rule file names, the most frequent first.
    pub domains: Vec<Seen<Name>>,
    /// Descriptors of known domains that no rule matches.
    pub descriptors: Vec<Seen<Name>>,
}

/// What a request calls something that no rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub domain: String,
    /// The keys of the descriptor in their order; none where the domain itself is unknown.
    pub keys: Vec<String>,
}

impl Unmatched {
    /// Places for what `cores` cores see.
    pub(super) fn new(cores: usize) -> Self {
        Self { hashes: DefaultHashBuilder::default(), cores: (0..cores.max(1)).map(|_| Mutex::default()).collect() }
    }

    /// Notes a request whose domain nobody knows.
    #[cold]
    pub fn note_domain(&self, core: usize, request: &Request<'_>) {
        self.on(core, |sketches| {
            let (hash, descriptors) = (self.hashes.hash_one(request.domain), request.descriptors.len() as u64);
            let name = || Name { domain: shown(request.domain), keys: Vec::new() };
            sketches.domains.add(hash, descriptors, |place| *place = name());
        });
    }

    /// Notes the descriptors of a request that match nothing, of which `which` says so; the first few of them.
    #[cold]
    pub fn note_descriptors(&self, core: usize, request: &Request<'_>, which: impl Fn(usize) -> bool) {
        self.on(core, |sketches| {
            let unmatched = request.descriptors.iter().enumerate().filter(|(index, _)| which(*index));
            for (_, descriptor) in unmatched.take(UNMATCHED_NOTED_MAX) {
                let keys = || request.entries_of(descriptor).iter().map(|entry| entry.key);
                let hash =
                    self.hashes.hash_one((request.domain, keys().collect::<SmallVec<[&[u8]; UNMATCHED_KEYS_MAX]>>()));
                let name = || Name {
                    domain: shown(request.domain),
                    keys: keys().take(UNMATCHED_KEYS_MAX).map(shown).collect(),
                };
                sketches.descriptors.add(hash, 1, |place| *place = name());
            }
        });
    }

    /// While somebody reads the list nothing is noted, and nobody waits: the metrics count everything all the same.
    fn on(&self, core: usize, note: impl FnOnce(&mut Sketches)) {
        if let Some(mut sketches) = self.cores[core % self.cores.len()].try_lock() {
            note(&mut sketches);
        }
    }

    /// What was seen most often since the start.
    pub fn top(&self) -> Top {
        let mut top = (Merged::default(), Merged::default());
        for core in &self.cores {
            let sketches = core.lock();
            top.0.add(&sketches.domains);
            top.1.add(&sketches.descriptors);
        }
        Top { domains: top.0.finish(), descriptors: top.1.finish() }
    }
}

/// A name of a request as people may see it.
fn shown(name: &[u8]) -> String {
    // Characters have up to four bytes: what lies behind so many need not be read.
    let head = &name[..name.len().min(4 * (UNMATCHED_NAME_CHARS + 1))];
    let text = String::from_utf8_lossy(head);
    let mut shown = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index == UNMATCHED_NAME_CHARS {
            shown.push('…');
            break;
        }
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use hashbrown::HashMap;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bounds::FREQUENT_PLACES,
        request::{Descriptor, Entry},
    };

    fn request<'a>(domain: &'a str, keys: &[&'a str]) -> Request<'a> {
        let entries: SmallVec<_> = keys.iter().map(|key| Entry { key: key.as_bytes(), value: b"secret" }).collect();
        let descriptor = Descriptor { entry_count: u32::try_from(keys.len()).unwrap(), ..Descriptor::default() };
        Request { domain: domain.as_bytes(), descriptors: SmallVec::from_iter([descriptor]), entries, hits: 0 }
    }

    fn said(seen: &[Seen<Name>]) -> Vec<String> {
        seen.iter()
            .map(|seen| format!("{} {} {}±{}", seen.name.domain, seen.name.keys.join(">"), seen.count, seen.error))
            .collect()
    }

    #[test]
    fn names_of_all_cores_are_added_up_and_the_most_frequent_stands_first() {
        let unmatched = Unmatched::new(2);
        for (core, domain) in [(0, "shpo"), (1, "shpo"), (1, "other")] {
            unmatched.note_domain(core, &request(domain, &["k"]));
        }
        for (core, keys) in [(0, vec!["a"]), (1, vec!["a", "b"]), (2, vec!["a", "b"]), (0, vec!["ab"])] {
            unmatched.note_descriptors(core, &request("shop", &keys), |_| true);
        }
        unmatched.note_descriptors(0, &request("shop", &["matched"]), |_| false);
        let top = unmatched.top();
        assert_eq!(said(&top.domains), ["shpo  2±0", "other  1±0"]);
        assert_eq!(said(&top.descriptors), ["shop a>b 2±0", "shop a 1±0", "shop ab 1±0"]);
        assert!(!format!("{unmatched:?}").contains("secret"));
    }

    #[test]
    fn names_are_short_and_give_a_terminal_no_orders() {
        let unmatched = Unmatched::new(1);
        let long = "ü".repeat(1_000_000);
        let many = vec!["\u{1b}[2J\n"; 1_000];
        unmatched.note_descriptors(0, &request(&long, &many), |_| true);
        let seen = &unmatched.top().descriptors[0];
        assert_eq!(seen.name.domain, format!("{}…", "ü".repeat(UNMATCHED_NAME_CHARS)));
        assert_eq!(seen.name.keys, vec!["\\u{1b}[2J\\n"; UNMATCHED_KEYS_MAX]);
    }

    #[test]
    fn who_reads_makes_nobody_wait() {
        let unmatched = Unmatched::new(1);
        let reading = unmatched.cores[0].lock();
        unmatched.note_domain(0, &request("shpo", &["k"]));
        drop(reading);
        assert_eq!(unmatched.top(), Top::default());
    }

    #[test]
    fn a_request_of_a_hundred_thousand_is_noted_in_part() {
        let unmatched = Unmatched::new(1);
        let mut request = request("shop", &["k"]);
        request.descriptors = std::iter::repeat_n(request.descriptors[0], 100_000).collect();
        unmatched.note_descriptors(0, &request, |_| true);
        assert_eq!(unmatched.top().descriptors[0].count, UNMATCHED_NOTED_MAX as u64);
    }

    proptest! {
        #[test]
        fn every_count_is_off_by_no_more_than_it_says_and_who_is_frequent_is_there(
            names in prop::collection::vec((0_usize..3, 0_u32..400), 0..4_000),
            often in prop::collection::vec((0_usize..3, 0_u32..4), 0..2_000),
        ) {
            let unmatched = Unmatched::new(3);
            let mut exact: HashMap<String, u64> = HashMap::new();
            let all: Vec<_> = names.iter().zip(often.iter().cycle().take(names.len() * usize::from(!often.is_empty())))
                .flat_map(|(one, other)| [*one, *other]).collect();
            for (core, name) in &all {
                let name = format!("d{name}");
                unmatched.note_domain(*core, &request(&name, &["k"]));
                *exact.entry(name).or_default() += 1;
            }
            let top = unmatched.top().domains;
            prop_assert!(top.len() <= FREQUENT_PLACES);
            for seen in &top {
                let truth = exact[&seen.name.domain];
                prop_assert!(seen.count.abs_diff(truth) <= seen.error, "{seen:?} was seen {truth} times");
            }
            // Space-saving's promise, a core: whoever has more than its share of one place has one.
            let share = (all.len() / FREQUENT_PLACES) as u64;
            for (name, count) in exact.into_iter().filter(|(_, count)| *count > 3 * (share + 1)) {
                prop_assert!(top.iter().any(|seen| seen.name.domain == name), "{name} was seen {count} times");
            }
        }
    }
}
