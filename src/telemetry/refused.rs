//! Who is refused most: the descriptors, by their values, for people who operate live customers.
//!
//! Values come from requests and may be secrets, so they are no labels of metrics, and stand in no log: only the admin API
//! shows them, to whoever may also reset and block these clients. Each core has a fixed number of places
//! ([`frequent`](super::frequent)), and room for the beginnings of names.
//!
//! A flood of refusals must stay cheap, so a core notes its first refusals one by one, and later ones at random, one for
//! many: of N refusals of a client it then counts N on average, and is off by more than 2.65 √N in one case of three.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _},
};

use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::frequent::{Merged, Seen, Sketch};
use crate::{
    bounds::{
        REFUSED_ENTRIES_MAX, REFUSED_NOTED_MAX, REFUSED_SAMPLED_FROM, REFUSED_SAMPLED_ONE_IN, REFUSED_TEXT_MAX_BYTES,
    },
    request::{Entry, Request},
};

/// The clients that were refused most, of all cores together.
pub struct Refused {
    hashes: DefaultHashBuilder,
    /// One a core. A lock for whoever reads: nobody else is ever in the way.
    cores: Box<[Mutex<Core>]>,
}

/// Without the values.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").finish_non_exhaustive()
    }
}

/// What one core refused.
#[derive(Debug)]
struct Core {
    sketch: Sketch<Client>,
    noted: u64,
    /// The state of a generator (xorshift, Marsaglia 2003): good enough that no pattern of calls keeps time with it.
    random: u64,
}

