//! How much of a connection is read in one turn. Pure.
//!
//! What a byte costs is up to who sends it: a byte of compressed headers can stand for a whole one, thirty bytes for a call
//! and its reset. So it is the time of a turn that is bounded, and what is read in it is fitted to what came before.

use crate::{
    bounds::{READ_PER_TURN_MAX_BYTES, READ_PER_TURN_MIN_BYTES, TURN_MAX},
    units::Nanos,
};

/// What is read in the next turn, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion(u64);

impl Default for Portion {
    fn default() -> Self {
        Self(READ_PER_TURN_MAX_BYTES)
    }
}

impl Portion {
    pub(super) fn bytes(self) -> u64 {
        self.0
    }

    /// After a turn in which so many bytes were read, and which took so long.
    ///
    /// It shrinks at once to what would have been in time, and grows by doubling where all of it was read in time: whoever
    /// says something dear now and then cannot have a long turn each time.
    pub(super) fn fit(&mut self, read: u64, took: Nanos) {
        if read > 0 && took > TURN_MAX {
            let in_time = u128::from(read) * u128::from(TURN_MAX.0) / u128::from(took.0);
            let in_time = u64::try_from(in_time).unwrap_or(u64::MAX);
            self.0 = in_time.clamp(READ_PER_TURN_MIN_BYTES, READ_PER_TURN_MAX_BYTES);
        } else if read >= self.0 {
            self.0 = self.0.saturating_mul(2).min(READ_PER_TURN_MAX_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u64 = READ_PER_TURN_MIN_BYTES;
    const MAX: u64 = READ_PER_TURN_MAX_BYTES;

    #[test]
    fn a_portion_is_fitted_to_what_the_last_one_took() {
        let long = |times: u64| Nanos(TURN_MAX.0 * times);
        for (before, read, took, after, why) in [
            (MAX, MAX, TURN_MAX, MAX, "just in time"),
            (MAX, MAX, long(2), MAX / 2, "twice as long: half as much"),
            (MAX, MAX, long(4), MAX / 4, "and so on"),
            (MAX, 2 * MIN, long(2), MIN, "by what was read, not by what might have been"),
            (MAX, MAX, long(1_000_000), MIN, "a call or two at least"),
            (MAX, 1, long(1), MAX, "little and in time"),
            (MIN, MIN, Nanos(1), 2 * MIN, "all of it, in time: more"),
            (MIN, MIN - 1, Nanos(1), MIN, "there was no more: nobody knows what more would take"),
            (MAX, 0, long(9), MAX, "nothing was read: something else took so long"),
            (MAX, u64::MAX, Nanos(u64::MAX), MAX, "absurd figures do not overflow"),
        ] {
            let mut portion = Portion(before);
            portion.fit(read, took);
            assert_eq!(portion, Portion(after), "{why}");
        }
    }

    /// Of cheap and dear bytes in any order: what was spared when they were cheap is not spent at once on dear ones.
    #[test]
    fn what_costs_the_same_settles_at_what_is_in_time() {
        for cost in [10, 100, 900] {
            let mut portion = Portion::default();
            let mut took = Vec::new();
            for _ in 0..20 {
                let read = portion.bytes();
                let turn = Nanos(read * cost);
                took.push(turn);
                portion.fit(read, turn);
            }
            let late = took.iter().skip(1).filter(|turn| turn.0 > 2 * TURN_MAX.0).count();
            assert_eq!(late, 0, "at {cost} ns a byte: {took:?}");
        }
    }
}
