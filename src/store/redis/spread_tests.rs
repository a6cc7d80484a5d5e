//! What parts decide and give back is what one step would have decided.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    charge::{Charge, CounterKey, Gate, Role},
    limit::{Counter, Window},
    request::Ask,
    units::Nanos,
};

const LENGTH: Nanos = Nanos::from_secs(10);

/// A descriptor: whose, by what role, what it asks, and the block that it starts, in seconds.
type Asked = (u32, Role, Ask, Option<u64>);

fn asked() -> impl Strategy<Value = Asked> {
    let role = prop::sample::select(vec![Role::Enforced, Role::Enforced, Role::Overdraw, Role::Shadow]);
    let ask =
        prop_oneof![6 => (1u64..5).prop_map(Ask::Take), 1 => Just(Ask::Look), 2 => (0u64..4).prop_map(Ask::GiveBack)];
    (0u32..4, role, ask, prop::option::weighted(0.2, 1u64..30))
}

/// What is asked at steps, some of which are denied: milliseconds that pass, and the descriptors.
fn steps() -> impl Strategy<Value = Vec<(u64, Vec<Asked>, bool)>> {
    let denied = prop::bool::weighted(0.1);
    prop::collection::vec((0u64..8_000, prop::collection::vec(asked(), 1..5), denied), 1..20)
}

/// Whom a request gives something back, it asks for nothing.
fn unmixed(asked: &[Asked]) -> Vec<Asked> {
    let refund = |ask| matches!(ask, Ask::GiveBack(_));
    let kind_of = |whose| asked.iter().find(|first| first.0 == whose).is_some_and(|first| refund(first.2));
    asked.iter().copied().filter(|one| refund(one.2) == kind_of(one.0)).collect()
}

fn limits() -> [Limit; 3] {
    let limit = |count, algorithm| Limit { count, window: Window::Length(LENGTH), algorithm };
    [
        limit(6, Algorithm::FixedWindow),
        limit(7, Algorithm::SlidingWindow),
        limit(9, Algorithm::TokenBucket { burst: 5 }),
    ]
}

/// As a plan makes them: each descriptor has three windows, and perhaps a gate.
fn charges<'l>(limits: &'l [Limit; 3], asked: &[Asked], way: Way, denied: bool) -> Charges<'l> {
    let mut charges = Charges { way, denied, ..Charges::default() };
    for (descriptor, &(whose, role, ask, block_secs)) in (0..).zip(asked) {
        let tag = u128::from(whose + 1) << 64;
        // A shadow has counters of its own.
        let own = if role == Role::Shadow { 16 } else { 0 };
        for (place, limit) in (0..).zip(limits) {
            let key = CounterKey(tag + place + own);
            charges.list.push(Charge { key, limit, ask, role, descriptor, group: 0 });
        }
        if !matches!(ask, Ask::GiveBack(_)) {
            let starts = block_secs.map(Nanos::from_secs);
            let key = CounterKey(tag + 32);
            charges.gates.push(Gate { key, descriptor, starts, ordered_until: Timestamp::EPOCH });
        }
    }
    charges
}

type Counters = BTreeMap<CounterKey, Counter>;

fn decide(charges: &Charges<'_>, counters: &mut Counters, now: Timestamp) -> Decided {
    let seats = Seats::of(charges);
    let before: SmallVec<[Counter; 8]> =
        seats.keys.iter().map(|key| counters.get(key).copied().unwrap_or_default()).collect();
    let mut after = before.clone();
    let verdicts = settle(charges, &seats.of, &mut after, now);
    counters.extend(seats.keys.iter().copied().zip(after));
    Decided { verdicts, before, at: now }
}

/// As `give_back.lua` does, at the time of the charge.
fn give_back(part: &Part<'_>, taken: &[Taken], counters: &mut Counters) {
    for Taken { seat, hits, of } in taken {
        let counter = counters.get_mut(&part.seats.keys[*seat as usize]).unwrap();
        match of {
            TakenOf::Window { end } => assert_eq!(counter.time, *end),
            TakenOf::Bucket { at, .. } => assert_eq!(counter.time, *at),
        }
        counter.used -= hits;
    }
}

