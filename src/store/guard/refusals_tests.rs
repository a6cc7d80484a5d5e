use proptest::prelude::*;

use super::*;
use crate::{
    charge::{Charge, CounterKey, Gate},
    limit::{Algorithm, Limit, Window},
    units::Nanos,
};

/// Two seconds before the end of a window of ten.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_008);
const KEY: [u8; 16] = [7; 16];

fn after_ms(ms: u64) -> Timestamp {
    NOW.plus(Nanos::from_millis(ms))
}

fn limit(count: u64) -> Limit {
    Limit { count, window: Window::Length(Nanos::from_secs(10)), algorithm: Algorithm::FixedWindow }
}

fn full(hits: u64, now: Timestamp) -> Counter {
    let limit = limit(hits);
    limit.take(limit.at(Counter::default(), now), now, hits)
}

fn charge(key: u128, limit: &Limit, ask: Ask) -> Charge<'_> {
    Charge { key: CounterKey(key), limit, ask, role: Role::Enforced, descriptor: 0, group: 0 }
}

fn request<'p>(list: impl IntoIterator<Item = Charge<'p>>) -> Charges<'p> {
    Charges { list: list.into_iter().collect(), ..Charges::default() }
}

fn gate(key: u128, starts: Option<Nanos>) -> Gate {
    Gate { key: CounterKey(key), descriptor: 0, starts, ordered_until: Timestamp::EPOCH }
}

/// What the store does whose clock says `store_now`; whoever asked it remembers. Whether it refused.
fn ask_store(
    refusals: &Refusals,
    charges: &Charges<'_>,
    counters: &mut [Counter],
    now: Timestamp,
    store_now: Timestamp,
) -> bool {
    let slot_of: Vec<u32> = (0..).take(charges.list.len() + charges.gates.len()).collect();
    let asked = refusals.refuse(charges, &slot_of, now).expect_err("nothing is known");
    let before = counters.to_vec();
    let verdicts = settle(charges, &slot_of, counters, store_now);
    refusals.remember(asked, &before, &verdicts, store_now);
    verdicts.refused
}

fn refuses(refusals: &Refusals, charges: &Charges<'_>, now: Timestamp) -> bool {
    let slot_of: Vec<u32> = (0..).take(charges.list.len() + charges.gates.len()).collect();
    refusals.refuse(charges, &slot_of, now).is_ok()
}

/// Refusals that know of `charges`, which `counter` refused.
fn knowing(charges: &Charges<'_>, counter: Counter) -> Refusals {
    let refusals = Refusals::new(KEY);
    assert!(ask_store(&refusals, charges, &mut [counter], NOW, NOW));
    refusals
}

#[test]
fn a_refusal_is_repeated_for_a_second_and_not_a_nanosecond_longer() {
    let limit = limit(5);
    let charges = request([charge(1, &limit, Ask::Take(1))]);
    let refusals = knowing(&charges, full(5, NOW));
    for (now, expected) in
        [(NOW, true), (after_ms(500), true), (Timestamp(after_ms(1_000).0 - 1), true), (after_ms(1_000), false)]
    {
        assert_eq!(refuses(&refusals, &charges, now), expected, "at {now:?}");
    }
}

#[test]
fn it_is_what_the_store_would_answer_with_the_figures_of_the_moment() {
    let limit = limit(5);
    let charges = request([charge(1, &limit, Ask::Take(1))]);
    let refusals = knowing(&charges, full(5, NOW));
    let then = after_ms(700);
    let expected = settle(&charges, &[0], &mut [full(5, NOW)], then);
    assert_eq!(refusals.refuse(&charges, &[0], then).ok(), Some(expected));
}

#[test]
fn a_refusal_ends_with_its_window_whatever_the_two_clocks_say() {
    let limit = limit(5);
    let charges = request([charge(1, &limit, Ask::Take(1))]);
    // 300 ms before the end of the window by the store's clock; ours is ahead or behind.
    let store_now = after_ms(1_700);
    for our_now in [store_now, NOW, after_ms(90_000)] {
        let refusals = Refusals::new(KEY);
        assert!(ask_store(&refusals, &charges, &mut [full(5, store_now)], our_now, store_now));
        let later = |ms| our_now.plus(Nanos::from_millis(ms));
        assert!(refuses(&refusals, &charges, later(299)));
        assert!(!refuses(&refusals, &charges, later(300)));
    }
}

