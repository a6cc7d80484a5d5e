//! A machine that stands still: a virtual one does while it is copied or moved, for many seconds, and then every deadline
//! is over at once.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// How often a test is run at the most.
const RUNS: usize = 3;
/// Between two looks at the clock.
const BEAT: Duration = Duration::from_millis(10);
/// A machine that has so much else to do that a beat comes so late stands still as well.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Runs a test that holds programs to their deadlines. Where it fails and the machine stood still meanwhile, that says
/// nothing, and it is run again; where it did not, it fails.
pub fn again_if_the_machine_stood_still(test: impl Fn()) {
    again_if(|longest| longest >= STANDSTILL, test);
}

fn again_if(excused: impl Fn(Duration) -> bool, test: impl Fn()) {
    for _ in 1..RUNS {
        let (outcome, longest) = watched(|| panic::catch_unwind(AssertUnwindSafe(&test)));
        match outcome {
            Ok(()) => return,
            Err(_) if excused(longest) => eprintln!("the machine stood still for {longest:?}: once more"),
            Err(panic) => panic::resume_unwind(panic),
        }
    }
    test();
}

/// What it returns, and the longest time in which a thread that wants to run now and then did not.
#[expect(clippy::disallowed_methods, reason = "it is real time that stands still")]
fn watched<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Relaxed) {
                let began = Instant::now();
                thread::sleep(BEAT);
                longest = longest.max(began.elapsed());
            }
            longest
        });
        let outcome = run();
        over.store(true, Relaxed);
        (outcome, watch.join().expect("a clock can be looked at"))
    })
}

#[test]
fn a_test_that_fails_is_run_again_only_where_the_machine_is_to_blame_and_a_few_times_at_most() {
    for (excused, fails, runs, passes) in
        [(false, 0, 1, true), (false, 1, 1, false), (true, 1, 2, true), (true, 2, 3, true), (true, 9, 3, false)]
    {
        let run = AtomicUsize::new(0);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            again_if(|_| excused, || assert!(run.fetch_add(1, Relaxed) >= fails, "this one fails, as it should"));
        }));
        assert_eq!((run.into_inner(), outcome.is_ok()), (runs, passes), "excused: {excused}, fails {fails} times");
    }
}
