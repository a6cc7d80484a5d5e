//! The whole core against a model that keeps full histories: random rules, requests, costs, refunds, clock moves and
//! reloads, decided by the real thing (YAML, matching, the memory store, the decision) and by the book, step for step.

mod book;
mod clock;
mod flood;
mod on_redis;
mod real;
mod same_answers;
#[path = "../common/redis/mod.rs"]
#[allow(dead_code, reason = "more than one test's servers")]
mod servers;
mod short_windows;

use std::sync::Arc;

use proptest::{prelude::*, test_runner::TestRunner};
use tallygate::{request::Ask, units::Timestamp};

use book::{Algorithm, Book, LimitSpec, Mode, RuleSpec, Rules};
use on_redis::{OnRedis, calls_of};
use real::{Counters, Decided, Real, load};

/// An edge of all windows.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in nanoseconds.
    Wait(u64),
    /// (key, value, what it asks) for each descriptor.
    Request(Vec<(usize, usize, Ask)>),
    /// The operator saves other rules.
    Reload(Rules),
    /// The operator lifts the block on a key's value.
    Lift(usize, usize),
    /// The operator empties the counters of a key's value: those that count now, or whatever begins so.
    Reset { key: usize, value: usize, beginning: bool },
    /// The operator refuses a key's value for so many seconds.
    Block(usize, usize, u64),
    /// The operator gives a key's value other limits, or those of its rule again.
    Override(usize, usize, Option<Vec<LimitSpec>>),
}

fn limit() -> impl Strategy<Value = LimitSpec> {
    let algorithm = prop_oneof![
        2 => Just(Algorithm::Fixed),
        1 => Just(Algorithm::Sliding),
        1 => (1u64..9).prop_map(|burst| Algorithm::Bucket { burst }),
    ];
    (algorithm, prop::sample::select(vec![10u64, 60]), 0u64..9).prop_map(|(algorithm, secs, count)| LimitSpec {
        algorithm,
        secs,
        count,
    })
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    let mode = prop_oneof![
        12 => Just(Mode::Enforce),
        3 => Just(Mode::Quota),
        3 => Just(Mode::Shadow),
        3 => Just(Mode::Overdraw),
        1 => Just(Mode::Exempt),
        1 => Just(Mode::Deny),
    ];
    // Shorter and longer than the windows.
    let block_secs = prop::option::weighted(0.4, prop::sample::select(vec![5u64, 30, 100]));
    (mode, limits(), block_secs).prop_map(|(mode, limits, block_secs)| RuleSpec { mode, limits, block_secs })
}