impl Default for Core {
    fn default() -> Self {
        // Any but 0.
        Self { sketch: Sketch::default(), noted: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Core {
    /// For how many refusals the next one stands; none where it is left to another.
    fn weight(&mut self) -> Option<u64> {
        if self.noted < REFUSED_SAMPLED_FROM {
            self.noted += 1;
            return Some(1);
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(REFUSED_SAMPLED_ONE_IN).then_some(REFUSED_SAMPLED_ONE_IN)
    }
}

/// A descriptor, or the beginnings of one. Its texts stand one after the other in memory that the next name uses again: a
/// flood of ever new clients allocates nothing.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    bytes: Vec<u8>,
    /// Where each text ends: the domain, then keys and values in turn.
    ends: Vec<usize>,
    /// Something was left out.
    pub cut: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    fn write(&mut self, domain: &[u8], entries: &[Entry<'_>]) {
        self.bytes.clear();
        self.ends.clear();
        self.cut = entries.len() > REFUSED_ENTRIES_MAX;
        self.push(domain);
        for entry in entries.iter().take(REFUSED_ENTRIES_MAX) {
            self.push(entry.key);
            self.push(entry.value);
        }
    }

    fn push(&mut self, text: &[u8]) {
        self.cut |= text.len() > REFUSED_TEXT_MAX_BYTES;
        self.bytes.extend_from_slice(beginning(text));
        self.ends.push(self.bytes.len());
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    pub fn domain(&self) -> &[u8] {
        self.texts().next().unwrap_or_default()
    }

    /// Keys and values.
    pub fn entries(&self) -> Vec<(&[u8], &[u8])> {
        let texts: SmallVec<[&[u8]; 8]> = self.texts().skip(1).collect();
        texts.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect()
    }
}

impl Refused {
    /// Places for what `cores` cores refuse.
    pub(super) fn new(cores: usize) -> Self {
        Self { hashes: DefaultHashBuilder::default(), cores: (0..cores.max(1)).map(|_| Mutex::default()).collect() }
    }

    /// Notes the descriptors of a request for which it was refused, of which `which` says so; the first few of them. While
    /// somebody reads the list nothing is noted, and nobody waits: the metrics count everything all the same.
    pub fn note(&self, core: usize, request: &Request<'_>, which: impl Fn(usize) -> bool) {
        let Some(mut core) = self.cores[core % self.cores.len()].try_lock() else { return };
        let Some(weight) = core.weight() else { return };
        let refused = request.descriptors.iter().enumerate().filter(|(index, _)| which(*index));
        for (_, descriptor) in refused.take(REFUSED_NOTED_MAX) {
            let entries = request.entries_of(descriptor);
            let hash = self.hash(request.domain, entries);
            core.sketch.add(hash, weight, |client| client.write(request.domain, entries));
        }
    }

    /// Of what is kept of a name, and of how long it is: so a value of megabytes takes no longer than others.
    fn hash(&self, domain: &[u8], entries: &[Entry<'_>]) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        let mut add = |text: &[u8]| {
            hasher.write_usize(text.len());
            hasher.write(beginning(text));
        };
        add(domain);
        for entry in entries.iter().take(REFUSED_ENTRIES_MAX) {
            add(entry.key);
            add(entry.value);
        }
        hasher.write_usize(entries.len());
        hasher.finish()
    }

    /// Who was refused most since the start.
    pub fn most(&self) -> Vec<Seen<Client>> {
        let mut merged = Merged::default();
        for core in &self.cores {
            merged.add(&core.lock().sketch);
        }
        merged.finish()
    }
}

/// What is kept of a text.
fn beginning(text: &[u8]) -> &[u8] {
    &text[..text.len().min(REFUSED_TEXT_MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounds::FREQUENT_PLACES, request::Descriptor};

    /// A request of one descriptor for each value.
    fn request<'a>(values: &[&'a str]) -> Request<'a> {
        let entries = values.iter().map(|value| Entry { key: b"api_key", value: value.as_bytes() }).collect();
        let descriptor = |first| Descriptor { first_entry: first, entry_count: 1, ..Descriptor::default() };
        let descriptors = (0..u32::try_from(values.len()).unwrap()).map(descriptor).collect();
        Request { domain: b"shop", descriptors, entries, hits: 0 }
    }

    fn said(refused: &Refused) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = |seen: &Seen<Client>| {
            let entries: Vec<String> =
                seen.name.entries().iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect();
            format!("{} {} {}±{}", text(seen.name.domain()), entries.join(","), seen.count, seen.error)
        };
        refused.most().iter().map(said).collect()
    }

    #[test]
    fn clients_of_all_cores_are_added_up_and_who_is_refused_most_stands_first() {
        let refused = Refused::new(2);
        for (core, client) in [(0, "acme"), (1, "beta"), (1, "acme"), (2, "acme")] {
            refused.note(core, &request(&[client]), |_| true);
        }
        refused.note(0, &request(&["accepted", "beta"]), |index| index == 1);
        assert_eq!(said(&refused), ["shop api_key=acme 3±0", "shop api_key=beta 2±0"]);
        assert!(!format!("{refused:?} {:?}", refused.most()).contains("acme"));
    }

    #[test]
    fn long_values_are_cut_and_told_apart_by_their_length() {
        let refused = Refused::new(1);
        let (long, longer) = ("x".repeat(REFUSED_TEXT_MAX_BYTES + 1), "x".repeat(1_000_000));
        for value in [&long, &longer, &longer] {
            refused.note(0, &request(&[value]), |_| true);
        }
        let most = refused.most();
        assert_eq!(most.iter().map(|seen| (seen.count, seen.name.cut)).collect::<Vec<_>>(), [(2, true), (1, true)]);
        assert_eq!(most[0].name.entries()[0].1.len(), REFUSED_TEXT_MAX_BYTES);
    }

    #[test]
    fn a_request_of_a_hundred_thousand_and_a_descriptor_of_as_many_entries_are_noted_in_part() {
        let refused = Refused::new(1);
        let mut request = request(&["v"; 1_000]);
        request.descriptors = std::iter::repeat_n(request.descriptors[0], 100_000).collect();
        request.descriptors[0].entry_count = 1_000;
        refused.note(0, &request, |_| true);
        let most = refused.most();
        assert_eq!(most.iter().map(|seen| seen.count).sum::<u64>(), REFUSED_NOTED_MAX as u64);
        let cut = most.iter().find(|seen| seen.name.cut).unwrap();
        assert_eq!(cut.name.entries().len(), REFUSED_ENTRIES_MAX);
    }

    #[test]
    fn who_reads_makes_nobody_wait() {
        let refused = Refused::new(1);
        let reading = refused.cores[0].lock();
        refused.note(0, &request(&["acme"]), |_| true);
        drop(reading);
        assert!(refused.most().is_empty());
    }

    #[test]
    fn in_a_flood_who_is_refused_most_is_there_and_its_count_is_nearly_right() {
        let refused = Refused::new(1);
        let flood: Vec<String> = (0..100_000).map(|client| format!("c{client}")).collect();
        for client in &flood {
            refused.note(0, &request(&[client]), |_| true);
            refused.note(0, &request(&["acme"]), |_| true);
        }
        let most = refused.most();
        assert_eq!((most.len(), most[0].name.entries()[0].1), (FREQUENT_PLACES, &b"acme"[..]));
        // Four times what is said to be passed in one case of three.
        let off = 4.0 * 2.65 * 100_000_f64.sqrt();
        assert!((most[0].count as f64 - 100_000.0).abs() < off + most[0].error as f64, "{}", most[0].count);
    }
}
