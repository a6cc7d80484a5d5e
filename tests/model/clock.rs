//! A clock that is set back and put right again. What is admitted can then not be told to the hit, but it stays bounded.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use tallygate::{request::Ask, units::Timestamp};

use crate::{
    START,
    book::{Algorithm, LimitSpec, Rules},
    enforcing_rules,
    real::Real,
    takes, wait,
};

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// The clock is set back by so many nanoseconds.
    Back(u64),
    /// The clock is put right: to the latest time it ever showed.
    PutRight,
    Request(Vec<(usize, usize, Ask)>),
    /// The store drops everything that has expired.
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![
        3 => 0u64..2_000_000_000,
        3 => 0u64..70_000_000_000,
        // Ten years, as where a machine starts without network time.
        1 => 0u64..315_000_000_000_000_000,
    ];
    prop_oneof![
        4 => wait().prop_map(Step::Wait),
        2 => back.prop_map(Step::Back),
        1 => Just(Step::PutRight),
        12 => takes().prop_map(Step::Request),
        1 => Just(Step::Sweep),
    ]
}

/// How the clock has run so far.
#[derive(Debug, Default)]
struct Course {
    forward_nanos: u64,
    back_nanos: u64,
    steps_back: u64,
    swept: bool,
}

/// What one counter was asked and has admitted.
#[derive(Debug, Default)]
struct Ledger {
    admitted: u64,
    windows: BTreeSet<u64>,
    /// The window it was last asked in, and how often the clock had been set back by then.
    last: Option<(u64, u64)>,
    /// How often one of the two was another than the time before.
    visits: u64,
}

impl Ledger {
    fn ask(&mut self, now: Timestamp, limit: &LimitSpec, course: &Course) {
        let window = now.0 / (limit.secs * 1_000_000_000);
        let place = Some((window, course.steps_back));
        self.visits += u64::from(self.last != place);
        self.last = place;
        self.windows.insert(window);
    }

    /// The most that may have been admitted, in units of 1/length of a hit.
    fn most(&self, limit: &LimitSpec, course: &Course) -> u128 {
        let (count, length) = (u128::from(limit.count), u128::from(limit.secs) * 1_000_000_000);
        match limit.algorithm {
            // A step back fills no bucket: only time that really passes drains it.
            Algorithm::Bucket { burst } => u128::from(burst) * length + count * u128::from(course.forward_nanos),
            // Set back by less than a window, none starts twice, unless the store dropped it when it was over.
            _ if !course.swept && u128::from(course.back_nanos) <= length => {
                count * self.windows.len() as u128 * length
            }
            // Set back further, a window starts at most once more for each time that the clock comes by.
            _ => count * u128::from(self.visits) * length,
        }
    }
}

/// The longest that anybody is told to wait: a bucket of eight hits that drains by one a minute, and the minute by which
/// the clock may have been set back.
const WAIT_SECS_MAX: u64 = 9 * 60;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_clock_set_back_costs_a_window_at_most_and_nobody_waits_for_years(
        rules in enforcing_rules(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (real, mut now, mut latest) = (Real::new(&rules, 10_000), START, START);
        let (mut course, mut ledgers) = (Course::default(), HashMap::new());
        for (number, step) in steps.iter().enumerate() {
            let before = now;
            match step {
                Step::Wait(nanos) => now = Timestamp(now.0 + nanos),
                Step::Back(nanos) => now = Timestamp(now.0.saturating_sub(*nanos)),
                Step::PutRight => now = latest,
                Step::Sweep => {
                    real.sweep(now);
                    course.swept = true;
                }
                Step::Request(asks) => {
                    let decided = real.decide(now, asks);
                    if let Some(secs) = decided.retry_after_secs.filter(|_| !decided.never) {
                        prop_assert!(secs <= WAIT_SECS_MAX, "step {}: {:?} waits for {} s", number, asks, secs);
                    }
                    enter(&mut ledgers, &course, &rules, now, asks, !decided.refused);
                    for (limit, ledger) in ledgers.values() {
                        let admitted = u128::from(ledger.admitted) * u128::from(limit.secs) * 1_000_000_000;
                        prop_assert!(admitted <= ledger.most(limit, &course), "step {}: {:?} {:?}", number, limit, ledger);
                    }
                }
            }
            course.forward_nanos += now.0.saturating_sub(before.0);
            course.steps_back += u64::from(now < before);
            course.back_nanos += before.0.saturating_sub(now.0);
            latest = latest.max(now);
        }
    }
}

/// Of each counter its limit, and what it was asked.
type Ledgers = HashMap<(usize, usize, u8, u64), (LimitSpec, Ledger)>;

fn enter(
    ledgers: &mut Ledgers,
    course: &Course,
    rules: &Rules,
    now: Timestamp,
    asks: &[(usize, usize, Ask)],
    admitted: bool,
) {
    for &(key, value, ask) in asks {
        for limit in &rules.rule(key, value).limits {
            let counter = (key, value, limit.algorithm.kind(), limit.secs);
            let (_, ledger) = ledgers.entry(counter).or_insert_with(|| (*limit, Ledger::default()));
            ledger.ask(now, limit, course);
            if let (Ask::Take(hits), true) = (ask, admitted) {
                ledger.admitted += hits;
            }
        }
    }
}
