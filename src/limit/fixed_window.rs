//! Fixed windows: hits are counted from one edge of a window to the next, then the count starts at zero.
//!
//! The most it admits in any interval of the window's length is **twice the limit**: all of one window just before
//! its edge and all of the next just after.

use super::{Counter, Limit, Standing, Wait};
use crate::units::Timestamp;

/// A window that ends further off than this many of its longest lengths is one the clock has jumped away from.
/// One length would be enough while the clock only runs forward; the second keeps the count where it is set back by
/// less than a window, so that no window starts twice.
const FORESEEABLE_LENGTHS: u64 = 2;

pub(super) fn at(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    let running = now < counter.time;
    let foreseeable = limit.window.longest().0.saturating_mul(FORESEEABLE_LENGTHS);
    if running && counter.time.since(now).0 <= foreseeable {
        return counter;
    }
    Counter { used: 0, rest: 0, time: limit.window.end_after(now) }
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

pub(super) fn wait(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> Wait {
    if has_room(limit, counter, hits) {
        Wait::None
    } else if hits > limit.count {
        Wait::Never
    } else {
        Wait::For(counter.time.since(now))
    }
}

pub(super) fn standing(limit: &Limit, counter: Counter, now: Timestamp) -> Standing {
    Standing { used: counter.used, available: limit.count.saturating_sub(counter.used), reset: counter.time.since(now) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn after_a_refusal_every_earlier_try_fails_and_the_promised_one_passes(
            count in 0u64..100, millis in 1u64..100_000, start in 0u64..1 << 60, used in 0u64..150, hits in 1u64..120,
            early in 1u64..1 << 40,
        ) {
            let limit = limit(count, millis);
            let now = Timestamp(start);
            let counter = take(at(&limit, Counter::default(), now), used);
            match wait(&limit, counter, now, hits) {
                Wait::None => prop_assert!(used + hits <= count),
                Wait::Never => prop_assert!(hits > count),
                Wait::For(length) => {
                    let then = now.plus(length);
                    prop_assert!(has_room(&limit, at(&limit, counter, then), hits));
                    let earlier = Timestamp(then.0.saturating_sub(early).max(now.0));
                    prop_assert!(!has_room(&limit, at(&limit, counter, earlier), hits));
                }
            }
        }

        #[test]
        fn any_interval_of_a_windows_length_admits_at_most_twice_the_limit(
            count in 1u64..20, steps in prop::collection::vec((0u64..700, 1u64..4), 1..80),
        ) {
            let limit = limit(count, 1_000);
            let (mut now, mut counter, mut admitted) = (0, Counter::default(), Vec::new());
            for (step, hits) in steps {
                now += step;
                counter = at(&limit, counter, Timestamp::from_millis(now));
                if has_room(&limit, counter, hits) {
                    counter = take(counter, hits);
                    admitted.push((now, hits));
                }
            }
            for &(start, _) in &admitted {
                let sum: u64 = admitted.iter().filter(|(t, _)| (start..start + 1_000).contains(t)).map(|(_, h)| h).sum();
                prop_assert!(sum <= 2 * count, "{sum} hits from {start} ms on");
            }
        }
    }

    #[test]
    fn twice_the_limit_is_reached_at_an_edge() {
        let limit = limit(5, 1_000);
        let mut counter = Counter::default();
        for now in [1_999, 2_000] {
            counter = at(&limit, counter, Timestamp::from_millis(now));
            assert!(has_room(&limit, counter, 5), "at {now} ms");
            counter = take(counter, 5);
        }
    }
}
