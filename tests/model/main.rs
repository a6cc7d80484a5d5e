//! The whole core against a model that keeps full histories: random rules, requests, costs, refunds, clock moves and
//! reloads, decided by the real thing (YAML, matching, the memory store, the decision) and by the book, step for step.

mod book;

use std::{fmt::Write as _, path::Path};

use proptest::prelude::*;
use tallygate::{
    config::{Compiled, DomainDefaults, RuleFile, compile},
    decision::{decide, plan},
    request::{Ask, Descriptor, Entry, Request},
    rules::identity::HashKey,
    store::memory::Memory,
    units::Timestamp,
};

use book::{Algorithm, Book, LimitSpec, Mode, RuleSpec, Rules};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in nanoseconds.
    Wait(u64),
    /// (key, value, what it asks) for each descriptor.
    Request(Vec<(usize, usize, Ask)>),
    /// The operator saves other rules.
    Reload(Rules),
}

const KEYS: [&str; 3] = ["account", "address", "tokens"];
const VALUES: [&str; 3] = ["v0", "v1", "v2"];

fn yaml(rules: &Rules) -> String {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for (key, rule) in KEYS.iter().zip(&rules.for_all) {
        write_rule(&mut text, &format!("key: {key}"), rule);
    }
    if let Some((key, rule)) = &rules.for_v1 {
        write_rule(&mut text, &format!("key: {}, value: v1", KEYS[*key]), rule);
    }
    text
}

fn write_rule(text: &mut String, matcher: &str, rule: &RuleSpec) {
    let mode = match rule.mode {
        Mode::Enforce => "",
        Mode::Quota => ", mode: quota",
        Mode::Shadow => ", mode: shadow",
        Mode::Overdraw => ", overdraw: true",
        Mode::Exempt => ", exempt: true",
        Mode::Deny => ", deny: true",
    };
    let limits = rule.limits.iter().map(|limit| {
        let (algorithm, burst) = match limit.algorithm {
            Algorithm::Fixed => ("fixed_window", String::new()),
            Algorithm::Sliding => ("sliding_window", String::new()),
            Algorithm::Bucket { burst } => ("token_bucket", format!(", burst: {burst}")),
        };
        format!(
            "{{rate: {}/{}s, algorithm: {algorithm}{burst}, name: {algorithm}-{}}}",
            limit.count, limit.secs, limit.secs
        )
    });
    let limits: Vec<String> = limits.collect();
    let limits = if rule.counts() { format!(", limits: [{}]", limits.join(", ")) } else { String::new() };
    writeln!(text, "  - {{{matcher}{mode}{limits}}}").expect("a String can be written to");
}

fn load(rules: &Rules) -> Compiled {
    let text = yaml(rules);
    let file = RuleFile { name: "model".into(), path: "model.yaml".into(), text: text.clone().into() };
    let no_lists = &mut |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    compile(&[file], DomainDefaults::default(), no_lists).unwrap_or_else(|errors| panic!("{errors:?} in\n{text}"))
}

/// What was decided, in the terms that the book knows.
#[derive(Debug, PartialEq, Eq)]
struct Decided {
    refused: bool,
    statuses: Vec<bool>,
    retry_after_secs: Option<u64>,
    never: bool,
}

fn decided(compiled: &Compiled, memory: &Memory, now: Timestamp, asks: &[(usize, usize, Ask)]) -> Decided {
    let mut request = Request { domain: b"d", ..Request::default() };
    for &(key, value, ask) in asks {
        let (hits, gives_back) = match ask {
            Ask::Take(hits) => (hits, false),
            Ask::Look => (0, false),
            Ask::GiveBack(hits) => (hits, true),
        };
        request.descriptors.push(Descriptor {
            first_entry: u32::try_from(request.entries.len()).expect("few"),
            entry_count: 1,
            limit: None,
            hits: Some(hits),
            gives_back,
        });
        request.entries.push(Entry { key: KEYS[key].as_bytes(), value: VALUES[value].as_bytes() });
    }
    let domain = &compiled.rules.domains[&b"d"[..]];
    let find = |descriptor: &Descriptor| domain.find(request.entries_of(descriptor), None, &HashKey([3; 16]));
    let found: Vec<_> = request.descriptors.iter().map(find).collect();
    let plan = plan(Some(domain), &request, &found);
    let verdicts = memory.charge(now, &plan.charges);
    let decision = decide(now, Some(domain), &found, &plan, &verdicts);
    Decided {
        refused: decision.refused,
        statuses: decision.statuses.iter().map(|status| status.refused).collect(),
        retry_after_secs: decision.answer.as_ref().and_then(|answer| answer.retry_after_secs),
        never: decision.answer.as_ref().is_some_and(|answer| answer.never),
    }
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
    (mode, prop::collection::vec(limit(), 1..4)).prop_map(|(mode, mut limits)| {
        // Two limits of one rule with the same counter are an error.
        let mut seen = Vec::new();
        limits.retain(|limit| {
            let counter = (limit.algorithm.kind(), limit.secs);
            let new = !seen.contains(&counter);
            seen.push(counter);
            new
        });
        RuleSpec { mode, limits }
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

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![
        3 => 0u64..2_000_000_000,
        2 => (0u64..40).prop_map(|secs| secs * 1_000_000_000),
        1 => 0u64..130_000_000_000,
    ];
    prop_oneof![
        4 => wait.prop_map(Step::Wait),
        12 => prop::collection::vec((0usize..3, 0usize..3, ask()), 1..4).prop_map(Step::Request),
        1 => rules().prop_map(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn everything_is_decided_by_the_book(first in rules(), steps in prop::collection::vec(step(), 1..30)) {
        // An edge of both windows.
        let mut now = Timestamp::from_secs(1_800_000_000);
        let (mut rules, mut compiled) = (first.clone(), load(&first));
        let (memory, mut book) = (Memory::new(10_000), Book::default());
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Wait(nanos) => now = Timestamp(now.0 + nanos),
                Step::Reload(next) => (rules, compiled) = (next.clone(), load(next)),
                Step::Request(asks) => {
                    let ours = decided(&compiled, &memory, now, asks);
                    let theirs = book.decide(&rules, now, asks);
                    prop_assert_eq!(ours.refused, theirs.refused, "step {}: {:?}", number, asks);
                    prop_assert_eq!(&ours.statuses, &theirs.statuses, "step {}: {:?}", number, asks);
                    if ours.refused {
                        promise_is_true(&book, &rules, now, asks, &ours)?;
                    }
                }
            }
        }
    }
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
