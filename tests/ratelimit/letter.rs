//! Where refused requests are charged too (`count_denied`), the answers are those of envoyproxy/ratelimit, field by field:
//! any rules, any requests, any switches. The one thing beside them is the dynamic metadata, which is always there.

use proptest::prelude::*;
use serde_json::json;
use tallygate::{
    config::DomainDefaults,
    grpc::proto::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
        rate_limit_descriptor::{Entry, RateLimitOverride},
    },
};

use crate::{
    book::{Limit, Modes, Ratelimit, Rule, UNITS, Unit},
    here::{Here, to_the_letter},
};

/// A Thursday, at midnight: weeks and days begin together, and a few of everything stand before it.
const START: u64 = 1_767_830_400;

const KEYS: [&str; 2] = ["a", "b"];
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

fn limit() -> impl Strategy<Value = Limit> {
    let name = prop::option::of(prop::sample::select(&NAMES[..]));
    let replaces = prop::collection::vec(prop::sample::select(&NAMES[..]), 0..2);
    (0u32..6, prop::bool::weighted(0.1), name, replaces).prop_map(|(count, unlimited, name, mut replaces)| {
        // A limit that replaces itself does not load.
        replaces.retain(|replaced| Some(*replaced) != name);
        Limit { count, unlimited, name, replaces }
    })
}

fn rule(children: BoxedStrategy<Vec<Rule>>) -> impl Strategy<Value = Rule> {
    let value = prop::sample::select(vec![None, Some(""), Some("x"), Some("y"), Some("x*"), Some("*y"), Some("*")]);
    let limit = prop::option::weighted(0.8, limit());
    let modes = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (prop::sample::select(&KEYS[..]), value, limit, modes, children).prop_map(
        |(key, value, limit, (shadow, quota, share), children)| Rule {
            key,
            value,
            shadow: shadow && limit.is_some(),
            // Both at once is one of the deliberate differences.
            quota: quota && !shadow && limit.is_some(),
            share: share && value.is_some_and(|value| value.contains('*')),
            limit,
            children,
        },
    )
}

/// A level of a file: no rule twice.
fn level(rules: Vec<Rule>) -> Vec<Rule> {
    let mut level: Vec<Rule> = Vec::new();
    for rule in rules {
        let place = |rule: &Rule| (rule.key, rule.value.unwrap_or_default());
        if !level.iter().any(|other| place(other) == place(&rule)) {
            level.push(rule);
        }
    }
    level
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let leaf = prop::collection::vec(rule(Just(Vec::new()).boxed()), 0..4).prop_map(level).boxed();
    prop::collection::vec(rule(leaf), 1..6).prop_map(level)
}

fn descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    // None looks like a pattern, to which that service would send it: one of the deliberate differences.
    let value = prop::sample::select(vec!["", "x", "y", "xx", "xy", "zy", "z"]);
    let entry = (prop::sample::select(&KEYS[..]), value)
        .prop_map(|(key, value)| Entry { key: key.into(), value: value.into() });
    let limit = prop::option::weighted(0.15, 1u32..6);
    (prop::collection::vec(entry, 1..3), prop::option::weighted(0.3, 0u64..4), limit).prop_map(
        |(entries, hits_addend, limit)| RateLimitDescriptor {
            entries,
            hits_addend,
            // The unit is that of the case.
            limit: limit
                .map(|requests_per_unit| RateLimitOverride { requests_per_unit, ..RateLimitOverride::default() }),
            ..RateLimitDescriptor::default()
        },
    )
}

fn request() -> impl Strategy<Value = RateLimitRequest> {
    let hits = prop::sample::select(vec![0u32, 0, 0, 1, 3]);
    (prop::collection::vec(descriptor(), 1..4), hits).prop_map(|(descriptors, hits_addend)| RateLimitRequest {
        domain: b"d".to_vec(),
        descriptors,
        hits_addend,
    })
}

/// The request without what the deliberate differences are about, its limits in the unit of the case.
fn fitted(mut request: RateLimitRequest, unit: Unit, rules: &[Rule]) -> RateLimitRequest {
    let (alone, bans) = (counts_alone(rules), any(rules, &is_ban));
    for descriptor in &mut request.descriptors {
        if bans && descriptor.hits_addend == Some(0) {
            descriptor.hits_addend = None;
        }
        if alone {
            descriptor.limit = None;
        }
        if let Some(limit) = &mut descriptor.limit {
            limit.unit = unit.number;
        }
    }
    request
}

fn file(rules: &[Rule], unit: Unit) -> String {
    let rules: Vec<_> = rules.iter().map(|rule| rule.file(unit)).collect();
    json!({"domain": "d", "descriptors": rules}).to_string()
}

/// Whether a rule counts on other counters than a limit in its place would: shadows do, shared ones, and what has a limit of
/// 0 counts nothing.
fn counts_alone(rules: &[Rule]) -> bool {
    any(rules, &|rule| rule.share || rule.shadow || is_ban(rule))
}

fn is_ban(rule: &Rule) -> bool {
    rule.limit.as_ref().is_some_and(|limit| limit.count == 0)
}

fn any(rules: &[Rule], is: &dyn Fn(&Rule) -> bool) -> bool {
    rules.iter().any(|rule| is(rule) || any(&rule.children, is))
}

fn without_metadata(answer: RateLimitResponse) -> RateLimitResponse {
    RateLimitResponse { dynamic_metadata: None, ..answer }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, source_file: Some(file!()), ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_that_of_the_book(
        rules in rules(),
        unit in prop::sample::select(&UNITS[..]),
        modes in (prop::bool::weighted(0.1), prop::bool::weighted(0.2)),
        steps in prop::collection::vec((0u64..40, request()), 1..25),
    ) {
        let modes = Modes { shadow: modes.0, quota: modes.1 };
        let mut theirs = Ratelimit::new(&rules, unit, modes);
        let defaults =
            DomainDefaults { shadow_mode: modes.shadow, quota_mode: modes.quota, ..to_the_letter() };
        let text = file(&rules, unit);
        let ours = Here::with(&text, defaults);
        let mut now = START;
        for (step, (parts, request)) in steps.into_iter().enumerate() {
            // Most steps stay in a window.
            now += parts * unit.secs / 100;
            let request = fitted(request, unit, &rules);
            let (theirs, ours) = (theirs.answer(&request, now), without_metadata(ours.answer(&request, now)));
            prop_assert_eq!(ours, theirs, "step {}: {:?}\n{}", step, request, text);
        }
    }
}