fn limits() -> impl Strategy<Value = Vec<LimitSpec>> {
    prop::collection::vec(limit(), 1..4).prop_map(|mut limits| {
        // Two limits of one rule with the same counter are an error.
        let mut seen = Vec::new();
        limits.retain(|limit| {
            let counter = (limit.algorithm.kind(), limit.secs);
            let new = !seen.contains(&counter);
            seen.push(counter);
            new
        });
        limits
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    ([rule(), rule(), rule()], prop::option::weighted(0.5, (0usize..3, rule())))
        .prop_map(|(for_all, for_v1)| Rules { for_all, for_v1 })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        8 => (1u64..5).prop_map(Ask::Take),
        1 => Just(Ask::Look),
        2 => (0u64..5).prop_map(Ask::GiveBack),
        1 => prop::sample::select(vec![Ask::Take(u64::MAX), Ask::GiveBack(u64::MAX), Ask::Take(40)]),
    ]
}

/// Rules whose every charge may refuse.
fn enforcing_rules() -> impl Strategy<Value = Rules> {
    rules().prop_map(|mut rules| {
        let all = rules.for_all.iter_mut().chain(rules.for_v1.iter_mut().map(|(_, rule)| rule));
        all.for_each(|rule| rule.mode = Mode::Enforce);
        rules
    })
}

/// A request that gives nothing back.
fn takes() -> impl Strategy<Value = Vec<(usize, usize, Ask)>> {
    let ask = prop_oneof![6 => Just(Ask::Take(1)), 4 => (2u64..5).prop_map(Ask::Take), 1 => Just(Ask::Look)];
    prop_oneof![3 => 1usize..2, 1 => 2usize..4]
        .prop_flat_map(move |count| prop::collection::vec((0usize..3, 0usize..3, ask.clone()), count))
}

/// Nanoseconds that pass.
fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..2_000_000_000,
        2 => (0u64..40).prop_map(|secs| secs * 1_000_000_000),
        1 => 0u64..130_000_000_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => wait().prop_map(Step::Wait),
        12 => prop::collection::vec((0usize..3, 0usize..3, ask()), 1..4).prop_map(Step::Request),
        1 => rules().prop_map(Step::Reload),
        1 => (0usize..3, 0usize..3).prop_map(|(key, value)| Step::Lift(key, value)),
        1 => (0usize..3, 0usize..3, any::<bool>())
            .prop_map(|(key, value, beginning)| Step::Reset { key, value, beginning }),
        1 => (0usize..3, 0usize..3, 0u64..100).prop_map(|(key, value, secs)| Step::Block(key, value, secs)),
        1 => (0usize..3, 0usize..3, prop::option::of(limits()))
            .prop_map(|(key, value, limits)| Step::Override(key, value, limits)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn everything_is_decided_by_the_book(first in rules(), steps in prop::collection::vec(step(), 1..30)) {
        is_decided_by_the_book(Real::new(&first, 10_000), first, &steps)?;
    }
}

#[test]
fn everything_over_redis_is_decided_by_the_book() {
    let redis = OnRedis::start();
    let cases = (rules(), prop::collection::vec(step_in_micros(), 1..30));
    let mut runner =
        TestRunner::new(ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(2_000) });
    let decided = runner.run(&cases, |(first, steps)| {
        redis.forget();
        is_decided_by_the_book(Real::over(Counters::Redis(Arc::clone(&redis)), &first), first, &steps)
    });
    decided.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn everything_spread_over_a_cluster_is_decided_by_the_book() {
    let redis = OnRedis::start_spread();
    let steps = step_in_micros().prop_map(|step| match step {
        Step::Reload(rules) => Step::Reload(without_what_is_not_spread(rules)),
        Step::Request(asks) => Step::Request(unmixed(&asks)),
        other => other,
    });
    let cases = (any::<bool>(), rules().prop_map(without_what_is_not_spread), prop::collection::vec(steps, 1..30));
    let cases = cases.prop_map(|(changes, first, steps)| {
        if changes {
            (without_buckets(first), steps.into_iter().map(without_buckets_in).collect())
        } else {
            (first, unchanged(steps))
        }
    });
    let mut runner =
        TestRunner::new(ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(1_000) });
    let decided = runner.run(&cases, |(first, steps)| {
        redis.forget();
        is_decided_by_the_book(Real::over(Counters::Redis(Arc::clone(&redis)), &first), first, &steps)
    });
    decided.unwrap_or_else(|error| panic!("{error}"));
    for server in redis.servers() {
        assert!(calls_of(server, "evalsha") > 1_000, "it has a part in it");
        assert_eq!(server.keys_without_expiry(), [""; 0]);
    }
}

/// Steps that change no limit. What was taken in vain and given back leaves a bucket drained up to that moment by the rate it
/// had; where a refusal touched nothing, all the time since the last hit drains by the next rate. Both are right.
fn unchanged(steps: Vec<Step>) -> Vec<Step> {
    steps.into_iter().filter(|step| !matches!(step, Step::Reload(_) | Step::Override(..))).collect()
}

fn without_buckets(mut rules: Rules) -> Rules {
    for rule in rules.for_all.iter_mut().chain(rules.for_v1.iter_mut().map(|(_, rule)| rule)) {
        rule.limits = windows(std::mem::take(&mut rule.limits));
    }
    rules
}

fn without_buckets_in(step: Step) -> Step {
    match step {
        Step::Reload(rules) => Step::Reload(without_buckets(rules)),
        Step::Override(key, value, Some(limits)) => Step::Override(key, value, Some(windows(limits))),
        other => other,
    }
}

/// Those that are no buckets; one at the least.
fn windows(mut limits: Vec<LimitSpec>) -> Vec<LimitSpec> {
    limits.retain(|limit| !matches!(limit.algorithm, Algorithm::Bucket { .. }));
    if limits.is_empty() {
        limits.push(LimitSpec { algorithm: Algorithm::Fixed, secs: 60, count: 3 });
    }
    limits
}

