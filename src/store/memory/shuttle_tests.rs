//! The store's locks under a scheduler that tries interleavings: `make test` runs them, by
//!
//! ```sh
//! cargo test --profile checked --no-default-features --features shuttle --lib shuttle
//! ```
//!
//! What fails prints its schedule, which `shuttle::replay` takes.

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    thread,
};

use super::{
    snapshot::{Source as _, Target as _},
    *,
};
use crate::{
    charge::{GateVerdict, Role},
    request::Ask,
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINUTE: Nanos = Nanos::from_secs(60);
const LATER: Timestamp = NOW.plus(MINUTE);

/// Scheduling decisions that PCT takes against its priorities: it finds a mistake that needs so many with a known
/// probability (Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding bugs", 2010),
/// and few mistakes need more.
const DEPTH: usize = 3;

/// Tells `story` under `schedules` random schedules, and again under as many of PCT.
fn explore(schedules: usize, story: fn()) {
    under(RandomScheduler::new(schedules), story);
    under(PctScheduler::new(DEPTH, schedules), story);
}

fn under(scheduler: impl Scheduler + 'static, story: fn()) {
    let mut config = Config::new();
    config.silence_warnings = true; // about the order of atomics: see `sync`
    Runner::new(scheduler, config).run(story);
}

fn limit(count: u64, window: Nanos) -> Limit {
    Limit { count, window: Window::Length(window), algorithm: Algorithm::FixedWindow }
}

/// The key of counter `number` in `shard`: with four shards the upper two bits choose. The lower half differs in every
/// row of a sketch.
fn key(shard: u8, number: u16) -> CounterKey {
    let low = u128::from(u64::from(number) * 0x0001_0001_0001_0001);
    let key = CounterKey(u128::from(shard) << 126 | u128::from(number.reverse_bits()) << 64 | low);
    assert_eq!(shard_of(key), usize::from(shard));
    key
}

/// A request that takes one hit from each of the counters.
fn request<'p>(counters: &[(CounterKey, &'p Limit)]) -> Charges<'p> {
    let charge = |(descriptor, &(key, limit))| Charge {
        key,
        limit,
        ask: Ask::Take(1),
        role: Role::Enforced,
        descriptor,
        group: 0,
    };
    Charges { list: (0..).zip(counters).map(charge).collect(), ..Charges::default() }
}

fn admits(store: &Memory, counters: &[(CounterKey, &Limit)]) -> bool {
    !store.charge(NOW, &request(counters)).refused
}

/// Hits that a counter holds.
fn used(store: &Memory, key: CounterKey, limit: &Limit, now: Timestamp) -> u64 {
    let mut look = request(&[(key, limit)]);
    look.list[0].ask = Ask::Look;
    store.charge(now, &look).list[0].standing.used
}

#[test]
#[should_panic(expected = "deadlock")]
fn locks_that_are_taken_in_opposite_orders_are_found() {
    let mut config = Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    Runner::new(RandomScheduler::new(1_000), config).run(|| {
        let store = Memory::new(1_000);
        let both = |one: usize, other: usize| _ = (store.shards[one].lock(), store.shards[other].lock());
        thread::scope(|scope| {
            scope.spawn(|| both(0, 1));
            scope.spawn(|| both(1, 0));
        });
    });
}

