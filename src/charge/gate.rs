//! Gates: the names under which a descriptor may be blocked, looked at and closed together with the charges.
//!
//! A block is a counter like any other, so that every store keeps it and knows when it may be forgotten. It says all
//! about itself; the rule that started it may change or go:
//!
//! | part | holds |
//! |---|---|
//! | `used` | its length in seconds, rounded up; 0: there is no block |
//! | `time` | its end, in whole milliseconds |

use super::CounterKey;
use crate::{
    limit::Counter,
    units::{Nanos, Timestamp},
};

/// A block may end further off than its length where the clock was set back; beyond this many lengths the clock has
/// jumped, and nobody stays locked out for years. The same bound as for windows.
const FORESEEABLE_LENGTHS: u64 = 2;

/// A name under which one descriptor may be blocked.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    pub key: CounterKey,
    pub descriptor: u32,
    /// How long the block is that starts where the descriptor's charges find no room; None: they start none here.
    pub starts: Option<Nanos>,
    /// Closed until then by order, whatever the store knows; [`Timestamp::EPOCH`]: there is no order.
    pub ordered_until: Timestamp,
}

/// How a gate stands after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateVerdict {
    #[default]
    Open,
    /// Closed when the request came, and for so long from now: its descriptor is refused.
    Blocked(Nanos),
    /// Closed by this request's refusal, for so long from now.
    Started(Nanos),
}

impl GateVerdict {
    /// How long the gate is closed from now on.
    pub fn rest(self) -> Nanos {
        match self {
            Self::Open => Nanos::ZERO,
            Self::Blocked(rest) | Self::Started(rest) => rest,
        }
    }
}

/// `block` as it is at `now`: the same, or none where it is over.
pub(super) fn at(block: Counter, now: Timestamp) -> Counter {
    let foreseeable = Nanos::from_secs(block.used.saturating_mul(FORESEEABLE_LENGTHS));
    let rest = block.time.since(now);
    if rest > Nanos::ZERO && rest <= foreseeable { block } else { Counter::default() }
}

/// Whether a stored block stands at `now`.
pub fn is_closed(block: Counter, now: Timestamp) -> bool {
    rest(at(block, now), now) > Nanos::ZERO
}

/// How long a block that is [`at`] `now` lasts; zero where there is none.
pub(super) fn rest(block: Counter, now: Timestamp) -> Nanos {
    block.time.since(now)
}

/// A block of `length` from `now` on.
pub(super) fn start(now: Timestamp, length: Nanos) -> Counter {
    // Stores keep milliseconds. Rounded down, or a block of 15 minutes would tell the client 901 seconds.
    let end_ms = now.plus(length).0 / Nanos::from_millis(1).0;
    Counter { used: length.ceil_secs(), rest: 0, time: Timestamp::from_millis(end_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Nanos = Nanos::from_secs(90);

    #[test]
    fn a_block_lasts_to_its_end_and_not_a_nanosecond_longer() {
        let block = start(Timestamp::from_secs(10), LENGTH);
        for (now, secs) in [(10_000_000_000, 90), (99_999_999_999, 1), (100_000_000_000, 0), (u64::MAX, 0)] {
            let now = Timestamp(now);
            assert_eq!(rest(at(block, now), now).ceil_secs(), secs, "at {now:?}");
        }
        assert_eq!(at(Counter::default(), Timestamp(1)), Counter::default());
    }

    #[test]
    fn a_block_started_between_two_milliseconds_tells_its_length_and_not_a_second_more() {
        let now = Timestamp(1_000_000_001);
        let block = start(now, LENGTH);
        assert_eq!(block.time, Timestamp::from_secs(91));
        assert_eq!(rest(block, now).ceil_secs(), 90);
    }

    #[test]
    fn a_clock_set_back_by_less_than_its_length_keeps_a_block_and_one_that_jumped_years_does_not() {
        let block = start(Timestamp::from_secs(1_000_000), LENGTH);
        assert_eq!(at(block, Timestamp::from_secs(999_911)), block);
        assert_eq!(at(block, Timestamp::from_secs(900_000)), Counter::default());
    }
}
