mod crash;
mod damage;
mod hash_key;
mod platter;
mod shelf;

use platter::Platter;
use shelf::{Live, Shelf};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A number of shards that 64 does not divide, so that some walks have one shard more to copy whole than others.
const SHARDS: u32 = 130;
const SET: Set = Set { shards: SHARDS, fingerprint: 7 };

fn shelf() -> Shelf {
    Shelf::new(SHARDS as usize)
}

/// What a new process finds on `disk`.
fn restored(disk: &Platter, now: Timestamp) -> (Shelf, Restored) {
    let shelf = shelf();
    let restored = restore(disk, SET, &shelf, now).expect("the disk can be read");
    (shelf, restored)
}

#[test]
fn what_was_walked_over_comes_back() {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    for key in 0..10_000 {
        store.set(key, key + 1, 100);
    }
    assert_eq!(walk.walk(&store, NOW).unwrap().unwrap().counters, 10_000);
    let (again, restored) = restored(&disk, NOW);
    assert_eq!(again.live(NOW), store.live(NOW));
    assert_eq!((restored.counters, restored.segments, restored.next, restored.taken), (10_000, 1, 1, Some(NOW)));
}

#[test]
fn an_empty_directory_is_a_first_start() {
    let (store, restored) = restored(&Platter::default(), NOW);
    assert!(store.live(NOW).is_empty());
    assert_eq!((restored.counters, restored.next, restored.damaged.len()), (0, 0, 0));
}

#[test]
fn a_walk_that_finds_nothing_changed_leaves_the_disk_alone() {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    assert!(walk.walk(&store, NOW).unwrap().is_none());
    assert!(disk.names().unwrap().is_empty());
    store.set(1, 1, 100);
    assert!(walk.walk(&store, NOW).unwrap().is_some());
    for _ in 0..200 {
        assert!(walk.walk(&store, NOW).unwrap().is_none());
    }
    // Shard 1 is whole in the second segment, so its change is first seen by looking whether there is one.
    store.set(1, 2, 100);
    assert!(walk.walk(&store, NOW).unwrap().is_some());
    assert_eq!(restored(&disk, NOW).0.live(NOW), store.live(NOW));
}

#[test]
fn a_walk_costs_what_changed_and_a_64th_of_everything() {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    for key in 0..130_000 {
        store.set(key, 1, 1_000);
    }
    walk.walk(&store, NOW).unwrap();
    for round in 1..200_u32 {
        store.set(round, 2, 1_000);
        let written = walk.walk(&store, NOW).unwrap().unwrap();
        // Two or three shards of a thousand counters whole, and the one that changed.
        assert!(written.counters <= 3_001, "{} counters in walk {round}", written.counters);
        assert!(disk.names().unwrap().len() as u64 <= SEGMENTS);
    }
    let (again, restored) = restored(&disk, NOW);
    assert_eq!(again.live(NOW), store.live(NOW));
    assert_eq!((restored.segments as u64, restored.next), (SEGMENTS, 200));
}

#[test]
fn what_has_expired_does_not_come_back() {
    let (disk, store) = (Platter::default(), shelf());
    store.set(1, 1, 10);
    store.set(2, 1, 100);
    Walk::new(disk.clone(), SET, 0).walk(&store, NOW).unwrap();
    let later = Timestamp::from_secs(1_800_000_010);
    let (again, restored) = restored(&disk, later);
    assert_eq!(again.live(later).into_keys().collect::<Vec<_>>(), [2]);
    assert_eq!(restored.counters, 2);
}

#[test]
fn a_clock_that_is_behind_drops_nothing() {
    let (disk, store) = (Platter::default(), shelf());
    store.set(1, 1, 10);
    Walk::new(disk.clone(), SET, 0).walk(&store, NOW).unwrap();
    for now in [Timestamp::EPOCH, Timestamp::from_secs(1_799_999_999)] {
        let (again, restored) = restored(&disk, now);
        assert_eq!(again.live(now), store.live(now));
        assert_eq!(restored.taken, Some(NOW));
    }
}

#[test]
fn walks_go_on_after_a_restart_without_writing_everything_again() {
    let (disk, store) = (Platter::default(), shelf());
    for key in 0..13_000 {
        store.set(key, 1, 1_000);
    }
    Walk::new(disk.clone(), SET, 0).walk(&store, NOW).unwrap();
    let (second, found) = restored(&disk, NOW);
    let mut walk = Walk::new(disk.clone(), SET, found.next);
    assert!(walk.walk(&second, NOW).unwrap().is_none());
    second.set(5, 9, 1_000);
    assert!(walk.walk(&second, NOW).unwrap().unwrap().counters <= 301);
    assert_eq!(restored(&disk, NOW).0.live(NOW), second.live(NOW));
}

#[test]
fn segments_of_another_key_or_another_number_of_shards_are_set_aside() {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    for key in 0..10 {
        store.set(key, 1, 1_000);
        walk.walk(&store, NOW).unwrap();
    }
    for other in [Set { fingerprint: 8, ..SET }, Set { shards: 64, ..SET }] {
        let (disk, store) = (disk.copy(), Shelf::new(other.shards as usize));
        let restored = restore(&disk, other, &store, NOW).unwrap();
        assert!(store.live(NOW).is_empty());
        assert_eq!((restored.damaged.len(), restored.next), (10, 0));
        // A few are kept, the newest.
        let names = disk.names().unwrap();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.iter().all(|name| name.ends_with(".damaged")), "{names:?}");
    }
}
