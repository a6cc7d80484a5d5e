//! What must hold when counters come without end. Millions of them: the checked profile takes seconds.

use std::{collections::HashSet, thread};

use super::{
    snapshot::{Source as _, Target as _},
    tests::{NOW, limit, request, sweep, take},
    *,
};
use crate::{limit::Limit, units::Nanos};

/// Any number of keys as hashing makes them.
fn random_key(number: u64) -> CounterKey {
    let mix = |seed: u64| {
        let mut z = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    CounterKey(u128::from(mix(1)) << 64 | u128::from(mix(2)))
}

fn hit(store: &Memory, key: CounterKey, limit: &Limit, group: u32) -> Verdicts {
    store.charge(NOW, &request([Charge { key, group, ..take(0, 0, limit, 1) }]))
}

#[test]
fn a_counter_takes_at_most_fifty_bytes_at_any_number_of_them() {
    let (store, limit) = (Memory::new(100_000_000), limit(100, 3_600));
    let mut worst = (0.0, 0);
    for number in 0..2_500_000 {
        hit(&store, random_key(number), &limit, 0);
        let count = number + 1;
        // From one doubling over the next: beyond, everything repeats.
        if count >= 1_000_000 && count % 50_000 == 0 {
            let each = store.fill().bytes as f64 / count as f64;
            worst = if each > worst.0 { (each, count) } else { worst };
        }
    }
    assert!(worst.0 <= 50.0, "{} bytes a counter at {} of them", worst.0, worst.1);
}

#[test]
fn a_flood_of_ten_million_forgives_nobody_and_locks_nobody_out() {
    const MAX: usize = 200_000;
    let (store, minute, one) = (Memory::new(MAX), limit(10, 60), limit(1, 60));
    let (victim, innocent) = (random_key(u64::MAX - 1), random_key(u64::MAX - 2));
    while !hit(&store, victim, &minute, 1).refused {}
    // Every second key of the flood is refused after its first hit: nothing of that can be evicted.
    for number in 0..10_000_000u64 {
        let limit = if number % 2 == 0 { &minute } else { &one };
        hit(&store, random_key(number), limit, if number % 2 == 0 { 1 } else { 2 });
        if number % 1_000_000 == 0 {
            assert!(hit(&store, victim, &minute, 1).refused, "forgiven after {number}");
        }
    }
    assert!(hit(&store, victim, &minute, 1).refused);
    for turn in 0..10 {
        assert!(!hit(&store, innocent, &minute, 3).refused, "hit {turn} of another rule's client");
    }
    assert!(hit(&store, innocent, &minute, 3).refused, "and its limit holds");
    let Fill { counters, bytes, sketches, unplaced, .. } = store.fill();
    assert!(counters <= MAX && sketches == 1 && unplaced == 0, "{:?}", store.fill());
    assert!(bytes <= 50 * MAX + 1_000_000, "{bytes} bytes");
}

#[test]
fn one_limit_fills_half_of_the_store_and_not_one_place_more() {
    for max in [2_000, 100_000, 1_000_000] {
        let (store, one, ten) = (Memory::new(max), limit(1, 60), limit(10, 60));
        // Each is refused after its first hit and can make no place. So many of them that every shard is offered more
        // than it has, from threads that race for the last places.
        let offer = |keys: std::ops::Range<u64>, limit: &Limit, group| {
            thread::scope(|scope| {
                for part in 0..4 {
                    let (store, keys) = (&store, keys.clone());
                    let mine = move |number: &u64| number % 4 == part;
                    scope.spawn(move || {
                        keys.filter(mine).for_each(|number| _ = hit(store, random_key(number), limit, group));
                    });
                }
            });
            store.fill().counters
        };
        let many = 4 * max as u64;
        assert_eq!(offer(0..many, &one, 1), max / 2, "of {max} places");
        // The other half is for others. Where shards are small, some few were offered nothing.
        let both = offer(many..2 * many, &ten, 2);
        assert!(both <= max && both * 100 >= max * 98, "{both} of {max} places");
    }
}

#[test]
fn between_two_locks_of_a_walk_one_page_is_seen() {
    let (store, limit) = (Memory::new(2_000_000), limit(3, 60));
    (0..400_000).for_each(|number| _ = hit(&store, random_key(number), &limit, 0));
    let end = NOW.plus(Nanos::from_secs(60));
    for now in [NOW, end] {
        let mut under_lock = std::collections::HashMap::new();
        for shard in 0..SHARDS {
            store.walk(shard, now, |_| *under_lock.entry(sync::locks_taken()).or_insert(0) += 1);
        }
        assert_eq!(under_lock.values().sum::<usize>(), 400_000, "everything was seen");
        assert!(under_lock.values().all(|&seen| seen <= page::SLOTS), "at most a page a lock");
    }
    // Both that walk take their locks there: one for each page, however little is on it.
    (0..400_000).for_each(|number| _ = hit(&store, random_key(number), &limit, 0));
    let pages = store.shards.iter().map(|shard| shard.lock().page_count()).sum::<usize>();
    let locks = |walk: &dyn Fn()| {
        let before = sync::locks_taken();
        walk();
        sync::locks_taken() - before
    };
    assert_eq!(locks(&|| sweep(&store, NOW)), pages);
    assert_eq!(locks(&|| (0..SHARDS).for_each(|shard| store.collect(shard, true, NOW, &mut Vec::new()))), pages);
}

/// What the sketch of the next test counts.
const KEYS: u64 = 4_000;
const HITS: u64 = 5;

#[test]
fn a_sketch_never_forgives_and_errs_by_no_more_than_it_says() {
    // Room for one counter a shard, and all of it taken by what is refused: everything else is sketched.
    let (store, one, limit) = (Memory::new(1), limit(1, 60), limit(1_000, 60));
    let mut taken = HashSet::new();
    for key in (0..20_000).map(random_key).filter(|&key| taken.insert(shard_of(key))) {
        // Of two limits: one alone gets half.
        hit(&store, key, &one, 8 + u32::from(shard_of(key).is_multiple_of(2)));
    }
    let Fill { counters, max_counters, .. } = store.fill();
    assert_eq!((counters, max_counters), (SHARDS, SHARDS), "what is told of them is what there is place for");
    let mut read = Vec::new();
    for _ in 0..HITS {
        let after = |number| hit(&store, random_key(20_000 + number), &limit, 0).list[0].standing.used;
        read = (0..KEYS).map(after).collect();
    }
    assert!(read.iter().all(|&used| used >= HITS), "a charge was lost");
    let bound = std::f64::consts::E * (KEYS * HITS) as f64 / 1_024.0;
    let over = read.iter().filter(|&&used| (used - HITS) as f64 > bound).count();
    assert!(over as f64 <= KEYS as f64 * 0.019, "{over} of {KEYS} read more than {bound} too many");
    assert!(read.iter().any(|&used| used > HITS), "it is a sketch");
}

#[test]
fn a_sketch_forgets_with_the_window_and_goes() {
    let (store, limit) = (Memory::new(1), limit(1, 60));
    (0..10_000).for_each(|number| _ = hit(&store, random_key(number), &limit, 0));
    assert_eq!(store.fill().sketches, 1);
    let later = NOW.plus(Nanos::from_secs(60));
    sweep(&store, later);
    let Fill { counters, bytes, sketches, .. } = store.fill();
    assert_eq!((counters, bytes, sketches), (0, 0, 0));
}

#[test]
fn pages_that_split_under_sixteen_threads_lose_no_charge() {
    let (store, limit) = (Memory::new(10_000_000), limit(16, 60));
    let admitted: usize = thread::scope(|scope| {
        let one = |thread: u64| {
            let (store, limit) = (&store, &limit);
            // Two rounds by every thread: sixteen of the thirty-two hits on each counter fit.
            let keys = (0..2).flat_map(move |_| (0..20_000u64).map(move |number| (number + thread * 1_250) % 20_000));
            scope.spawn(move || keys.filter(|&number| !hit(store, random_key(number), limit, 0).refused).count())
        };
        let threads: Vec<_> = (0..16).map(one).collect();
        scope.spawn(|| (0..4).for_each(|_| sweep(&store, NOW)));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!((admitted, store.fill().counters), (16 * 20_000, 20_000));
}

#[test]
fn what_is_collected_and_put_back_decides_as_before() {
    let (store, limit) = (Memory::new(1_000_000), limit(3, 60));
    (0..20_000).for_each(|number| _ = hit(&store, random_key(number), &limit, 0));
    let collect = |everything| {
        let mut out = vec![Vec::new(); SHARDS];
        (0..).zip(&mut out).for_each(|(shard, out)| store.collect(shard, everything, NOW, out));
        out
    };
    let count = |slots: &[Vec<Slot>]| slots.iter().map(Vec::len).sum::<usize>();
    assert_eq!(count(&collect(false)), 20_000);
    assert_eq!(count(&collect(false)), 0, "nothing changed");
    hit(&store, random_key(7), &limit, 0);
    assert_eq!(count(&collect(false)), 1);
    let restored = Memory::new(1_000_000);
    for (shard, slots) in (0..).zip(collect(true)) {
        for slot in slots {
            restored.insert(shard, slot, NOW);
        }
    }
    assert_eq!(restored.fill().counters, 20_000);
    assert_eq!(hit(&restored, random_key(7), &limit, 0).list[0].standing.used, 3);
    assert!(hit(&restored, random_key(7), &limit, 0).refused);
}

#[test]
fn a_refund_that_ends_a_counter_early_is_not_forgotten_by_the_next_snapshot() {
    let (store, bucket) = (
        Memory::new(1_000_000),
        Limit {
            count: 1,
            window: crate::limit::Window::Length(Nanos::from_secs(3_600)),
            algorithm: crate::limit::Algorithm::TokenBucket { burst: 5 },
        },
    );
    let collect = |now| {
        let mut out = Vec::new();
        (0..SHARDS).for_each(|shard| {
            let mut slots = Vec::new();
            store.collect(shard, false, now, &mut slots);
            out.extend(slots.into_iter().map(|slot| (shard, slot)));
        });
        out
    };
    let mut charge = take(0, 7, &bucket, 5);
    store.charge(NOW, &request([charge]));
    let mut segments = collect(NOW);
    charge.ask = crate::request::Ask::GiveBack(5);
    store.charge(NOW, &request([charge]));
    segments.extend(collect(NOW.plus(Nanos::SECOND)));
    assert_eq!((segments.len(), store.fill().counters), (2, 0), "it had expired when it was collected");
    let restored = Memory::new(1_000_000);
    for (shard, slot) in segments {
        restored.insert(shard, slot, NOW.plus(Nanos::SECOND));
    }
    charge.ask = crate::request::Ask::Take(5);
    assert!(!restored.charge(NOW.plus(Nanos::SECOND), &request([charge])).refused);
}
