use std::collections::HashMap;

use proptest::prelude::*;

use super::{super::slot::pack, *};
use crate::{
    limit::{Algorithm, Counter, Limit, Window},
    units::Nanos,
};

const LIMIT: Limit =
    Limit { count: 10, window: Window::Length(Nanos::from_secs(60)), algorithm: Algorithm::FixedWindow };
const NOW: Timestamp = Timestamp::from_secs(600);

/// Names as random as hashes, of a few thousand.
#[expect(clippy::cast_possible_truncation, reason = "a part of a hash")]
fn name(number: u16) -> Name {
    let low = (u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Name { high: (low >> 40) as u16, low: low ^ low >> 29 }
}

fn slot(name: Name, group: u32, used: u64, end: Timestamp) -> Slot {
    pack(name, group, &LIMIT, Counter { used, rest: 0, time: end }, NOW)
}

fn used(shard: &Shard, name: Name) -> Option<u64> {
    shard.find(name).map(|found| slot::counter(found, slot::Form::Window, NOW).used)
}

fn shard(capacity: usize) -> Shard {
    Shard::new(capacity, Arc::new(Groups::new(capacity)))
}

/// Every page stands where the directory says, holds what belongs to it, and is counted.
fn check(shard: &Shard) {
    assert_eq!(shard.directory.len(), if shard.pages.is_empty() { 0 } else { 1 << shard.depth });
    let (mut len, mut of_depth, mut of_group) = (0, [0; PREFIX_BITS as usize + 1], HashMap::new());
    for (place, page) in (0..).zip(&shard.pages) {
        let entries = shard.directory.iter().filter(|&&entry| entry == place).count();
        let Some(page) = page else {
            assert_eq!(entries, 0);
            assert!(shard.free.contains(&place));
            continue;
        };
        assert_eq!(entries, 1 << (shard.depth - u32::from(page.depth)));
        of_depth[usize::from(page.depth)] += 1;
        page.slots().iter().for_each(|slot| *of_group.entry(slot::group(slot)).or_insert(0) += 1);
        assert!(page.slots().iter().all(|slot| shard.place_of(slot::name(slot).high) == Some(place)));
        len += page.len();
    }
    assert_eq!((shard.len, shard.of_depth), (len, of_depth));
    for group in 0..=u16::MAX {
        assert_eq!(shard.groups.count(group), of_group.get(&group).copied().unwrap_or(0), "of group {group}");
    }
}

fn walk(shard: &mut Shard, now: Timestamp) {
    let mut next = Some(0);
    while let Some(cursor) = next {
        next = shard.visit(cursor, now, |_| {});
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u16, u64),
    /// Puts one that expires early.
    PutShort(u16),
    /// Everything short expires, and one page is visited.
    Visit(u16),
    Walk,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0u16..3_000, 1u64..9).prop_map(|(number, used)| Step::Put(number, used)),
        40 => (0u16..3_000).prop_map(Step::PutShort),
        5 => any::<u16>().prop_map(Step::Visit),
        1 => Just(Step::Walk),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_holds_what_a_map_would(steps in prop::collection::vec(step(), 1..4_000)) {
        let (soon, late) = (NOW.plus(Nanos::from_secs(1)), NOW.plus(Nanos::from_secs(60)));
        let mut shard = shard(1_000_000);
        let mut model: HashMap<u16, (u64, Timestamp)> = HashMap::new();
        for step in steps {
            match step {
                Step::Put(number, used) => {
                    shard.put(slot(name(number), 0, used, late), NOW);
                    model.insert(number, (used, late));
                }
                Step::PutShort(number) => {
                    shard.put(slot(name(number), 0, 1, soon), NOW);
                    model.insert(number, (1, soon));
                }
                Step::Visit(cursor) => {
                    shard.visit(cursor, NOW, |_| {});
                }
                Step::Walk => {
                    walk(&mut shard, soon);
                    model.retain(|_, (_, end)| *end > soon);
                    check(&shard);
                }
            }
        }
        check(&shard);
        prop_assert_eq!(shard.len(), model.len());
        for number in 0..3_000 {
            prop_assert_eq!(used(&shard, name(number)), model.get(&number).map(|&(used, _)| used));
        }
        walk(&mut shard, late);
        prop_assert_eq!((shard.len(), shard.bytes()), (0, 0));
    }

    #[test]
    fn a_full_shard_keeps_its_bound_and_everything_that_is_refused(
        capacity in 1usize..600, numbers in prop::collection::vec((0u16..3_000, 1u64..=10, 0u32..4), 1..3_000),
    ) {
        let late = NOW.plus(Nanos::from_secs(60));
        let mut shard = shard(capacity);
        let mut refused = HashMap::new();
        for (number, used, group) in numbers {
            if refused.contains_key(&number) {
                continue;
            }
            let placed = shard.put(slot(name(number), group, used, late), NOW);
            if used == LIMIT.count && placed != Placed::Nowhere {
                refused.insert(number, used);
            }
            prop_assert!(shard.len() <= capacity);
        }
        check(&shard);
        for number in refused.keys() {
            prop_assert_eq!(used(&shard, name(*number)), Some(LIMIT.count));
        }
    }
}

