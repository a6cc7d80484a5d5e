//! Limits that never refuse, because another one of the same rule lets too little through.

use jiff::tz::TimeZone;

use super::{limits::OneLimit, report::Report};
use crate::{
    limit::{Algorithm, CalendarUnit, Limit, Window},
    units::Nanos,
};

const HOUR: Nanos = Nanos::from_secs(3_600);
const DAY: Nanos = Nanos::from_secs(24 * 3_600);

/// Looks at the enforced limits of a rule beside each other: a request that passes is charged to all of them. For rules
/// that refuse and never overdraw; what is charged beyond the limits could fill any of them.
pub(super) fn limits(limits: &[&OneLimit], report: &mut Report) {
    for one in limits {
        let others = limits.iter().filter(|other| !std::ptr::eq(**other, *one));
        let bounds = others.filter_map(|other| Some((most_admitted(&other.limit, &one.limit)?, other)));
        let Some((most, other)) = bounds.min_by_key(|(most, _)| *most) else { continue };
        if most <= u128::from(one.limit.count) {
            let (name, tighter, line) = (one.called(), other.called(), other.spot.line);
            let message = format!(
                "the limit `{name}` is never reached: `{tighter}` on line {line} lets in no more than {most} in its time"
            );
            report.warning(one.spot, message, "lower it, or leave it out".to_owned());
        }
    }
}

/// The most that `of` can hold, whatever comes when, if `tight` lets all of it through while the clock runs on. None where
/// that is not certain, and for a `tight` of 0, which leaves nothing to say about any other.
///
/// Windows of a length begin at multiples of it since the epoch, so it is known how many of `tight` one of `of` meets:
/// exactly the quotient where the lengths divide, else one more than the quotient rounded up. Neither a fixed nor a sliding
/// window lets more than its count into one of its own windows; a bucket lets in its burst, and what flows in meanwhile.
/// Refunds take as much from both, or from `tight` less, so they only widen the distance.
fn most_admitted(tight: &Limit, of: &Limit) -> Option<u128> {
    let (Window::Length(length), count) = (&of.window, u128::from(tight.count)) else { return None };
    if count == 0 {
        return None;
    }
    let a_window = match (&tight.window, tight.algorithm) {
        (Window::Length(inner), Algorithm::TokenBucket { burst }) => {
            // What flows in by the last nanosecond of the window.
            u128::from(burst) + count * u128::from(length.0.saturating_sub(1)) / u128::from(inner.0)
        }
        (Window::Length(inner), _) => count * touched(*inner, *length),
        // In UTC what divides a day is never cut by the edge of a day, a week, a month or a year.
        (Window::Calendar(calendar), _) => {
            let whole = if calendar.unit == CalendarUnit::Hour { HOUR } else { DAY };
            let uncut = calendar.zone == TimeZone::UTC && whole.0.is_multiple_of(length.0);
            uncut.then_some(count)?
        }
    };
    match of.algorithm {
        Algorithm::FixedWindow => Some(a_window),
        // A part of the last window counts, too: of all that came in two windows, at the most.
        Algorithm::SlidingWindow => Some(2 * a_window),
        // It has no windows that could be held against others.
        Algorithm::TokenBucket { .. } => None,
    }
}

/// How many windows of the length `inner` one of the length `outer` meets at the most.
fn touched(inner: Nanos, outer: Nanos) -> u128 {
    let windows = u128::from(outer.0.div_ceil(inner.0));
    let nested = outer.0.is_multiple_of(inner.0) || inner.0.is_multiple_of(outer.0);
    if nested { windows } else { windows + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        limit::{Calendar, Counter},
        units::Timestamp,
    };

    fn limit(count: u64, length: u64, algorithm: Algorithm) -> Limit {
        Limit { count, window: Window::Length(Nanos(length)), algorithm }
    }

    /// Whether `of` refuses anything that `tight` lets through: steps of so many nanoseconds, hits, and refunds.
    fn is_reached(tight: &Limit, of: &Limit, steps: &[(u64, u64, bool)]) -> bool {
        let (mut now, mut first, mut second) = (Timestamp::from_secs(1), Counter::default(), Counter::default());
        for &(step, hits, back) in steps {
            now = now.plus(Nanos(step));
            (first, second) = (tight.at(first, now), of.at(second, now));
            if back {
                (first, second) = (tight.give_back(first, now, hits), of.give_back(second, now, hits));
            } else if tight.has_room(first, now, hits) {
                if !of.has_room(second, now, hits) {
                    return true;
                }
                (first, second) = (tight.take(first, now, hits), of.take(second, now, hits));
            }
        }
        false
    }

    fn algorithm() -> impl Strategy<Value = Algorithm> {
        prop_oneof![
            Just(Algorithm::FixedWindow),
            Just(Algorithm::SlidingWindow),
            (1..6_u64).prop_map(|burst| Algorithm::TokenBucket { burst }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_called_pointless_is_never_reached(
            (tight, of) in ((1..5_u64, 1..12_u64, algorithm()), (1..40_u64, algorithm())),
            steps in proptest::collection::vec((0..4_u64, 1..4_u64, prop::bool::weighted(0.1)), 1..120),
        ) {
            let tight = limit(tight.0, tight.1, tight.2);
            let mut of = limit(1, of.0, of.1);
            if let Some(most) = most_admitted(&tight, &of) {
                of.count = u64::try_from(most).expect("small");
                prop_assert!(!is_reached(&tight, &of, &steps), "{tight:?} {of:?}");
            }
        }
    }

    #[test]
    fn one_less_is_reached() {
        let greedy: Vec<_> = (0..400).flat_map(|_| [(0, 1, false), (0, 1, false), (1, 1, false)]).collect();
        let (fixed, bucket) = (Algorithm::FixedWindow, Algorithm::TokenBucket { burst: 3 });
        for (tight, of) in [(limit(2, 5, fixed), 20), (limit(2, 20, fixed), 5), (limit(2, 5, bucket), 20)] {
            let mut of = limit(1, of, fixed);
            let most = u64::try_from(most_admitted(&tight, &of).expect("it is certain")).expect("small");
            of.count = most;
            assert!(!is_reached(&tight, &of, &greedy), "{tight:?} {of:?}");
            of.count = most - 1;
            assert!(is_reached(&tight, &of, &greedy), "{tight:?} {of:?}");
        }
    }

    #[test]
    fn a_month_bounds_its_days() {
        let calendar = |unit, zone| {
            let window = Window::Calendar(Calendar { unit, zone, anchor_day: 1 });
            Limit { window, ..limit(1_000, 1, Algorithm::FixedWindow) }
        };
        let day = limit(1, DAY.0, Algorithm::FixedWindow);
        let month = calendar(CalendarUnit::Month, TimeZone::UTC);
        assert_eq!(most_admitted(&month, &day), Some(1_000));
        assert_eq!(most_admitted(&day, &month), None);
        let elsewhere = calendar(CalendarUnit::Month, TimeZone::fixed(jiff::tz::offset(5)));
        assert_eq!(most_admitted(&elsewhere, &day), None, "it begins within a day");
        assert_eq!(most_admitted(&calendar(CalendarUnit::Hour, TimeZone::UTC), &day), None, "a day has many hours");
    }
}
