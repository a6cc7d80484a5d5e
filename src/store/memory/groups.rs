//! How many counters each limit has in the whole store, so that none fills more than half of it.
//!
//! Counted where they come and go, never looked up: what a newcomer's page would tell is a sample, and a sample of a
//! hundred is wrong by a tenth. It costs one shared increment a new counter (43 ns where every core makes some), and
//! nothing for one that is known.

use super::sync::{AtomicU32, Relaxed};

/// Bits of a limit's number that are kept with its counters. Beyond 65,536 limits some are counted together. shuttle
/// wants few of its atomics.
const GROUP_BITS: u32 = if cfg!(all(test, feature = "shuttle")) { 4 } else { u16::BITS };

/// Counters by group.
#[derive(Debug)]
pub(super) struct Groups {
    counts: Box<[AtomicU32]>,
    /// What one group may have.
    most: u32,
}

impl Groups {
    /// The groups of a store that has place for `capacity` counters; one of any group, at least.
    pub(super) fn new(capacity: usize) -> Self {
        let counts = (0..1 << GROUP_BITS).map(|_| AtomicU32::new(0)).collect();
        Self { counts, most: u32::try_from(capacity / 2).unwrap_or(u32::MAX).max(1) }
    }

    /// Counts one more of `group`; false where it has half of the store.
    pub(super) fn claim(&self, group: u16) -> bool {
        let count = self.of(group);
        // Added first and looked at then: of two threads that want the last place one gets it, or, where a third
        // gives up at that moment, none.
        let claimed = count.fetch_add(1, Relaxed) < self.most;
        if !claimed {
            count.fetch_sub(1, Relaxed);
        }
        claimed
    }

    /// Counts `gone` less of `group`.
    pub(super) fn release(&self, group: u16, gone: u32) {
        self.of(group).fetch_sub(gone, Relaxed);
    }

    /// Counts one of `from` under `to`, which may have more than half thereby: it is known, and stays.
    pub(super) fn renumber(&self, from: u16, to: u16) {
        if from != to {
            self.release(from, 1);
            self.of(to).fetch_add(1, Relaxed);
        }
    }

    fn of(&self, group: u16) -> &AtomicU32 {
        &self.counts[usize::from(group) & (self.counts.len() - 1)]
    }

    /// How many there are of `group`.
    #[cfg(test)]
    pub(super) fn count(&self, group: u16) -> u32 {
        self.of(group).load(Relaxed)
    }
}

/// Counters of one group after the other that are gone, told together: those of a page are mostly of one.
#[derive(Debug)]
pub(super) struct Gone<'g> {
    groups: &'g Groups,
    group: u16,
    count: u32,
}

impl<'g> Gone<'g> {
    pub(super) fn of(groups: &'g Groups) -> Self {
        Self { groups, group: 0, count: 0 }
    }

    pub(super) fn note(&mut self, group: u16) {
        if group != self.group {
            self.tell();
            self.group = group;
        }
        self.count += 1;
    }

    /// Tells what was noted last.
    pub(super) fn tell(&mut self) {
        if self.count > 0 {
            self.groups.release(self.group, std::mem::take(&mut self.count));
        }
    }
}