#[test]
fn a_clock_that_is_set_back_forgets_it() {
    let limit = limit(5);
    let charges = request([charge(1, &limit, Ask::Take(1))]);
    let refusals = knowing(&charges, full(5, NOW));
    assert!(!refuses(&refusals, &charges, Timestamp(NOW.0 - 1)));
    assert!(!refuses(&refusals, &charges, NOW), "nor is it fresh again when the clock has come round");
}

#[test]
fn another_ask_is_another_question() {
    let limit = limit(5);
    let base = charge(1, &limit, Ask::Take(1));
    let refusals = knowing(&request([base]), full(5, NOW));
    for (what, other) in [
        ("more hits", request([Charge { ask: Ask::Take(2), ..base }])),
        ("a look", request([Charge { ask: Ask::Look, ..base }])),
        ("a quota", request([Charge { role: Role::Quota, ..base }])),
        ("another counter", request([Charge { key: CounterKey(2), ..base }])),
        ("the same twice", request([base, base])),
        ("with a gate", Charges { gates: SmallVec::from_iter([gate(9, None)]), ..request([base]) }),
        ("a refund", request([Charge { ask: Ask::GiveBack(1), ..base }])),
        ("overdrawn", request([Charge { role: Role::Overdraw, ..base }])),
        ("denied", Charges { denied: true, ..request([base]) }),
        ("each alone", Charges { way: Way::EachAlone, ..request([base]) }),
    ] {
        assert!(!refuses(&refusals, &other, NOW), "{what}");
    }
    assert!(refuses(&refusals, &request([base]), NOW));
}

#[test]
fn nothing_is_kept_of_what_passed_or_charged_something() {
    let limit = limit(5);
    let base = charge(1, &limit, Ask::Take(1));
    let blocking = |starts| Charges { gates: SmallVec::from_iter([gate(9, starts)]), ..request([base]) };
    for (what, charges, used) in [
        ("it passed", request([base]), 4),
        ("an overdraw", request([Charge { role: Role::Overdraw, ..base }]), 5),
        ("a refund beside it", request([base, Charge { key: CounterKey(2), ask: Ask::GiveBack(1), ..base }]), 5),
        ("refused hits count", Charges { way: Way::EachAlone, ..request([base]) }, 5),
        ("denied", Charges { denied: true, ..request([base]) }, 5),
        ("a block started", blocking(Some(Nanos::from_secs(60))), 5),
    ] {
        let refusals = Refusals::new(KEY);
        let mut counters = [full(used, NOW), Counter::default()];
        ask_store(&refusals, &charges, &mut counters[..charges.list.len() + charges.gates.len()], NOW, NOW);
        assert!(!refuses(&refusals, &charges, NOW), "{what}");
    }
    let refusals = Refusals::new(KEY);
    assert!(ask_store(&refusals, &blocking(None), &mut [full(5, NOW), Counter::default()], NOW, NOW));
    assert!(refuses(&refusals, &blocking(None), NOW), "a gate that starts none may be repeated");
}

#[test]
fn a_block_is_repeated_and_never_prolonged() {
    let limit = limit(5);
    let gates = SmallVec::from_iter([gate(9, Some(Nanos::from_millis(500)))]);
    let charges = Charges { gates, ..request([charge(1, &limit, Ask::Take(1))]) };
    let (refusals, mut counters) = (Refusals::new(KEY), [full(5, NOW), Counter::default()]);
    assert!(ask_store(&refusals, &charges, &mut counters, NOW, NOW), "it starts the block");
    assert!(ask_store(&refusals, &charges, &mut counters, after_ms(1), after_ms(1)), "it is blocked");
    assert!(refuses(&refusals, &charges, after_ms(499)));
    assert!(!refuses(&refusals, &charges, after_ms(500)), "what would start a block has to be asked");
}

#[test]
fn a_limit_that_is_raised_here_shows_at_once() {
    let (low, high) = (limit(5), limit(6));
    let refusals = knowing(&request([charge(1, &low, Ask::Take(1))]), full(5, NOW));
    assert!(!refuses(&refusals, &request([charge(1, &high, Ask::Take(1))]), NOW));
}

