//! Crashes, losses of power and full disks, between any two steps.

use proptest::prelude::*;

use super::{platter::Crash, *};
use crate::units::Nanos;

const CRASHES: [Crash; 3] = [Crash::Process, Crash::Power, Crash::PowerAfterNames];
/// More steps than any walk of these tests takes.
const STEPS_MAX: usize = 100;

#[test]
fn a_crash_between_any_two_steps_leaves_the_old_or_the_new() {
    // Around a full turn of 64 segments, when the first old one is removed, and after.
    for walks_before in [0_u32, 1, 63, 64, 65, 200] {
        let mut outcomes = [0, 0];
        for steps in 0..STEPS_MAX {
            let (disk, store) = (Platter::default(), shelf());
            let mut walk = Walk::new(disk.clone(), SET, 0);
            for key in 0..walks_before {
                store.set(key, key + 1, 1_000);
                walk.walk(&store, NOW).unwrap();
            }
            let old = store.live(NOW);
            for key in 0..300 {
                store.set(key, 1_000 + key, 1_000);
            }
            let new = store.live(NOW);
            disk.burn(Some(steps));
            let written = walk.walk(&store, NOW);
            for crash in CRASHES {
                let (again, found) = restored(&disk.after(crash), NOW);
                let live = again.live(NOW);
                let at = format!("{steps} steps, {crash:?} after {walks_before} walks");
                assert!(live == old || live == new, "{at}: neither old nor new");
                assert!(written.is_err() || live == new, "{at}: it was said to be written");
                assert!(found.damaged.is_empty(), "{at}: {:?}", found.damaged);
                outcomes[usize::from(live == new)] += 1;
            }
        }
        assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    }
}

#[test]
fn after_a_full_disk_everything_that_was_collected_is_written() {
    for steps in 0..8 {
        let (disk, store) = (Platter::default(), shelf());
        let mut walk = Walk::new(disk.clone(), SET, 0);
        (0..1_000).for_each(|key| store.set(key, 1, 1_000));
        walk.walk(&store, NOW).unwrap();
        let old = store.live(NOW);

        disk.burn(Some(steps));
        store.set(5, 2, 1_000);
        let failed = walk.walk(&store, NOW).is_err();
        // And again, with something else collected.
        disk.burn(Some(0));
        store.set(6, 2, 1_000);
        assert!(walk.walk(&store, NOW).is_err());
        if failed && steps < 3 {
            assert_eq!(restored(&disk.copy(), NOW).0.live(NOW), old, "the old ones are kept");
        }

        disk.burn(None);
        walk.walk(&store, NOW).unwrap().unwrap();
        assert_eq!(restored(&disk, NOW).0.live(NOW), store.live(NOW), "{steps} steps");
    }
}

#[test]
fn a_segment_that_a_restart_went_on_from_does_not_vanish_with_the_power() {
    let (disk, store) = (Platter::default(), shelf());
    store.set(1, 1, 1_000);
    // Created, written twice, synced, named: and then the process ends.
    disk.burn(Some(5));
    assert!(Walk::new(disk.clone(), SET, 0).walk(&store, NOW).is_err());
    let disk = disk.after(Crash::Process);
    assert_eq!(restored(&disk, NOW).0.live(NOW), store.live(NOW));
    assert_eq!(restored(&disk.after(Crash::Power), NOW).0.live(NOW), store.live(NOW));
}

#[test]
fn a_counter_whose_life_was_cut_short_does_not_come_back() {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    store.set(70, 1, 100);
    walk.walk(&store, NOW).unwrap();
    store.set(70, 1, 1);
    let later = NOW.plus(Nanos::SECOND);
    walk.walk(&store, later).unwrap();
    assert!(restored(&disk, later).0.live(later).is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Set { key: u32, value: u32, life_secs: u32 },
    Remove { key: u32 },
    Advance { secs: u64 },
    Walk,
    WalkOnBadDisk { steps: usize },
    Restart(Crash),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..400_u32, 1..1_000_u32, 1..300_u32)
            .prop_map(|(key, value, life_secs)| Event::Set { key, value, life_secs }),
        1 => (0..400_u32).prop_map(|key| Event::Remove { key }),
        1 => (0..30_u64).prop_map(|secs| Event::Advance { secs }),
        8 => Just(Event::Walk),
        1 => (0..20_usize).prop_map(|steps| Event::WalkOnBadDisk { steps }),
        1 => prop::sample::select(&CRASHES[..]).prop_map(Event::Restart),
    ]
}

fn still(live: &Live, now: Timestamp) -> Live {
    let lives = |until: u32| now < NOW.plus(Nanos::from_secs(until.into()));
    live.iter().filter(|(_, (_, until))| lives(*until)).map(|(key, counter)| (*key, *counter)).collect()
}

proptest! {
    /// Whatever happens, a new process finds the counters as of the last walk that was written, or of one since that
    /// was said to have failed.
    #[test]
    fn a_new_process_finds_the_counters_as_of_the_last_walk(events in prop::collection::vec(event(), 1..400)) {
        let (mut disk, mut store, mut now) = (Platter::default(), shelf(), NOW);
        let mut walk = Walk::new(disk.clone(), SET, 0);
        let mut may_find: Vec<Live> = vec![Live::new()];
        for event in events {
            match event {
                Event::Set { key, value, life_secs } => {
                    let passed = u32::try_from(now.since(NOW).ceil_secs()).unwrap();
                    store.set(key, value, passed + life_secs);
                }
                Event::Remove { key } => store.remove(key),
                Event::Advance { secs } => now = now.plus(Nanos::from_secs(secs)),
                Event::Walk | Event::WalkOnBadDisk { .. } => {
                    if let Event::WalkOnBadDisk { steps } = event {
                        disk.burn(Some(steps));
                    }
                    match walk.walk(&store, now) {
                        Ok(_) => may_find = vec![store.live(now)],
                        Err(_) => may_find.push(store.live(now)),
                    }
                    disk.burn(None);
                }
                Event::Restart(crash) => {
                    disk = disk.after(crash);
                    let (again, found) = restored(&disk, now);
                    let live = again.live(now);
                    prop_assert!(may_find.iter().any(|may| still(may, now) == live), "{live:?} is none of {may_find:?}");
                    prop_assert!(found.damaged.is_empty());
                    (store, may_find) = (again, vec![live]);
                    walk = Walk::new(disk.clone(), SET, found.next);
                }
            }
        }
    }
}