#[test]
fn a_walk_between_whose_steps_pages_split_and_merge_misses_nobody() {
    let (soon, late) = (NOW.plus(Nanos::from_secs(1)), NOW.plus(Nanos::from_secs(60)));
    let mut shard = shard(1_000_000);
    for number in 0..1_000 {
        shard.put(slot(name(number), 0, 1, late), NOW);
    }
    let (mut next, mut seen, mut coming) = (Some(0), Vec::new(), 1_000..9_000);
    while let Some(cursor) = next {
        // Eight hundred come between two steps until there are no more; then the short ones go again.
        next = shard.visit(cursor, NOW, |slot| seen.push(slot::name(slot)));
        for number in coming.by_ref().take(800) {
            shard.put(slot(name(number), 0, 1, soon), NOW);
        }
        if coming.is_empty() {
            walk(&mut shard, soon);
        }
    }
    assert!((0..1_000).all(|number| seen.contains(&name(number))));
    check(&shard);
}

#[test]
fn more_windows_of_one_descriptor_than_a_page_holds_do_not_grow_the_directory_without_end() {
    let late = NOW.plus(Nanos::from_secs(60));
    let mut shard = shard(1_000_000);
    for low in 0..500 {
        shard.put(slot(Name { high: 0x1234, low }, 0, 1, late), NOW);
    }
    check(&shard);
    assert!(shard.len() >= SLOTS && shard.bytes() < 64 << 10, "{} counters, {} bytes", shard.len(), shard.bytes());
}

#[test]
fn one_group_gets_half_of_the_places_and_not_one_more_and_others_the_other_half() {
    let late = NOW.plus(Nanos::from_secs(60));
    let mut shard = shard(2_000);
    let placed = |shard: &mut Shard, numbers: std::ops::Range<u16>, group| {
        numbers.filter(|&number| shard.put(slot(name(number), group, 10, late), NOW) == Placed::Found).count()
    };
    assert_eq!(placed(&mut shard, 0..20_000, 1), 1_000);
    assert_eq!(placed(&mut shard, 20_000..40_000, 2), 1_000);
    assert_eq!(placed(&mut shard, 40_000..41_000, 3), 0);
    check(&shard);
}

#[test]
fn a_group_that_has_half_makes_place_among_its_own_and_the_expired_first() {
    let (soon, late) = (NOW.plus(Nanos::from_secs(1)), NOW.plus(Nanos::from_secs(60)));
    // One page, half of it of one group, and one of these over soon.
    let mut shard = shard(20);
    (1..10).for_each(|number| _ = shard.put(slot(name(number), 1, 9, late), NOW));
    shard.put(slot(name(10), 1, 10, soon), NOW);
    (20..30).for_each(|number| _ = shard.put(slot(name(number), 2, 1, late), NOW));
    assert_eq!(shard.put(slot(name(11), 1, 2, late), soon), Placed::Found);
    assert_eq!(used(&shard, name(10)), None);
    assert_eq!(shard.put(slot(name(12), 1, 1, late), soon), Placed::Evicting);
    assert_eq!(used(&shard, name(11)), None, "it was furthest from its limit");
    assert!((20..30).all(|number| used(&shard, name(number)).is_some()), "others made no place");
    check(&shard);
}

#[test]
fn a_counter_whose_limit_has_another_number_is_counted_there() {
    let late = NOW.plus(Nanos::from_secs(60));
    let mut shard = shard(20);
    for group in [1, 1, 2] {
        (0..10).for_each(|number| _ = shard.put(slot(name(number), group, 1, late), NOW));
        check(&shard);
    }
}