#[test]
fn what_is_cleared_is_forgotten_with_what_is_being_asked() {
    let limit = limit(5);
    let (known, under_way) = (request([charge(1, &limit, Ask::Take(1))]), request([charge(2, &limit, Ask::Take(1))]));
    let refusals = knowing(&known, full(5, NOW));
    let asked = refusals.refuse(&under_way, &[0], NOW).expect_err("nothing is known");
    let verdicts = settle(&under_way, &[0], &mut [full(5, NOW)], NOW);
    refusals.clear();
    refusals.remember(asked, &[full(5, NOW)], &verdicts, NOW);
    assert!(!refuses(&refusals, &known, NOW));
    assert!(!refuses(&refusals, &under_way, NOW));
    assert!(ask_store(&refusals, &known, &mut [full(5, NOW)], NOW, NOW));
    assert!(refuses(&refusals, &known, NOW), "what is refused later is kept again");
}

#[test]
fn it_never_grows_and_the_newest_has_its_place() {
    let limit = limit(0);
    let refusals = Refusals::new(KEY);
    assert!(refusals.shards.iter().all(|shard| shard.lock().is_empty()), "nothing is taken before it is needed");
    for key in 0..3 * REFUSALS_MAX as u128 {
        let charges = request([charge(key, &limit, Ask::Take(1))]);
        assert!(ask_store(&refusals, &charges, &mut [Counter::default()], NOW, NOW));
        assert!(refuses(&refusals, &charges, NOW));
    }
    let places: usize = refusals.shards.iter().map(|shard| shard.lock().len()).sum();
    assert_eq!((places, size_of::<Option<Refusal>>()), (REFUSALS_MAX, PLACE_BYTES));
    let known = (0..3 * REFUSALS_MAX as u128)
        .filter(|&key| refuses(&refusals, &request([charge(key, &limit, Ask::Take(1))]), NOW));
    assert!(known.count() > REFUSALS_MAX * 9 / 10, "nearly every place is used");
}

/// As the documentation says.
const PLACE_BYTES: usize = 160;

#[test]
fn what_meets_too_many_counters_is_asked_each_time() {
    let limit = limit(0);
    for (counters, expected) in [(REFUSAL_COUNTERS_MAX, true), (REFUSAL_COUNTERS_MAX + 1, false)] {
        let refusals = Refusals::new(KEY);
        let charges = request((0..counters).map(|key| charge(key as u128, &limit, Ask::Take(1))));
        assert!(ask_store(&refusals, &charges, &mut vec![Counter::default(); counters], NOW, NOW));
        assert_eq!(refuses(&refusals, &charges, NOW), expected, "{counters} counters");
    }
}

#[test]
fn it_says_nothing_of_its_key() {
    assert_eq!(format!("{:?}", Refusals::new(KEY)), "Refusals { clears: 0, .. }");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Nobody gives back. (Figures of counters that did not refuse may be a second old.)
    #[test]
    fn nothing_is_refused_that_the_store_would_have_let_through(
        trace in prop::collection::vec((0u64..700, 0u32..3, 0u32..3, 1u64..4), 1..80),
        algorithm in prop::sample::select(vec![
            Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 4 },
        ]),
    ) {
        let limit = Limit { count: 5, window: Window::Length(Nanos::from_secs(2)), algorithm };
        let (refusals, mut counters, mut ms) = (Refusals::new(KEY), [Counter::default(); 3], 0);
        for (pause, first, second, hits) in trace {
            ms += pause;
            let now = after_ms(ms);
            let list = [(0, first), (1, second)].map(|(descriptor, key)| Charge {
                descriptor,
                ..charge(u128::from(key), &limit, Ask::Take(hits))
            });
            let charges = request(list);
            // Counters that are not met have places, too: those of a question are always the same.
            let (slot_of, before) = ([first, second], counters);
            let verdicts = settle(&charges, &slot_of, &mut counters, now);
            match refusals.refuse(&charges, &slot_of, now) {
                Ok(_) => prop_assert!(verdicts.refused, "at {} ms", ms),
                Err(asked) => refusals.remember(asked, &before, &verdicts, now),
            }
        }
    }
}
