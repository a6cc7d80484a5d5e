//! Token buckets: hits pour into a bucket that holds `burst` and drains at `count` a window's length. What people call
//! tokens is the room above the hits.
//!
//! **Exact**: levels are whole multiples of 1/length of a hit (length in ns), and a nanosecond drains `count` of them.
//! [`Counter::rest`] holds the fraction in units of 2⁻⁶⁴, rounded up; as no length reaches 2⁶⁴ ns, rounding down gets
//! the same multiple back. Nothing is lost, at any rate, in however many small charges. A store may keep `used` and
//! `rest` in 62 significant bits, rounded up: that loses nothing below 2⁶⁰ / length hits (19 million in a minute), above
//! it less than 2⁻⁶⁰ of the level, and never is more admitted.
//!
//! Looking changes nothing: a level is brought up to date only when something is charged.
//!
//! The most it admits in any interval of the window's length is **burst + count − ⌈count / length in ns⌉**, at any rate
//! a machine can see burst + count − 1: the full burst in the first nanosecond, then what drains until the last. Proof:
//! the level is never below zero before nor above the burst after, and `length − 1` nanoseconds drain
//! `count × (1 − 1/length)`. (Reached by bursts of two and more; one of a single hit also loses what drains in the
//! part of a nanosecond by which a hit comes late.)

use super::{Counter, Limit};
use crate::units::{Nanos, Timestamp};

/// A bucket that belongs to a time further ahead is one the clock was set back from. Requests reach it out of order,
/// by as long as a thread is held up between reading the clock and charging: that must not drain the bucket twice.
const OUT_OF_ORDER_MAX: Nanos = Nanos::SECOND;

/// A clock set back neither fills nor drains the bucket: by less than a second (or the window), it stands still until
/// the clock is there again; by more, it drains on from the new time.
pub(super) fn at(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    if level_at(limit, counter, now) == 0 {
        return Counter::default();
    }
    if counter.time.since(now) > limit.window.longest().max(OUT_OF_ORDER_MAX) {
        return Counter { time: now, ..counter };
    }
    counter
}

