use std::{sync::Barrier, thread};

use super::*;
use crate::{
    charge::{Charge, Gate, GateVerdict, Role},
    limit::{Algorithm, Limit, Window},
    request::Ask,
    units::Nanos,
};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn limit(count: u64, secs: u64) -> Limit {
    Limit { count, window: Window::Length(Nanos::from_secs(secs)), algorithm: Algorithm::FixedWindow }
}

/// A key as hashing makes them: every bit depends on `number`.
fn key(number: u128) -> CounterKey {
    CounterKey(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).rotate_left(61) ^ number << 90)
}

pub(super) fn take(descriptor: u32, number: u128, limit: &Limit, hits: u64) -> Charge<'_> {
    Charge { key: key(number), limit, ask: Ask::Take(hits), role: Role::Enforced, descriptor, group: 0 }
}

/// Sweeps every shard once.
pub(super) fn sweep(store: &Memory, now: Timestamp) {
    for _ in 0..SHARDS {
        store.expire_some(now);
    }
}

pub(super) fn request<'p>(list: impl IntoIterator<Item = Charge<'p>>) -> Charges<'p> {
    Charges { list: list.into_iter().collect(), ..Charges::default() }
}

#[test]
fn sixteen_threads_on_one_counter_admit_exactly_its_limit() {
    for count in [0, 1, 7, 1_000, 100_000] {
        let (store, limit) = (Memory::new(1_000), limit(count, 60));
        let barrier = Barrier::new(16);
        let admitted: u64 = thread::scope(|scope| {
            let one = || {
                barrier.wait();
                let tries = count / 8 + 10;
                (0..tries).filter(|_| !store.charge(NOW, &request([take(0, 1, &limit, 1)])).refused).count() as u64
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, count);
    }
}

#[test]
fn threads_with_several_counters_in_any_order_neither_lock_up_nor_overshoot() {
    let (store, narrow, wide) = (Memory::new(1_000), limit(500, 60), limit(20_000, 60));
    let admitted: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..8u32)
            .map(|thread| {
                let (store, narrow, wide) = (&store, &narrow, &wide);
                scope.spawn(move || {
                    let mut admitted = 0;
                    for turn in 0..400u32 {
                        let hits = u64::from(turn % 3) + 1;
                        let mut list = vec![take(0, 1, narrow, hits), take(1, 2, wide, 1), take(2, 3, wide, 1)];
                        list.rotate_left((thread % 3) as usize);
                        for (descriptor, charge) in (0..).zip(&mut list) {
                            charge.descriptor = descriptor;
                        }
                        if !store.charge(NOW, &request(list)).refused {
                            admitted += hits;
                        }
                    }
                    admitted
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert!((498..=500).contains(&admitted), "a cost of 3 may leave up to 2: {admitted}");
}

#[test]
fn a_refused_request_leaves_every_counter_as_it_was() {
    let (store, one, ten) = (Memory::new(1_000), limit(1, 60), limit(10, 60));
    let both = |hits| request([take(0, 1, &ten, hits), take(1, 2, &one, 1)]);
    assert!(!store.charge(NOW, &both(3)).refused);
    for _ in 0..5 {
        let verdicts = store.charge(NOW, &both(3));
        assert!(verdicts.refused);
        assert_eq!(verdicts.list[0].standing.used, 3);
    }
}

#[test]
fn a_full_store_drops_the_expired_first_then_the_furthest_from_its_limit_and_never_a_refused_one() {
    let store = Memory::new(1); // One counter a shard.
    let in_one_shard = |number: u128| CounterKey(number);
    let fill = || {
        let Fill { counters, evicted, sketched, unplaced, .. } = store.fill();
        (counters, evicted, sketched, unplaced)
    };
    let charge = |number, hits, limit, now| {
        let mut charge = take(0, 0, limit, hits);
        charge.key = in_one_shard(number);
        store.charge(now, &request([charge]))
    };
    let (minute, hour) = (limit(2, 60), limit(2, 3_600));
    charge(1, 1, &minute, NOW);
    charge(2, 1, &hour, NOW);
    assert_eq!(fill(), (1, 1, 0, 0), "2 took the place of 1");
    charge(2, 1, &hour, NOW);
    assert!(!charge(3, 1, &minute, NOW).refused, "decided, though there is no place for it");
    assert!(charge(2, 1, &hour, NOW).refused, "a refused counter is never forgotten");
    assert_eq!(fill(), (1, 1, 1, 0), "3 is counted in a sketch");
    assert!(!charge(3, 1, &minute, NOW).refused);
    assert!(charge(3, 1, &minute, NOW).refused, "and refused by it");
    charge(3, 1, &minute, NOW.plus(Nanos::from_secs(3_600)));
    assert_eq!(fill(), (1, 1, 2, 0), "3 took the place of an expired one");
}

/// A request of one descriptor that may be blocked at the gate of its counter, and blocks itself there for a minute.
fn gated(number: u128, limit: &Limit, hits: u64) -> Charges<'_> {
    let mut charges = request([take(0, number, limit, hits)]);
    let starts = Some(Nanos::from_secs(60));
    charges.gates.push(Gate {
        key: CounterKey(key(number).0 ^ 1),
        descriptor: 0,
        starts,
        ordered_until: Timestamp::EPOCH,
    });
    charges
}

#[test]
fn a_block_outlasts_its_window_and_leaves_nothing_behind() {
    let (store, second) = (Memory::new(100_000), limit(1, 1));
    let later = |secs| NOW.plus(Nanos::from_secs(secs));
    assert!(!store.charge(NOW, &gated(1, &second, 1)).refused);
    assert_eq!(store.charge(NOW, &gated(1, &second, 1)).gates[0], GateVerdict::Started(Nanos::from_secs(60)));
    let verdicts = store.charge(later(59), &gated(1, &second, 1));
    assert_eq!((verdicts.refused, verdicts.gates[0]), (true, GateVerdict::Blocked(Nanos::SECOND)));
    assert!(!store.charge(later(60), &gated(1, &second, 1)).refused);
    for _ in 0..SHARDS {
        store.expire_some(later(60));
    }
    assert_eq!(store.fill().counters, 1, "the block is gone, the counter of this second is there");
}

#[test]
fn a_block_is_forgotten_when_it_is_lifted() {
    let (store, second) = (Memory::new(100_000), limit(1, 1));
    store.charge(NOW, &gated(1, &second, 1));
    assert!(store.charge(NOW, &gated(1, &second, 1)).refused);
    assert!(store.charge(NOW.plus(Nanos::SECOND), &gated(1, &second, 1)).refused);
    store.lift(CounterKey(key(1).0 ^ 1), NOW);
    assert!(!store.charge(NOW.plus(Nanos::SECOND), &gated(1, &second, 1)).refused);
}

#[test]
fn no_flood_lifts_a_block() {
    let (store, hour) = (Memory::new(64 * SHARDS), limit(10, 3_600));
    let second = limit(1, 1);
    store.charge(NOW, &gated(0, &second, 1));
    assert!(store.charge(NOW, &gated(0, &second, 1)).refused);
    for number in 1..300_000 {
        store.charge(NOW, &request([take(0, number, &hour, 1)]));
    }
    assert!(store.fill().evicted > 100_000, "{:?}", store.fill());
    assert!(store.charge(NOW.plus(Nanos::from_secs(30)), &gated(0, &second, 1)).refused);
}

#[test]
fn a_block_that_finds_no_place_is_counted_and_blocks_nobody() {
    // One counter a shard, and that of the descriptor is full.
    let (store, second) = (Memory::new(1), limit(1, 1));
    let later = |millis| NOW.plus(Nanos::from_millis(millis));
    store.charge(NOW, &gated(1, &second, 1));
    assert!(store.charge(NOW, &gated(1, &second, 1)).refused);
    let Fill { sketches, unplaced, .. } = store.fill();
    assert_eq!((sketches, unplaced), (0, 1));
    assert!(!store.charge(later(1_000), &gated(1, &second, 1)).refused, "only its window refused it");
    assert!(!store.charge(later(59_500), &gated(1, &second, 1)).refused, "nor does it come back at its end");
}

#[test]
fn sixteen_threads_start_one_block_and_are_told_one_end() {
    let (store, second) = (Memory::new(100_000), limit(5, 1));
    let barrier = Barrier::new(16);
    let started: usize = thread::scope(|scope| {
        let one = || {
            barrier.wait();
            let gates = (0..100).map(|_| store.charge(NOW, &gated(1, &second, 1)).gates[0]);
            gates.filter(|gate| matches!(gate, GateVerdict::Started(_))).count()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(started, 1);
}

#[test]
fn limits_of_zero_hold_no_counter_whatever_is_asked_of_them() {
    use crate::charge::Way;
    let store = Memory::new(100_000);
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 5 }] {
        let none = Limit { algorithm, ..limit(0, 60) };
        // Refused hits are charged where each descriptor is decided alone (`count_denied`).
        for way in [Way::AllOrNone, Way::EachAlone] {
            for role in [Role::Enforced, Role::Quota, Role::Shadow] {
                for ask in [Ask::Take(1), Ask::Look, Ask::GiveBack(1)] {
                    let charge = Charge { ask, role, ..take(0, 1, &none, 0) };
                    store.charge(NOW, &Charges { way, ..request([charge]) });
                    store.charge(NOW, &Charges { way, ..request([charge, Charge { descriptor: 1, ..charge }]) });
                    assert_eq!(store.fill().counters, 0, "{algorithm:?}, {way:?}, {role:?}, {ask:?}");
                }
            }
        }
    }
}

#[test]
fn a_limit_that_is_lowered_to_zero_and_raised_again_goes_on_with_its_count() {
    let (store, none, five) = (Memory::new(1_000), limit(0, 60), limit(5, 60));
    store.charge(NOW, &request([take(0, 1, &five, 3)]));
    assert!(store.charge(NOW, &request([take(0, 1, &none, 1)])).refused);
    assert!(store.charge(NOW, &request([take(0, 1, &five, 3)])).refused);
    assert!(!store.charge(NOW, &request([take(0, 1, &five, 2)])).refused);
}

#[test]
fn no_flood_forgives_whom_a_lowered_limit_refuses() {
    let (store, ten, three) = (Memory::new(64 * SHARDS), limit(10, 3_600), limit(3, 3_600));
    store.charge(NOW, &request([take(0, 0, &ten, 5)]));
    assert!(store.charge(NOW, &request([take(0, 0, &three, 1)])).refused);
    for number in 1..300_000 {
        store.charge(NOW, &request([take(0, number, &ten, 7)]));
    }
    assert!(store.fill().evicted > 100_000, "{:?}", store.fill());
    assert!(store.charge(NOW, &request([take(0, 0, &three, 1)])).refused);
}

#[test]
fn what_is_given_back_leaves_a_counter_until_its_time_is_over() {
    let (store, some) = (Memory::new(1_000), limit(5, 60));
    store.charge(NOW, &request([take(0, 2, &some, 3)]));
    let mut refund = take(0, 2, &some, 0);
    refund.ask = Ask::GiveBack(u64::MAX);
    store.charge(NOW, &request([refund]));
    assert_eq!(store.fill().counters, 1, "a snapshot must learn that there is nothing left");
    sweep(&store, NOW.plus(Nanos::from_secs(60)));
    assert_eq!(store.fill().counters, 0);
}

#[test]
fn what_has_expired_is_swept_away() {
    let (store, limit) = (Memory::new(100_000), limit(5, 60));
    for number in 0..5_000 {
        store.charge(NOW, &request([take(0, number, &limit, 1)]));
    }
    assert_eq!(store.fill().counters, 5_000);
    sweep(&store, NOW.plus(Nanos::from_secs(60)));
    let Fill { counters, bytes, .. } = store.fill();
    assert_eq!((counters, bytes), (0, 0));
}

#[test]
fn ten_thousand_charges_in_one_request_are_decided_together() {
    let (store, limit) = (Memory::new(100_000), limit(1, 60));
    let all = request((0..10_000).map(|number| take(number, u128::from(number), &limit, 1)));
    assert!(!store.charge(NOW, &all).refused);
    assert!(store.charge(NOW, &request([take(0, 9_999, &limit, 1)])).refused);
}
