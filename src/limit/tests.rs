//! What holds for every algorithm.

use proptest::prelude::*;

use super::*;
use crate::bounds::{WINDOW_MAX, WINDOW_MIN};

fn limit(algorithm: Algorithm, count: u64, length: Nanos) -> Limit {
    Limit { count, window: Window::Length(length), algorithm }
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        prop_oneof![0u64..40, Just(u64::MAX)].prop_map(|burst| Algorithm::TokenBucket { burst }),
    ]
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let count = prop_oneof![0u64..60, 0..=u64::MAX];
    let length = prop_oneof![WINDOW_MIN.0..=WINDOW_MIN.0 * 1_000, WINDOW_MIN.0..=WINDOW_MAX.0, 0u64..4];
    (algorithm(), count, length).prop_map(|(algorithm, count, length)| limit(algorithm, count, Nanos(length)))
}

fn any_counter() -> impl Strategy<Value = Counter> {
    let number = || prop_oneof![Just(0), 0u64..60, any::<u64>()];
    (number(), number(), any::<u64>()).prop_map(|(used, rest, time)| Counter { used, rest, time: Timestamp(time) })
}

fn admit(limit: &Limit, counter: &mut Counter, now: Timestamp, hits: u64) -> bool {
    *counter = limit.at(*counter, now);
    let fits = limit.has_room(*counter, now, hits);
    if fits {
        *counter = limit.take(*counter, now, hits);
    }
    fits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// From states that charges, overdraws, refunds and the passing of time lead to.
    #[test]
    fn after_a_refusal_every_earlier_try_fails_and_the_promised_one_passes(
        algorithm in algorithm(), count in 0u64..40, millis in 1u64..100_000, start in 0u64..1 << 60,
        past in prop::collection::vec((0u64..3_000_000_000, 0u64..60, any::<bool>()), 0..6), hits in 1u64..60,
        early in prop_oneof![Just(1), 1u64..1 << 40],
    ) {
        let limit = limit(algorithm, count, Nanos::from_millis(millis));
        let (mut now, mut counter) = (Timestamp(start), Counter::default());
        for (step, hits, back) in past {
            now = now.plus(Nanos(step));
            counter = limit.at(counter, now);
            counter = if back { limit.give_back(counter, now, hits / 2) } else { limit.take(counter, now, hits) };
        }
        counter = limit.at(counter, now);
        let room_at = |then| limit.has_room(limit.at(counter, then), then, hits);
        match limit.wait(counter, now, hits) {
            Wait::None => prop_assert!(room_at(now)),
            Wait::Never => prop_assert!(hits > limit.capacity()),
            Wait::For(length) => {
                let then = now.plus(length);
                prop_assert!(length > Nanos::ZERO && room_at(then));
                prop_assert!(!room_at(Timestamp(then.0.saturating_sub(early).max(now.0))));
            }
        }
    }

    #[test]
    fn it_is_full_again_at_its_reset_and_may_be_forgotten_then(
        algorithm in algorithm(), count in 1u64..40, millis in 1u64..100_000, start in 0u64..1 << 60,
        past in prop::collection::vec((0u64..3_000_000_000, 1u64..60), 1..6),
    ) {
        let limit = limit(algorithm, count, Nanos::from_millis(millis));
        let (mut now, mut counter) = (Timestamp(start), Counter::default());
        for (step, hits) in past {
            now = now.plus(Nanos(step));
            counter = limit.take(limit.at(counter, now), now, hits);
        }
        let forgotten = limit.forgotten_at(counter);
        prop_assert_eq!(forgotten, now.plus(limit.standing(counter, now).reset));
        let used_at = |then| limit.standing(limit.at(counter, then), then).used;
        prop_assert_eq!(used_at(forgotten), 0);
        prop_assert!(used_at(Timestamp(forgotten.0 - 1)) > 0);
    }

    #[test]
    fn no_interval_of_a_windows_length_admits_more_than_is_stated(
        algorithm in algorithm(), count in 0u64..20,
        steps in prop::collection::vec((prop_oneof![Just(0), Just(1), 0u64..900, 0u64..2_500], 1u64..8), 1..120),
    ) {
        // A thousand nanoseconds: so short that the edges are hit.
        let limit = limit(algorithm, count, Nanos(1_000));
        let (mut now, mut counter, mut admitted) = (5_000, Counter::default(), Vec::new());
        for (step, hits) in steps {
            now += step;
            if admit(&limit, &mut counter, Timestamp(now), hits) {
                admitted.push((now, u128::from(hits)));
            }
        }
        for &(start, _) in &admitted {
            let sum: u128 = admitted.iter().filter(|(t, _)| (start..start + 1_000).contains(t)).map(|(_, h)| h).sum();
            prop_assert!(sum <= limit.most_in_any_interval(), "{sum} hits from {start} ns on");
        }
    }

    /// Garbage in the store, a clock that jumps by centuries: figures may then be strange, but there are some.
    #[test]
    fn every_function_is_total(limit in any_limit(), counter in any_counter(), nows: [u64; 3], hits: u64) {
        let mut counter = counter;
        for now in nows.map(Timestamp) {
            let _ = (limit.wait(counter, now, hits), limit.standing(counter, now), limit.forgotten_at(counter));
            counter = limit.at(counter, now);
            prop_assert!(limit.has_room(counter, now, 0));
            let _ = (limit.wait(counter, now, hits), limit.standing(counter, now), limit.forgotten_at(counter));
            counter = limit.give_back(limit.take(counter, now, hits), now, hits / 2);
        }
        let _ = limit.most_in_any_interval();
    }

    /// By any length, back or forth: as if the counter were untouched, at the worst.
    #[test]
    fn a_jump_of_the_clock_costs_at_most_one_window_of_quota(
        algorithm in prop::sample::select(vec![
            Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 20 },
        ]),
        jump in prop_oneof![1u64..4_000, 1u64..1 << 50], forth: bool, tries in prop::collection::vec(0u64..300, 1..60),
        at in 0usize..60,
    ) {
        let limit = limit(algorithm, 20, Nanos(1_000));
        let (mut now, mut elapsed, mut counter, mut admitted) = (1 << 60, 0, Counter::default(), 0_u128);
        for (place, step) in tries.into_iter().enumerate() {
            (now, elapsed) = (now + step, elapsed + u128::from(step));
            if place == at {
                now = if forth { now + jump } else { now - jump };
            }
            while admit(&limit, &mut counter, Timestamp(now), 1) {
                admitted += 1;
            }
        }
        // Of every window that fits into the time that really went by, of the two it was cut by at its ends, of the one
        // the jump makes, and of one that the jump may land at the very end of.
        let most = 20 * (elapsed / 1_000 + 4);
        prop_assert!(admitted <= most, "{admitted} admitted in {elapsed} ns, at most {most}");
    }

    /// What a store may do to a counter that it keeps in twenty bytes.
    #[test]
    fn a_number_rounded_up_never_admits_more(
        algorithm in algorithm(), count in 0u64..1 << 40, millis in 1u64..100_000, used in 0u64..1 << 40, rest: u64,
        more in 0u64..1 << 20, now in 0u64..1 << 50, hits in 1u64..1 << 40,
    ) {
        let limit = limit(algorithm, count, Nanos::from_millis(millis));
        let counter = Counter { used, rest, time: Timestamp(1 << 49) };
        let rounded = Counter { rest: rest.saturating_add(more), ..counter };
        let now = Timestamp(now);
        let room = |counter| limit.has_room(limit.at(counter, now), now, hits);
        prop_assert!(room(counter) || !room(rounded));
    }
}

