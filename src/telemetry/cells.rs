//! Numbers that every core adds to and somebody sums up now and then: each core has its own.
//!
//! An addition to a number that another core has just added to takes 43 ns, and a few with a number of one's own; a
//! decision adds to one for each of its windows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers of all cores together (16 MiB). Rule sets so large that this is not enough share theirs among cores: their
/// decisions meet on one number the less, the more there are.
const CELLS_MAX: usize = 2 << 20;

/// Numbers of a [`Line`].
const PER_LINE: usize = 16;

/// Numbers that no other core adds to: processors fetch lines of 64 bytes in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([AtomicU64; PER_LINE]);

/// Numbers from 0 to some last one, for each core.
#[derive(Debug)]
pub(super) struct Cells {
    /// Of each core, or of some that share.
    cores: Box<[Box<[Line]>]>,
}

impl Cells {
    /// `count` numbers for each of `cores`, all zero.
    pub(super) fn new(cores: usize, count: usize) -> Self {
        let lines = count.div_ceil(PER_LINE);
        let copies = cores.min(CELLS_MAX / count.max(1)).max(1);
        Self { cores: (0..copies).map(|_| (0..lines).map(|_| Line::default()).collect()).collect() }
    }

    /// Whether there are no numbers at all.
    pub(super) fn is_empty(&self) -> bool {
        self.cores.iter().all(|lines| lines.is_empty())
    }

    /// Adds one to a number, on `core`.
    #[inline]
    pub(super) fn add_one(&self, core: usize, number: usize) {
        self.add(core, number, 1);
    }

    /// Adds so much to a number, on `core`.
    #[inline]
    pub(super) fn add(&self, core: usize, number: usize, count: u64) {
        let lines = &self.cores[core % self.cores.len()];
        // Alone: nobody concludes anything about other memory from a count.
        lines[number / PER_LINE].0[number % PER_LINE].fetch_add(count, Relaxed);
    }

    /// What came to a number on all cores since it was last taken; none if nothing.
    pub(super) fn take(&self, number: usize) -> Option<u64> {
        let mut sum = 0_u64;
        for lines in &self.cores {
            let cell = &lines[number / PER_LINE].0[number % PER_LINE];
            // Most are zero, and a look leaves their memory to whoever counts.
            if cell.load(Relaxed) > 0 {
                // Costs are any numbers, and a counter of Prometheus starts again from zero, too.
                sum = cell.swap(0, Relaxed).wrapping_add(sum);
            }
        }
        (sum > 0).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_cores_added_is_taken_once() {
        let cells = Cells::new(3, 40);
        for (core, number) in [(0, 0), (1, 0), (2, 0), (2, 39), (7, 39)] {
            cells.add_one(core, number);
        }
        assert_eq!([0, 1, 39].map(|number| cells.take(number)), [Some(3), None, Some(2)]);
        assert_eq!(cells.take(0), None);
    }

    #[test]
    fn their_memory_is_bounded_however_many_cores_there_are() {
        assert_eq!(Cells::new(64, 1_000).cores.len(), 64);
        assert_eq!(Cells::new(64, 900_000).cores.len(), 2);
        assert_eq!(Cells::new(64, 3 << 20).cores.len(), 1);
        assert_eq!(Cells::new(2, 0).cores.len(), 2);
    }
}
