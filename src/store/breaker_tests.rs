use std::{sync::Barrier, thread};

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at_ms(ms: u64) -> Timestamp {
    START.plus(Nanos::from_millis(ms))
}

/// A breaker that twenty failures have just opened, and one of the calls that were admitted before.
fn opened_at(now: Timestamp) -> (Breaker, Admitted) {
    let breaker = Breaker::default();
    let call = breaker.admits().expect("a new breaker is closed");
    for _ in 0..BREAKER_FAILURES {
        breaker.failed(call, now);
    }
    assert!(breaker.is_open());
    (breaker, call)
}

#[test]
fn it_opens_after_twenty_failures_or_fifty_milliseconds_of_failures_alone() {
    const SUCCESS: bool = true;
    let many = |count: usize, ms| vec![(ms, !SUCCESS); count];
    for (what, outcomes, opens) in [
        ("nothing", vec![], false),
        ("one failure", many(1, 0), false),
        ("nineteen at once", many(19, 0), false),
        ("twenty at once", many(20, 0), true),
        ("nineteen, a success, nineteen", [many(19, 0), vec![(0, SUCCESS)], many(19, 0)].concat(), false),
        ("two within 49 ms", vec![(0, !SUCCESS), (49, !SUCCESS)], false),
        ("two within 50 ms", vec![(0, !SUCCESS), (50, !SUCCESS)], true),
        ("a success between", vec![(0, !SUCCESS), (25, SUCCESS), (50, !SUCCESS)], false),
        ("a success, then 49 ms", vec![(0, !SUCCESS), (1, SUCCESS), (2, !SUCCESS), (51, !SUCCESS)], false),
        ("slow ones a second apart, with others between", (0..50).map(|s| (s * 500, s % 2 == 1)).collect(), false),
        ("set back an hour after the first", vec![(3_600_000, !SUCCESS), (0, !SUCCESS), (49, !SUCCESS)], false),
        ("and failing on", vec![(3_600_000, !SUCCESS), (0, !SUCCESS), (50, !SUCCESS)], true),
    ] {
        let breaker = Breaker::default();
        let mut opened = 0;
        for (ms, success) in outcomes {
            let Some(call) = breaker.admits() else { continue };
            if success { breaker.succeeded(call) } else { opened += u32::from(breaker.failed(call, at_ms(ms))) }
        }
        assert_eq!((breaker.is_open(), opened), (opens, u32::from(opens)), "{what}");
    }
}

#[test]
fn while_it_is_open_nothing_is_admitted_until_a_probe_succeeds() {
    let (breaker, _) = opened_at(START);
    assert_eq!((breaker.admits(), breaker.episodes()), (None, 1));
    assert_eq!(breaker.probe_succeeded(at_ms(300)), Some(Nanos::from_millis(300)), "open for so long");
    assert_eq!(breaker.probe_succeeded(at_ms(301)), None, "it was closed already");
    assert!(breaker.admits().is_some());
    assert_eq!(breaker.episodes(), 1);
}

#[test]
fn calls_that_were_admitted_before_it_opened_say_nothing_about_the_store_that_is_back() {
    let (breaker, late) = opened_at(START);
    _ = breaker.probe_succeeded(at_ms(2_000));
    for ms in 2_000..2_100 {
        assert!(!breaker.failed(late, at_ms(ms)));
    }
    let call = breaker.admits().expect("it has closed");
    assert!(!breaker.failed(call, at_ms(2_100)), "those before it do not count");
    breaker.succeeded(late);
    assert!(breaker.failed(call, at_ms(2_150)), "nor does a late success");
}

#[test]
fn it_opens_once_a_second_at_most() {
    let (breaker, _) = opened_at(START);
    _ = breaker.probe_succeeded(at_ms(100));
    let call = breaker.admits().expect("it has closed");
    let opened = (100..2_000).find(|&ms| breaker.failed(call, at_ms(ms)));
    assert_eq!(opened, Some(1_000));
}

#[test]
fn a_clock_that_is_set_back_years_does_not_keep_it_from_opening() {
    let (breaker, _) = opened_at(START);
    _ = breaker.probe_succeeded(at_ms(100));
    let call = breaker.admits().expect("it has closed");
    let long_ago = Timestamp::from_secs(1);
    let opened: u32 = (0..BREAKER_FAILURES).map(|_| u32::from(breaker.failed(call, long_ago))).sum();
    assert_eq!(opened, 1);
}

