//! What comes most often among ever new names, in a fixed number of places.
//!
//! Where all places are taken, the name that was seen least gives its own up, and the new one begins with its count
//! (space-saving, Metwally and others 2005): so a count is too high by no more than it says, and whoever has more than
//! one part in as many as there are places has a place.

use hashbrown::HashMap;

use crate::bounds::FREQUENT_PLACES;

/// The names that were seen most, and how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch<Name> {
    /// Apart from the rest, for they are all that is read to find a name.
    hashes: Vec<u64>,
    /// Likewise to find the one that was seen least.
    counts: Vec<u64>,
    places: Vec<Place<Name>>,
}

#[derive(Clone, Debug, Default)]
struct Place<Name> {
    name: Name,
    error: u64,
}

/// A name, and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<Name> {
    pub name: Name,
    /// Since the start; off by `error` at most.
    pub count: u64,
    pub error: u64,
}

impl<Name: Default> Sketch<Name> {
    /// Counts a name, of which only the hash is known where it has a place; where it gets one, `write` puts it over the one
    /// that goes, whose memory it may use.
    pub(super) fn add(&mut self, hash: u64, times: u64, write: impl FnOnce(&mut Name)) {
        if let Some(at) = self.hashes.iter().position(|&other| other == hash) {
            self.counts[at] += times;
            return;
        }
        if self.places.len() < FREQUENT_PLACES {
            self.hashes.push(hash);
            self.counts.push(times);
            self.places.push(Place::default());
            write(&mut self.places.last_mut().expect("it was just put there").name);
            return;
        }
        let Some((at, &least)) = self.counts.iter().enumerate().min_by_key(|(_, count)| **count) else { return };
        self.hashes[at] = hash;
        self.counts[at] = least + times;
        // It may have been seen as often as the one that goes, and have lost its place before.
        self.places[at].error = least;
        write(&mut self.places[at].name);
    }
}

impl<Name> Sketch<Name> {
    /// How often a name may have been seen that has no place.
    fn unseen(&self) -> u64 {
        if self.places.len() < FREQUENT_PLACES { 0 } else { self.counts.iter().min().copied().unwrap_or(0) }
    }
}

/// Several cores' sketches, added up.
#[derive(Debug)]
pub(super) struct Merged<Name> {
    names: HashMap<u64, Seen<Name>>,
    /// How often a name may have been seen by all cores so far where it has no place.
    unseen: u64,
}

impl<Name> Default for Merged<Name> {
    fn default() -> Self {
        Self { names: HashMap::default(), unseen: 0 }
    }
}

impl<Name: Clone + Ord> Merged<Name> {
    pub(super) fn add(&mut self, sketch: &Sketch<Name>) {
        let unseen = sketch.unseen();
        for (hash, merged) in &mut self.names {
            if !sketch.hashes.contains(hash) {
                merged.error += unseen;
            }
        }
        for ((&hash, &count), Place { name, error }) in sketch.hashes.iter().zip(&sketch.counts).zip(&sketch.places) {
            let fresh = || Seen { name: name.clone(), count: 0, error: self.unseen };
            let merged = self.names.entry(hash).or_insert_with(fresh);
            merged.count += count;
            merged.error += error;
        }
        self.unseen += unseen;
    }

    /// The most frequent first; of equally frequent ones by name.
    pub(super) fn finish(self) -> Vec<Seen<Name>> {
        let mut seen: Vec<Seen<Name>> = self.names.into_values().collect();
        seen.sort_unstable_by(|a, b| (b.count, &a.name).cmp(&(a.count, &b.name)));
        seen.truncate(FREQUENT_PLACES);
        seen
    }
}