#[test]
fn requests_that_overlap_in_any_order_admit_all_that_fits_and_no_more() {
    explore(20_000, || {
        let (store, narrow, wide) = (Memory::new(1_000), limit(2, MINUTE), limit(3, MINUTE));
        // Two of them share a shard.
        let counters = [(key(0, 1), &narrow), (key(1, 2), &wide), (key(2, 3), &narrow), (key(1, 4), &wide)];
        let visits = [vec![0, 1, 2], vec![2, 1], vec![3, 2, 0], vec![1, 3], vec![0]];
        let admitted: Vec<[bool; 2]> = thread::scope(|scope| {
            let one = |visit: &Vec<usize>| {
                let asked: Vec<_> = visit.iter().map(|&which| counters[which]).collect();
                let store = &store;
                scope.spawn(move || [admits(store, &asked), admits(store, &asked)])
            };
            let threads: Vec<_> = visits.iter().map(one).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let tries: Vec<_> =
            visits.iter().zip(admitted).flat_map(|(visit, both)| both.map(|was| (visit, was))).collect();
        let held = [0, 1, 2, 3].map(|which: usize| {
            let (key, limit) = counters[which];
            let held = used(&store, key, limit, NOW);
            let paid = tries.iter().filter(|(visit, was)| *was && visit.contains(&which)).count() as u64;
            assert!(held == paid && held <= limit.count, "counter {which}: {paid} paid, {held} held");
            held
        });
        for (visit, was) in &tries {
            // Counters only grow: what found no room then finds none now.
            let full = visit.iter().any(|&which| held[which] == counters[which].1.count);
            assert!(*was || full, "{visit:?} was refused, with {held:?} held");
        }
    });
}

#[test]
fn what_is_walked_collected_and_swept_meanwhile_is_not_lost() {
    explore(10_000, || {
        let (store, minute, hour) = (Memory::new(1_000), limit(1, MINUTE), limit(3, Nanos::from_secs(3_600)));
        let (one, other) = ((key(0, 1), &hour), (key(2, 2), &hour));
        // It stands in the page of `one`, and has expired when that is walked.
        assert!(admits(&store, &[(key(0, 3), &minute)]));
        let charge = |asked: [_; 2]| (0..2).filter(|_| admits(&store, &asked)).count();
        let (admitted, mut collected) = thread::scope(|scope| {
            let threads = [scope.spawn(|| charge([one, other])), scope.spawn(|| charge([other, one]))];
            let collector = scope.spawn(|| collect(&store));
            scope.spawn(|| (0..SHARDS).for_each(|_| store.expire_some(LATER)));
            scope.spawn(|| assert!(store.fill().counters <= 3));
            let admitted: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
            (admitted, collector.join().expect("no panic"))
        });
        collected.extend(collect(&store));
        let restored = Memory::new(1_000);
        collected.into_iter().for_each(|(shard, slot)| restored.insert(shard, slot, LATER));
        assert_eq!(admitted, 3);
        for store in [&store, &restored] {
            assert_eq!([one, other].map(|(key, limit)| used(store, key, limit, LATER)), [3, 3]);
            assert_eq!(store.fill().counters, 2, "the expired one is gone");
        }
    });
}

/// What changed and the shard of each, as a snapshot reads it.
fn collect(store: &Memory) -> Vec<(usize, Slot)> {
    let changed = |shard| {
        let mut changed = Vec::new();
        store.collect(shard, false, LATER, &mut changed);
        changed.into_iter().map(move |slot| (shard, slot))
    };
    (0..SHARDS).flat_map(changed).collect()
}

#[test]
fn a_walk_meets_every_counter_while_pages_split_and_merge() {
    explore(500, || {
        const KEPT: u16 = 60;
        let (store, minute, hour) = (Memory::new(10_000), limit(1, MINUTE), limit(1, Nanos::from_secs(3_600)));
        // A page that is all but full, so that the next few split it; when the half of it that lasts a minute has gone,
        // its parts merge.
        for number in 0..2 * KEPT {
            assert!(admits(&store, &[(key(0, number), if number % 2 == 0 { &hour } else { &minute })]));
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut met = Vec::new();
                store.collect(0, true, NOW, &mut met);
                let mut met: Vec<_> = met.iter().map(|slot| slot::name(slot).low).collect();
                met.sort_unstable();
                met.dedup();
                let kept = (0..2 * KEPT).step_by(2).map(|number| Name::of(key(0, number)).low);
                assert!(kept.into_iter().all(|low| met.binary_search(&low).is_ok()), "one was passed over");
            });
            scope.spawn(|| {
                (2 * KEPT..2 * KEPT + 8).for_each(|number| assert!(admits(&store, &[(key(0, number), &hour)])))
            });
            scope.spawn(|| store.walk(0, LATER, |_| {}));
        });
        store.walk(0, LATER, |_| {});
        assert_eq!(store.fill().counters, usize::from(KEPT) + 8);
    });
}

