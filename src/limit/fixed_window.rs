//! Fixed windows: hits are counted from one edge of a window to the next, then the count starts at zero.
//!
//! The most it admits in any interval of the window's length is **twice the limit**: all of one window just before
//! its edge and all of the next just after.

use super::{Counter, Limit};
use crate::units::Timestamp;

/// A window that ends further off than this many of its longest lengths is one the clock has jumped away from.
/// One length would be enough while the clock only runs forward; the second keeps the count where it is set back by
/// less than a window, so that no window starts twice.
const FORESEEABLE_LENGTHS: u64 = 2;

pub(super) fn at(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    if is_running(limit, counter, now) {
        return counter;
    }
    Counter { used: 0, rest: 0, time: limit.window.end_after(now) }
}

/// Whether the window that ends at the counter's time has not ended, and is not one the clock has jumped away from.
pub(super) fn is_running(limit: &Limit, counter: Counter, now: Timestamp) -> bool {
    let foreseeable = limit.window.longest().0.saturating_mul(FORESEEABLE_LENGTHS);
    now < counter.time && counter.time.since(now).0 <= foreseeable
}

pub(super) fn has_room(limit: &Limit, counter: Counter, hits: u64) -> bool {
    hits <= limit.count.saturating_sub(counter.used)
}

pub(super) fn take(counter: Counter, hits: u64) -> Counter {
    Counter { used: counter.used.saturating_add(hits), ..counter }
}

pub(super) fn give_back(counter: Counter, hits: u64) -> Counter {
    Counter { used: counter.used.saturating_sub(hits), ..counter }
}

pub(super) fn forgotten_at(counter: Counter) -> Timestamp {
    counter.time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit::{Algorithm, Window},
        units::Nanos,
    };

    fn limit(count: u64, millis: u64) -> Limit {
        Limit { count, window: Window::Length(Nanos::from_millis(millis)), algorithm: Algorithm::FixedWindow }
    }

    #[test]
    fn a_window_ends_at_its_edge_and_not_a_nanosecond_earlier() {
        let limit = limit(5, 1_000);
        let counter = take(at(&limit, Counter::default(), Timestamp::from_secs(10)), 5);
        for (now, used) in [(10_000_000_000, 5), (10_999_999_999, 5), (11_000_000_000, 0)] {
            assert_eq!(at(&limit, counter, Timestamp(now)).used, used, "at {now}");
        }
    }

    #[test]
    fn a_clock_set_back_by_less_than_a_window_starts_none_again() {
        let limit = limit(5, 1_000);
        let counter = take(at(&limit, Counter::default(), Timestamp::from_secs(10)), 5);
        assert_eq!(at(&limit, counter, Timestamp(9_100_000_000)).used, 5, "set back by a second");
        let years_back = at(&limit, counter, Timestamp::from_secs(1));
        assert_eq!(years_back, Counter { used: 0, rest: 0, time: Timestamp::from_secs(2) }, "nobody waits for years");
    }
}