fn by_parts(charges: &Charges<'_>, counters: &mut Counters, now: Timestamp) -> Verdicts {
    let parts = parts(charges);
    let mut decided: Vec<_> = parts.iter().map(|part| (part, decide(&part.charges, counters, now))).collect();
    for (part, taken) in in_vain(charges, &mut decided) {
        give_back(part, &taken, counters);
    }
    join(charges, &Seats::of(charges), &decided).verdicts
}

/// Counters as they stand at `now`: a bucket may have been brought up to date or not.
fn standing(limits: &[Limit; 3], counters: &Counters, now: Timestamp) -> Vec<(u128, Counter)> {
    let at = |(&CounterKey(key), &counter): (&CounterKey, &Counter)| {
        let limit = limits.get((key & 15) as usize).filter(|_| key & 32 == 0);
        let counter = limit.map_or(counter, |limit| limit.give_back(limit.at(counter, now), now, 0));
        // An empty bucket is empty whenever it became so.
        let is_bucket = limit.is_some_and(|limit| matches!(limit.algorithm, Algorithm::TokenBucket { .. }));
        (key, if is_bucket && counter.used == 0 && counter.rest == 0 { Counter::default() } else { counter })
    };
    counters.iter().map(at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn parts_that_nobody_disturbs_come_to_what_one_step_would(
        steps in steps(),
        each_alone in any::<bool>(),
    ) {
        let limits = limits();
        let way = if each_alone { Way::EachAlone } else { Way::AllOrNone };
        let (mut together, mut apart) = (Counters::new(), Counters::new());
        let mut now = Timestamp::from_secs(1_800_000_000);
        for (millis, asked, denied) in steps {
            now = now.plus(Nanos::from_millis(millis));
            let mut charges = charges(&limits, &unmixed(&asked), way, denied);
            if each_alone {
                // With `count_denied` no rule starts a block.
                charges.gates.iter_mut().for_each(|gate| gate.starts = None);
            }
            let one_step = decide(&charges, &mut together, now).verdicts;
            prop_assert_eq!(by_parts(&charges, &mut apart, now), one_step, "{:?}", charges);
            prop_assert_eq!(standing(&limits, &apart, now), standing(&limits, &together, now), "{:?}", charges);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn takes_and_refunds_of_one_counter_in_one_request_leave_no_more_room_than_one_step_would(steps in steps()) {
        let limits = limits();
        let mut together = Counters::new();
        let mut now = Timestamp::from_secs(1_800_000_000);
        for (millis, asked, denied) in steps {
            now = now.plus(Nanos::from_millis(millis));
            let charges = charges(&limits, &asked, Way::AllOrNone, denied);
            let mut apart = together.clone();
            let one_step = decide(&charges, &mut together, now).verdicts;
            prop_assert_eq!(by_parts(&charges, &mut apart, now), one_step, "{:?}", charges);
            for (apart, together) in standing(&limits, &apart, now).iter().zip(standing(&limits, &together, now)) {
                let level = |counter: Counter| (counter.used, counter.rest);
                prop_assert!(level(apart.1) >= level(together.1), "{:?} {:?}: {:?}", apart, together, charges);
            }
        }
    }
}

#[test]
fn what_has_one_tag_is_not_split() {
    let limits = limits();
    let take = |whose| (whose, Role::Enforced, Ask::Take(1), Some(5));
    for (asked, tags) in [(vec![take(1)], 1), (vec![take(1), take(1)], 1), (vec![take(1), take(2), take(1)], 2)] {
        let charges = charges(&limits, &asked, Way::AllOrNone, false);
        assert_eq!(parts(&charges).len(), tags);
        assert_eq!(only_tag(&charges).is_some(), tags == 1);
    }
}

#[test]
fn a_block_by_order_stands_with_the_descriptor_that_it_blocks() {
    let limits = limits();
    let mut charges = charges(&limits, &[(1, Role::Enforced, Ask::Take(1), None)], Way::AllOrNone, false);
    let ordered_until = Timestamp::from_secs(2_000_000_000);
    charges.gates.push(Gate { key: CounterKey(77 << 64), descriptor: 0, starts: None, ordered_until });
    assert!(only_tag(&charges).is_some());
    // Of one that no rule matches, there is nothing else.
    charges.list.clear();
    charges.gates.remove(0);
    assert_eq!(only_tag(&charges), Some(DescriptorTag::of(CounterKey(77 << 64))));
}