#[test]
fn a_block_is_started_once_by_those_who_exceed_together() {
    explore(20_000, || {
        let (store, limit, gate) = (Memory::new(1_000), limit(2, MINUTE), key(3, 1));
        // The gate stands in a shard after or before that of its counter.
        let gated = |shard| {
            let mut charges = request(&[(key(shard, 2), &limit)]);
            charges.gates.push(Gate {
                key: gate,
                descriptor: 0,
                starts: Some(MINUTE),
                ordered_until: Timestamp::EPOCH,
            });
            store.charge(NOW, &charges)
        };
        let verdicts: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| [gated(1), gated(1)])).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let told = |gate| verdicts.iter().filter(|verdicts| verdicts.gates[0] == gate).count();
        let (open, started) = (told(GateVerdict::Open), told(GateVerdict::Started(MINUTE)));
        assert_eq!((open, started, told(GateVerdict::Blocked(MINUTE))), (2, 1, 3));
    });
}

#[test]
fn a_block_that_is_lifted_is_started_again_at_most_once() {
    explore(10_000, || {
        let (store, limit, gate) = (Memory::new(1_000), limit(1, MINUTE), key(0, 1));
        assert!(admits(&store, &[(key(1, 2), &limit)]), "and from now on all exceed");
        let started = || {
            let mut charges = request(&[(key(1, 2), &limit)]);
            charges.gates.push(Gate {
                key: gate,
                descriptor: 0,
                starts: Some(MINUTE),
                ordered_until: Timestamp::EPOCH,
            });
            usize::from(matches!(store.charge(NOW, &charges).gates[0], GateVerdict::Started(_)))
        };
        let starts: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| started() + started())).collect();
            scope.spawn(|| store.lift(gate, NOW));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert!((1..=2).contains(&starts), "{starts} starts with one lift between them");
    });
}

#[test]
fn counters_without_a_place_are_as_exact_and_lock_nobody_up() {
    explore(10_000, || {
        let (store, one, limit) = (Memory::new(1), limit(1, MINUTE), limit(3, MINUTE));
        // Room for one counter a shard, taken by what is refused: all others are sketched. One limit alone gets half.
        for shard in (0..).take(SHARDS) {
            let mut taker = request(&[(key(shard, 1), &one)]);
            taker.list[0].group = 1 + u32::from(shard % 2);
            assert!(!store.charge(NOW, &taker).refused);
        }
        let (low, high) = ((key(0, 2), &limit), (key(1, 3), &limit));
        let admitted: usize = thread::scope(|scope| {
            let asked = [vec![low, high], vec![high, low], vec![low, high]];
            let one = |asked: Vec<_>| {
                let store = &store;
                scope.spawn(move || (0..2).filter(|_| admits(store, &asked)).count())
            };
            let threads: Vec<_> = asked.into_iter().map(one).collect();
            scope.spawn(|| store.expire_some(NOW));
            scope.spawn(|| assert_eq!(store.fill().counters, SHARDS));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(admitted, 3);
        assert_eq!((used(&store, low.0, &limit, NOW), used(&store, high.0, &limit, NOW)), (3, 3));
        store.expire_some(LATER);
        assert_eq!(store.fill().sketches, 0);
    });
}

#[test]
fn those_who_race_for_the_last_places_of_half_the_store_never_get_more() {
    explore(10_000, || {
        // Four places in four shards.
        let (store, one) = (Memory::new(SHARDS), limit(1, MINUTE));
        thread::scope(|scope| {
            for shard in 0..3 {
                let (store, one) = (&store, &one);
                scope.spawn(move || {
                    assert!(admits(store, &[(key(shard, 1), one)]), "whoever gets no place is sketched")
                });
            }
        });
        assert!((1..=SHARDS / 2).contains(&store.fill().counters), "{:?}", store.fill());
    });
}