pub(super) fn has_room(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> bool {
    let left = limit.capacity().checked_sub(hits);
    hits == 0 || left.is_some_and(|left| level_at(limit, counter, now) <= u128::from(left) * length(limit))
}

pub(super) fn take(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> Counter {
    let drained = drained(limit, counter, now);
    Counter { used: drained.used.saturating_add(hits), ..drained }
}

pub(super) fn give_back(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> Counter {
    let drained = drained(limit, counter, now);
    match drained.used.checked_sub(hits) {
        Some(used) => Counter { used, ..drained },
        None => Counter::default(),
    }
}

/// When it is empty of hits, which is full of tokens. At once where the count is 0: then nothing depends on it.
pub(super) fn forgotten_at(limit: &Limit, counter: Counter) -> Timestamp {
    match limit.count {
        0 => Timestamp::EPOCH,
        _ => drained_to(limit, counter, 0),
    }
}

/// The first instant with room for `hits`, which has none now and fits into the burst.
pub(super) fn room_at(limit: &Limit, counter: Counter, hits: u64) -> Timestamp {
    drained_to(limit, counter, limit.capacity().saturating_sub(hits))
}

/// The hits in the bucket, rounded up.
pub(super) fn level(limit: &Limit, counter: Counter, now: Timestamp) -> u64 {
    u64::try_from(level_at(limit, counter, now).div_ceil(length(limit))).unwrap_or(u64::MAX)
}

/// The first instant at which at most `left` hits are in the bucket; saturates.
fn drained_to(limit: &Limit, counter: Counter, left: u64) -> Timestamp {
    let excess = level_at(limit, counter, counter.time).saturating_sub(u128::from(left) * length(limit));
    let nanos = excess.div_ceil(u128::from(limit.count.max(1)));
    counter.time.plus(Nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// `counter` with what has drained by `now` taken off.
fn drained(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    let (level, length) = (level_at(limit, counter, now), length(limit));
    // Both are below 2⁶⁴: a level only ever falls, and a remainder is below its divisor.
    let narrow = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    Counter {
        used: narrow(level / length),
        rest: narrow(((level % length) << 64).div_ceil(length)),
        time: counter.time.max(now),
    }
}

/// The hits in the bucket at `now`, in units of 1/length. No product overflows: all factors are below 2⁶⁴.
fn level_at(limit: &Limit, counter: Counter, now: Timestamp) -> u128 {
    let length = length(limit);
    let level = u128::from(counter.used) * length + ((u128::from(counter.rest) * length) >> 64);
    level.saturating_sub(u128::from(now.since(counter.time).0) * u128::from(limit.count))
}

/// In nanoseconds. Calendar windows, which rule files cannot give to a bucket, count as their longest.
fn length(limit: &Limit) -> u128 {
    u128::from(limit.window.longest().0.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bounds::{WINDOW_MAX, WINDOW_MIN},
        limit::{Algorithm, Standing, Wait, Window},
    };

    fn bucket(count: u64, burst: u64, length: Nanos) -> Limit {
        Limit { count, window: Window::Length(length), algorithm: Algorithm::TokenBucket { burst } }
    }

    #[test]
    fn a_burst_comes_at_once_and_then_hits_as_they_drain() {
        let limit = bucket(10, 3, Nanos::SECOND);
        let start = Timestamp::from_secs(50);
        let mut counter = limit.take(limit.at(Counter::default(), start), start, 3);
        for (millis, wait_millis, standing) in [
            (0, 100, Standing { used: 3, available: 0, reset: Nanos::from_millis(300) }),
            (40, 60, Standing { used: 3, available: 0, reset: Nanos::from_millis(260) }),
            (100, 0, Standing { used: 2, available: 1, reset: Nanos::from_millis(200) }),
            (250, 0, Standing { used: 1, available: 2, reset: Nanos::from_millis(50) }),
            (300, 0, Standing { used: 0, available: 3, reset: Nanos::ZERO }),
        ] {
            let now = start.plus(Nanos::from_millis(millis));
            let wait = if wait_millis == 0 { Wait::None } else { Wait::For(Nanos::from_millis(wait_millis)) };
            assert_eq!(limit.wait(counter, now, 1), wait, "at {millis} ms");
            assert_eq!(limit.standing(counter, now), standing, "at {millis} ms");
            assert_eq!(limit.wait(counter, now, 4), Wait::Never);
        }
        counter = limit.give_back(counter, start, 2);
        assert_eq!((counter.used, limit.give_back(counter, start, 2)), (1, Counter::default()));
    }

    #[test]
    fn a_clock_set_back_neither_fills_nor_drains() {
        let limit = bucket(10, 10, Nanos::SECOND);
        let noon = Timestamp::from_secs(1_000_000);
        let full = limit.take(Counter::default(), noon, 10);
        for back_millis in [1, 999, 1_001, 999_999_999] {
            let now = Timestamp(noon.0 - back_millis * 1_000_000);
            let counter = limit.at(full, now);
            assert_eq!(limit.standing(counter, now).used, 10, "set back by {back_millis} ms");
            let Wait::For(wait) = limit.wait(counter, now, 1) else { panic!("there is room") };
            assert!(wait <= Nanos::from_millis(1_100), "set back by {back_millis} ms, it waits {wait:?}");
        }
        // Out of order, not set back: what drained before must not drain again.
        let counter = limit.take(full, noon.plus(Nanos::from_millis(100)), 1);
        assert!(!limit.has_room(limit.take(counter, noon, 0), noon.plus(Nanos::from_millis(199)), 1));
    }

    #[test]
    fn a_count_of_zero_refuses_everything_and_remembers_nothing() {
        let limit = bucket(0, 5, Nanos::SECOND);
        let counter = limit.take(Counter::default(), Timestamp::from_secs(1), 3);
        assert_eq!(limit.wait(counter, Timestamp::from_secs(1), 1), Wait::Never);
        assert_eq!(limit.forgotten_at(counter), Timestamp::EPOCH);
    }

    #[test]
    fn a_hundred_thousand_small_charges_lose_nothing_at_any_rate_and_length() {
        let lengths = [WINDOW_MIN, Nanos(1_234_567), Nanos::SECOND, Nanos::from_secs(86_400), WINDOW_MAX];
        for length in lengths {
            // A count of 10⁹ a second at the most, and of one a window at the least.
            for count in [1, 3, 7, 1_000, 999_983, length.0 / 3, length.0] {
                let limit = bucket(count, count, length);
                let start = Timestamp::from_secs(1_800_000_000);
                let (mut now, mut counter) = (start, limit.take(Counter::default(), start, count));
                // The level in units of 1/length, kept by the book.
                let mut exact = u128::from(count) * u128::from(length.0);
                for step in 1..=100_000_u64 {
                    // Up to twice the time in which a hit drains, in no pattern; all steps together stay below a century.
                    let most = (length.0 / count * 2 + 2).min(10_000_000_000_000);
                    let nanos = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % most;
                    now = now.plus(Nanos(nanos));
                    exact = exact.saturating_sub(u128::from(nanos) * u128::from(count));
                    let fits = exact + u128::from(length.0) <= u128::from(count) * u128::from(length.0);
                    assert_eq!(limit.has_room(counter, now, 1), fits, "{count} in {length:?}, step {step}");
                    if fits {
                        counter = limit.take(counter, now, 1);
                        exact += u128::from(length.0);
                    }
                }
                assert_eq!(level_at(&limit, counter, now), exact, "{count} in {length:?}");
            }
        }
    }

    /// 62 significant bits of `used` and `rest`, rounded up.
    fn packed(counter: Counter) -> Counter {
        let whole = u128::from(counter.used) << 64 | u128::from(counter.rest);
        let dropped = (u128::BITS - whole.leading_zeros()).saturating_sub(62);
        let rounded = whole.div_ceil(1 << dropped) << dropped;
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).expect("64 bits");
        Counter { used: half(rounded >> 64), rest: half(rounded), ..counter }
    }

    proptest! {
        #[test]
        fn sixty_two_bits_keep_it_as_exactly_as_is_said(
            length in 1..=WINDOW_MAX.0, used in prop_oneof![0u64..1_000, 0u64..1 << 30, 0u64..1 << 62], part: u64,
        ) {
            let limit = bucket(1, u64::MAX, Nanos(length));
            let rest = u64::try_from((u128::from(part % length) << 64).div_ceil(u128::from(length))).expect("below 1");
            let counter = Counter { used, rest, time: Timestamp(5) };
            let [level, kept] = [counter, packed(counter)].map(|counter| level_at(&limit, counter, Timestamp(5)));
            prop_assert!(level <= kept && kept - level <= level >> 60, "{} became {}", level, kept);
            if u128::from(used) * u128::from(length) < 1 << 60 {
                prop_assert_eq!(level, kept);
            }
        }

        /// The fraction in 2⁻⁶⁴ gets every multiple of 1/length back.
        #[test]
        fn a_level_is_kept_exactly(
            length in 1..=WINDOW_MAX.0, count: u64, used in 0u64..=u64::MAX, part: u64, nanos: u64,
        ) {
            let limit = bucket(count, u64::MAX, Nanos(length));
            let rest = u64::try_from((u128::from(part % length) << 64).div_ceil(u128::from(length))).expect("below 1");
            let counter = Counter { used, rest, time: Timestamp(5) };
            let level = u128::from(used) * u128::from(length) + u128::from(part % length);
            prop_assert_eq!(level_at(&limit, counter, Timestamp(5)), level);
            let now = Timestamp(nanos.saturating_add(5));
            let left = level.saturating_sub(u128::from(now.0 - 5) * u128::from(count));
            prop_assert_eq!(level_at(&limit, drained(&limit, counter, now), now), left);
        }
    }
}