#[test]
fn what_is_stated_as_the_most_in_any_interval_is_reached() {
    for (count, millis) in [(1, 1), (5, 1_000), (1_000, 1_000), (500_000, 1), (999_999, 60_000)] {
        let length = Nanos::from_millis(millis);
        // The interval begins in the last nanosecond of a window, and ends a length later.
        let edge = Timestamp::from_secs(60_000);
        let (first, last) = (Timestamp(edge.0 - 1), Timestamp(edge.0 + length.0 - 2));
        for (algorithm, stated) in [
            (Algorithm::FixedWindow, 2 * count),
            (Algorithm::SlidingWindow, 2 * count - 1),
            (Algorithm::TokenBucket { burst: count }, 2 * count - 1),
            (Algorithm::TokenBucket { burst: 3 * count }, 4 * count - 1),
            (Algorithm::TokenBucket { burst: 2 }, count + 1),
        ] {
            let limit = limit(algorithm, count, length);
            assert_eq!(limit.most_in_any_interval(), u128::from(stated), "{limit:?}");
            let (mut counter, mut now, mut admitted) = (Counter::default(), first, 0);
            while now <= last {
                counter = limit.at(counter, now);
                // All that fits at once, then one by one as soon as they fit: not what is best for each, but it reaches
                // the most for all.
                let available = limit.standing(counter, now).available;
                counter = limit.take(counter, now, available);
                admitted += available;
                let Wait::For(wait) = limit.wait(counter, now, 1) else { panic!("room is left: {limit:?}") };
                now = now.plus(wait);
            }
            assert_eq!(admitted, stated, "{limit:?}");
        }
    }
}

/// Windows lose nothing: what an estimate leaves is exact to the hit, at any rate and length.
#[test]
fn a_sliding_window_has_exactly_the_room_that_the_estimate_leaves() {
    for length in [WINDOW_MIN, Nanos(1_234_567), Nanos::SECOND, Nanos::from_secs(86_400), WINDOW_MAX] {
        for count in [1, 7, 1_000, 999_983, length.0 / 3, length.0] {
            let limit = limit(Algorithm::SlidingWindow, count, length);
            let end = limit.window.end_after(Timestamp::from_secs(1_800_000_000));
            for step in 0_u64..1_000 {
                let left = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % length.0 + 1;
                let counter = Counter { used: count / 3, rest: count - step * 17 % count, time: end };
                let available = limit.standing(counter, Timestamp(end.0 - left)).available;
                // The hits that are not available, multiplied out, against the estimate.
                let taken = u128::from(count - counter.used - available) * u128::from(length.0);
                let estimate = u128::from(counter.rest) * u128::from(left);
                let over = taken.checked_sub(estimate);
                let exact = available == 0 || over.is_some_and(|over| over < u128::from(length.0));
                assert!(exact, "{count} in {length:?}, {left} ns before the end");
            }
        }
    }
}
