//! Sliding windows, estimated from two counts: this window's hits in full, and of the last window's the share that an
//! interval ending now would still reach back to, as if they had come evenly.
//!
//! `estimate = used + rest × (end − now) / length`, compared exactly (by multiplying out, never by dividing).
//!
//! **How wrong the estimate can be**: of the last window's hits between none and all really lie in the interval, so it
//! is at most `rest × (end − now) / length` too high, and at most `rest × (now − start) / length` too low; right where
//! they came evenly.
//!
//! The most it admits in any interval of the window's length is **2 × limit − ⌈2 × limit / length in ns⌉**, which is
//! twice the limit less one at any rate a machine can see: all of it in the last nanosecond of a window, then, spread
//! over the next, what the estimate lets go of. Proof: an interval touches two windows. Let the first admit P ≤ limit
//! in all. The interval begins at the latest in the first window's last nanosecond, so it ends at the latest two before
//! the second one's end, where the estimate still holds 2 P / length of the first: the second adds at most
//! limit − 2 P / length. The sum is largest for P = limit. Unlike with fixed windows, the second half cannot come at
//! once.

use super::{Counter, Limit, fixed_window};
use crate::units::Timestamp;

/// A clock set back by less than a window starts none again: all of the last window's hits then count in full. One
/// set back further starts afresh, which is at most one window of quota more.
pub(super) fn at(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    if fixed_window::is_running(limit, counter, now) {
        return counter;
    }
    let (start, time) = limit.window.around(now);
    let rest = if counter.time == start { counter.used } else { 0 };
    Counter { used: 0, rest, time }
}

pub(super) fn has_room(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> bool {
    let left = limit.count.checked_sub(counter.used).and_then(|left| left.checked_sub(hits));
    let (reach, length) = reach(limit, counter, now);
    hits == 0 || left.is_some_and(|left| u128::from(left) * length >= u128::from(counter.rest) * reach)
}

pub(super) fn take(counter: Counter, hits: u64) -> Counter {
    Counter { used: counter.used.saturating_add(hits), ..counter }
}

/// From this window's hits, then from the last one's. Neither falls below zero, so each window's count stays at least
/// what was admitted and not given back in it, and the bound holds for what is left after refunds.
pub(super) fn give_back(counter: Counter, hits: u64) -> Counter {
    let older = hits.saturating_sub(counter.used);
    Counter { used: counter.used.saturating_sub(hits), rest: counter.rest.saturating_sub(older), ..counter }
}

/// When the estimate is zero.
pub(super) fn forgotten_at(limit: &Limit, counter: Counter) -> Timestamp {
    match (counter.used, counter.rest) {
        (0, 0) => Timestamp::EPOCH,
        (0, _) => counter.time,
        _ => limit.window.end_after(counter.time),
    }
}

/// The estimate in whole hits, rounded up.
pub(super) fn estimate(limit: &Limit, counter: Counter, now: Timestamp) -> u64 {
    let (reach, length) = reach(limit, counter, now);
    let older = (u128::from(counter.rest) * reach).div_ceil(length);
    // At most `rest`: the reach is at most the length.
    counter.used.saturating_add(u64::try_from(older).unwrap_or(counter.rest))
}

/// The first instant with room for `hits`, which has none now and fits into the limit.
pub(super) fn room_at(limit: &Limit, counter: Counter, hits: u64) -> Timestamp {
    let most = limit.count.saturating_sub(hits);
    // So many hits of a window weigh at most `allowed` from here on to its successor's end, and not a tick earlier.
    let thinned = |hits: u64, allowed: u64, end: Timestamp, length: u128| {
        let reach = u128::from(allowed) * length / u128::from(hits.max(1));
        Timestamp(end.0.saturating_sub(u64::try_from(reach).unwrap_or(u64::MAX)))
    };
    if let Some(allowed) = most.checked_sub(counter.used) {
        return thinned(counter.rest, allowed, counter.time, length_before(limit, counter.time));
    }
    // Not in this window: its own hits must thin out in the next.
    let end = limit.window.end_after(counter.time);
    thinned(counter.used, most, end, length_before(limit, end))
}

/// How far into the last window an interval that ends now reaches back, of which length.
fn reach(limit: &Limit, counter: Counter, now: Timestamp) -> (u128, u128) {
    let length = length_before(limit, counter.time);
    (u128::from(counter.time.since(now).0).min(length), length)
}

/// The length of the window that ends at `end`.
fn length_before(limit: &Limit, end: Timestamp) -> u128 {
    u128::from(limit.window.length_at(Timestamp(end.0.saturating_sub(1))).0.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit::{Algorithm, Wait, Window},
        units::Nanos,
    };

    /// 100 a second, of which this window has used 40 and the last 60.
    fn forty_after_sixty() -> (Limit, Counter) {
        let window = Window::Length(Nanos::SECOND);
        let limit = Limit { count: 100, window, algorithm: Algorithm::SlidingWindow };
        (limit, Counter { used: 40, rest: 60, time: Timestamp::from_secs(11) })
    }

    #[test]
    fn the_last_windows_hits_thin_out_over_this_one() {
        let (limit, counter) = forty_after_sixty();
        for (millis, used, reset_millis) in [(10_000, 100, 2_000), (10_250, 85, 1_750), (10_990, 41, 1_010)] {
            let standing = limit.standing(counter, Timestamp::from_millis(millis));
            assert_eq!((standing.used, standing.available), (used, 100 - used), "at {millis} ms");
            assert_eq!(standing.reset, Nanos::from_millis(reset_millis), "at {millis} ms");
        }
        let next = limit.at(counter, Timestamp::from_secs(11));
        assert_eq!(next, Counter { used: 0, rest: 40, time: Timestamp::from_secs(12) });
        assert_eq!(limit.at(counter, Timestamp::from_secs(12)).rest, 0, "two windows on, nothing is left");
    }

    #[test]
    fn the_wait_may_end_in_this_window_or_in_the_next() {
        let (limit, counter) = forty_after_sixty();
        let now = Timestamp::from_secs(10);
        for (hits, millis) in [(30, 500), (60, 1_000), (80, 1_500), (100, 2_000)] {
            assert_eq!(limit.wait(counter, now, hits), Wait::For(Nanos::from_millis(millis)), "{hits} hits");
        }
        assert_eq!(limit.wait(counter, now, 101), Wait::Never);
    }

    #[test]
    fn what_is_given_back_is_taken_from_this_window_then_from_the_last() {
        let (limit, counter) = forty_after_sixty();
        for (hits, used, rest) in [(0, 40, 60), (30, 10, 60), (50, 0, 50), (u64::MAX, 0, 0)] {
            let left = limit.give_back(counter, Timestamp::from_secs(10), hits);
            assert_eq!((left.used, left.rest), (used, rest), "{hits} back");
        }
    }

    #[test]
    fn a_clock_set_back_by_less_than_a_window_starts_none_again() {
        let (limit, counter) = forty_after_sixty();
        let back = Timestamp::from_millis(9_200);
        assert_eq!(limit.at(counter, back), counter);
        assert_eq!(limit.standing(counter, back).used, 100, "the last window's hits count in full, not more");
        assert_eq!(limit.at(counter, Timestamp::from_secs(1)).used, 0, "nobody waits for years");
    }
}