/// Whom a request gives something back, it asks for nothing: of both, a fraction of a hit may stay taken.
fn unmixed(asks: &[(usize, usize, Ask)]) -> Vec<(usize, usize, Ask)> {
    let refunds = |ask: &Ask| matches!(ask, Ask::GiveBack(_));
    let first = |(key, value, _): &(usize, usize, Ask)| {
        asks.iter().find(|other| (other.0, other.1) == (*key, *value)).is_some_and(|other| refunds(&other.2))
    };
    asks.iter().copied().filter(|asked| refunds(&asked.2) == first(asked)).collect()
}

/// Whether a quota refuses is known by all of a request together, and no refusal may start a block where hits may be about to
/// be given back.
fn without_what_is_not_spread(mut rules: Rules) -> Rules {
    for rule in rules.for_all.iter_mut().chain(rules.for_v1.iter_mut().map(|(_, rule)| rule)) {
        if rule.mode == Mode::Quota {
            rule.mode = Mode::Enforce;
        }
        rule.block_secs = None;
    }
    rules
}

/// A step that takes whole microseconds, as Redis' clock does.
fn step_in_micros() -> impl Strategy<Value = Step> {
    step().prop_map(|step| match step {
        Step::Wait(nanos) => Step::Wait(nanos / 1_000 * 1_000),
        other => other,
    })
}

fn is_decided_by_the_book(mut real: Real, mut rules: Rules, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut now, mut book) = (START, Book::default());
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(nanos) => now = Timestamp(now.0 + nanos),
            Step::Reload(next) => (rules, real.compiled) = (next.clone(), load(next)),
            Step::Lift(key, value) if real.lift(now, *key, *value) => book.lift(*key, *value),
            Step::Lift(..) => {}
            Step::Reset { key, value, beginning } => {
                real.reset(now, *key, *value, *beginning);
                book.reset(&rules, *key, *value, *beginning);
            }
            Step::Block(key, value, secs) => {
                let until = Timestamp(now.0 + secs * 1_000_000_000);
                real.order_block(*key, *value, until);
                book.order_block(*key, *value, until);
            }
            Step::Override(key, value, limits) => {
                real.override_limits(*key, *value, limits.as_deref());
                book.override_limits(*key, *value, limits.clone());
            }
            Step::Request(asks) => {
                let ours = real.decide(now, asks);
                let theirs = book.decide(&rules, now, asks);
                prop_assert_eq!(ours.refused, theirs.refused, "step {}: {:?}", number, asks);
                prop_assert_eq!(&ours.statuses, &theirs.statuses, "step {}: {:?}", number, asks);
                if ours.refused {
                    promise_is_true(&book, &rules, now, asks, &ours)?;
                }
            }
        }
    }
    Ok(())
}

/// Ten years: far beyond every window here.
const FOR_EVER_SECS: u64 = 10 * 366 * 86_400;

/// Asks the book when the same request would pass: at the second that was promised, and not at the one before.
fn promise_is_true(
    book: &Book,
    rules: &Rules,
    now: Timestamp,
    asks: &[(usize, usize, Ask)],
    ours: &Decided,
) -> Result<(), TestCaseError> {
    // What the request itself gives back or overdraws changes what it meets the next time: then there is no such
    // thing as the same request.
    let repeats = asks
        .iter()
        .all(|&(key, value, ask)| !matches!(ask, Ask::GiveBack(_)) && rules.rule(key, value).mode != Mode::Overdraw);
    let refused_after = |secs: u64| {
        let then = Timestamp(now.0 + secs * 1_000_000_000);
        book.clone().decide(rules, then, asks).refused
    };
    match ours.retry_after_secs {
        // An overdrawn bucket may take longer to drain than time can be told.
        Some(secs) if repeats && secs > FOR_EVER_SECS => {
            prop_assert!(refused_after(FOR_EVER_SECS), "{:?} passes much earlier: {:?}", asks, rules);
        }
        Some(secs) if repeats && !ours.never => {
            prop_assert!(!refused_after(secs), "{:?} is refused after {} s: {:?}", asks, secs, rules);
            prop_assert!(secs == 1 || refused_after(secs - 1), "{:?} passes before {} s: {:?}", asks, secs, rules);
        }
        Some(_) if repeats => {
            prop_assert!((1..200).all(refused_after), "{:?} can pass after all: {:?}", asks, rules);
        }
        Some(_) => {}
        None => {
            let denies = asks.iter().any(|&(key, value, _)| rules.rule(key, value).mode == Mode::Deny);
            prop_assert!(denies, "{:?} was refused without a time", asks);
        }
    }
    Ok(())
}