#[test]
fn of_threads_that_fail_together_one_is_told_that_it_opened() {
    for _ in 0..200 {
        let (breaker, barrier) = (Breaker::default(), Barrier::new(4));
        let fail = || {
            barrier.wait();
            let fail_once = || breaker.admits().is_some_and(|call| breaker.failed(call, START));
            (0..BREAKER_FAILURES).filter(|_| fail_once()).count()
        };
        let told: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(fail)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        });
        assert_eq!((told, breaker.episodes(), breaker.is_open()), (1, 1, true));
    }
}

#[test]
fn probes_come_every_100_milliseconds_more_or_less_a_fifth() {
    let pause = next_probe;
    assert_eq!([pause(0), pause(20_000_000), pause(40_000_000)], [80, 100, 120].map(Nanos::from_millis));
    assert!(
        (0..10_000)
            .map(|n: u64| pause(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
            .all(|p| pause(0) <= p && p <= pause(40_000_000))
    );
}

#[test]
fn callers_in_a_hurry_open_it_by_time_alone_however_many_they_are() {
    let breaker = Breaker::default();
    let call = breaker.admits().expect("it is closed");
    for _ in 0..1_000 {
        assert!(!breaker.failed_in_a_hurry(call, at_ms(49)));
    }
    // A patient one more is one too many.
    let patient = Breaker::default();
    let other = patient.admits().expect("it is closed");
    assert!((0..100).all(|_| !patient.failed_in_a_hurry(other, at_ms(0))));
    assert!(patient.failed(other, at_ms(0)));
    // So is time in which there was nothing else.
    assert!(breaker.failed_in_a_hurry(call, at_ms(99)));
}

#[test]
fn one_call_in_a_hundred_that_is_slow_never_opens_it() {
    let breaker = Breaker::default();
    let mut random: u64 = 1;
    // A thousand calls a second for a thousand seconds.
    for ms in 0..1_000_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let call = breaker.admits().expect("it never opens");
        if (random >> 33).is_multiple_of(100) {
            assert!(!breaker.failed(call, at_ms(ms)));
        } else {
            breaker.succeeded(call);
        }
    }
}

/// What happens to a breaker, so many milliseconds after what happened before.
#[derive(Clone, Copy, Debug)]
enum Event {
    Success,
    Failure,
    Probe,
    /// A call that was admitted in the generation before fails.
    LateFailure,
}

/// By the book: keeps the times of all failures since the last success.
#[derive(Default)]
struct Book {
    open: bool,
    failures: Vec<Timestamp>,
    opened_at: Option<Timestamp>,
}

impl Book {
    fn failure(&mut self, now: Timestamp) -> bool {
        self.failures.push(now);
        let lasts = now.since(self.failures[0]);
        let enough = self.failures.len() >= 20 || (self.failures.len() >= 2 && lasts >= Nanos::from_millis(50));
        let opens = enough && self.opened_at.is_none_or(|then| now.since(then) >= Nanos::SECOND);
        if opens {
            (self.open, self.opened_at) = (true, Some(now));
            self.failures.clear();
        }
        opens
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_opens_and_closes_by_the_book(
        events in prop::collection::vec((
            prop_oneof![4 => Just(0u64), 4 => 0u64..30, 1 => 0u64..900],
            prop::sample::select(vec![
                Event::Failure, Event::Failure, Event::Failure, Event::Failure, Event::Success, Event::Probe, Event::LateFailure,
            ]),
        ), 0..300),
    ) {
        let (breaker, mut book) = (Breaker::default(), Book::default());
        let (mut ms, mut late) = (0, None);
        let mut present = breaker.admits();
        for (pause, event) in events {
            ms += pause;
            let now = at_ms(ms);
            match (event, breaker.admits()) {
                (Event::Success, Some(call)) => {
                    breaker.succeeded(call);
                    book.failures.clear();
                }
                (Event::Failure, Some(call)) => prop_assert_eq!(breaker.failed(call, now), book.failure(now), "at {} ms", ms),
                (Event::Probe, _) => {
                    prop_assert_eq!(breaker.probe_succeeded(now).is_some(), book.open);
                    book.open = false;
                }
                (Event::LateFailure, _) => prop_assert!(late.is_none_or(|call| !breaker.failed(call, now))),
                (_, None) => {}
            }
            prop_assert_eq!(breaker.is_open(), book.open);
            if let Some(call) = breaker.admits() && Some(call) != present {
                (late, present) = (present, Some(call));
            }
        }
    }
}
