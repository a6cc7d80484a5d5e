//! Where we differ from envoyproxy/ratelimit on purpose, in its place too: a test for each line of `docs/migrating.md`.

use tallygate::{
    config::DomainDefaults,
    grpc::proto::{
        RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
        rate_limit_descriptor::{Entry, RateLimitOverride},
        rate_limit_response::Code,
    },
};

use crate::here::{Here, in_its_place, load, to_the_letter};

/// In the middle of a day.
const NOW: u64 = 1_767_873_600;

fn rules(descriptors: &str, defaults: DomainDefaults) -> Here {
    Here::with(&format!("domain: d\ndescriptors: {descriptors}\n"), defaults)
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |&(key, value): &(&str, &str)| Entry { key: key.into(), value: value.into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

fn request(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: b"d".to_vec(), descriptors, hits_addend: 0 }
}

fn one(entries: &[(&str, &str)]) -> RateLimitRequest {
    request(vec![descriptor(entries)])
}

fn hits(entries: &[(&str, &str)], hits: u64) -> RateLimitRequest {
    request(vec![RateLimitDescriptor { hits_addend: Some(hits), ..descriptor(entries) }])
}

fn limited(entries: &[(&str, &str)], requests_per_unit: u32, unit: i32) -> RateLimitRequest {
    let limit = RateLimitOverride { requests_per_unit, unit, unit_multiplier: None };
    request(vec![RateLimitDescriptor { limit: Some(limit), ..descriptor(entries) }])
}

impl Here {
    fn refuses(&self, request: &RateLimitRequest) -> bool {
        self.answer(request, NOW).overall_code() == Code::OverLimit
    }

    fn remaining(&self, request: &RateLimitRequest) -> u32 {
        self.answer(request, NOW).statuses[0].limit_remaining
    }
}

fn has_limit(answer: &RateLimitResponse) -> bool {
    answer.statuses[0].current_limit.is_some()
}

const FIVE_A_DAY: &str = "[{key: k, rate_limit: {unit: day, requests_per_unit: 5}}]";

#[test]
fn a_refused_request_charges_nothing() {
    let rules = rules(
        "[{key: k, rate_limit: {unit: day, requests_per_unit: 5}}, {key: j, rate_limit: {unit: day, requests_per_unit: 1}}]",
        in_its_place(),
    );
    assert!(!rules.refuses(&one(&[("j", "v")])));
    let both = request(vec![descriptor(&[("k", "v")]), descriptor(&[("j", "v")])]);
    assert!(rules.refuses(&both) && rules.refuses(&hits(&[("k", "v")], 6)));
    assert_eq!(rules.remaining(&one(&[("k", "v")])), 4, "this hit alone was charged");
}

#[test]
fn a_look_at_a_full_counter_is_over() {
    for (defaults, over) in [(in_its_place(), true), (to_the_letter(), false)] {
        let rules = rules(FIVE_A_DAY, defaults);
        assert!(!rules.refuses(&hits(&[("k", "v")], 5)));
        assert_eq!(rules.refuses(&hits(&[("k", "v")], 0)), over);
    }
}

#[test]
fn refusals_tell_when_to_come_again_unless_all_is_to_the_letter() {
    for (defaults, told) in [(in_its_place(), true), (to_the_letter(), false)] {
        let rules = rules(FIVE_A_DAY, defaults);
        let refused = rules.answer(&hits(&[("k", "v")], 6), NOW);
        assert_eq!(refused.response_headers_to_add.iter().any(|header| header.key == "retry-after"), told);
    }
}

#[test]
fn hits_are_given_back() {
    let rules = rules(FIVE_A_DAY, to_the_letter());
    assert!(!rules.refuses(&hits(&[("k", "v")], 5)));
    let mut back = hits(&[("k", "v")], 3);
    back.descriptors[0].is_negative_hits = true;
    assert_eq!(rules.remaining(&back), 3);
}

#[test]
fn a_limit_of_nothing_counts_nothing() {
    let rules = rules("[{key: k, rate_limit: {unit: day, requests_per_unit: 0}}]", to_the_letter());
    assert!(rules.refuses(&one(&[("k", "v")])));
    assert!(!rules.refuses(&hits(&[("k", "v")], 0)), "there is nothing to see");
    assert_eq!(rules.remaining(&limited(&[("k", "v")], 5, 4)), 4, "and nothing to be above");
}

#[test]
fn a_limit_in_shadow_counts_alone() {
    let rules = rules("[{key: k, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 5}}]", to_the_letter());
    assert_eq!(rules.remaining(&limited(&[("k", "v")], 5, 4)), 4);
    assert_eq!(rules.remaining(&one(&[("k", "v")])), 4, "not 3");
}

#[test]
fn limits_of_two_units_count_apart() {
    // At a time when an hour and a day begin together.
    let midnight = NOW - NOW % 86_400;
    let rules = rules(FIVE_A_DAY, to_the_letter());
    rules.answer(&hits(&[("k", "v")], 5), midnight);
    let by_the_hour = rules.answer(&limited(&[("k", "v")], 5, 3), midnight);
    assert_eq!(by_the_hour.statuses[0].limit_remaining, 4);
}

#[test]
fn a_limit_that_comes_with_the_request_counts_as_the_rule_does() {
    let rules = rules(
        "[{key: k, value: 'v*', share_threshold: true, rate_limit: {unit: day, requests_per_unit: 5}}]",
        to_the_letter(),
    );
    rules.answer(&limited(&[("k", "v1")], 9, 4), NOW);
    assert_eq!(rules.remaining(&limited(&[("k", "v2")], 9, 4)), 7, "all values of the rule together");
}

#[test]
fn no_number_of_hits_breaks_a_counter() {
    for defaults in [in_its_place(), to_the_letter()] {
        let rules = rules(FIVE_A_DAY, defaults);
        for many in [u64::MAX, 1 << 63, (1 << 63) - 1] {
            assert!(rules.refuses(&hits(&[("k", "v")], many)));
        }
        assert!(rules.answer(&one(&[("k", "other")]), NOW).overall_code() == Code::Ok);
        assert_eq!(
            rules.answer(&one(&[("k", "v")]), NOW + 86_400).overall_code(),
            Code::Ok,
            "the next day is a new one"
        );
    }
}

#[test]
fn keys_and_values_are_not_joined() {
    let rules = rules(
        "[{key: a_b, rate_limit: {unit: day, requests_per_unit: 5}}, {key: a, value: b_c, rate_limit: {unit: day, \
         requests_per_unit: 5}}, {key: a, descriptors: [{key: c, rate_limit: {unit: day, requests_per_unit: 5}}]}]",
        to_the_letter(),
    );
    assert!(!has_limit(&rules.answer(&one(&[("a", "b")]), NOW)), "(a, b) is not the key a_b");
    assert_eq!(rules.remaining(&one(&[("a_b", "c")])), 4);
    assert_eq!(rules.remaining(&one(&[("a", "b_c")])), 4, "(a_b, c) is not (a, b_c)");
    // Nor do (a, "b_c_d") and (a, b), (c, d) share a counter.
    let rules = rules_of_two_depths();
    rules.answer(&one(&[("a", "b_c_d")]), NOW);
    assert_eq!(rules.remaining(&one(&[("a", "b"), ("c", "d")])), 4);
}

fn rules_of_two_depths() -> Here {
    rules(
        "[{key: a, rate_limit: {unit: day, requests_per_unit: 5}, descriptors: [{key: c, rate_limit: {unit: day, \
         requests_per_unit: 5}}]}]",
        to_the_letter(),
    )
}

#[test]
fn a_value_that_looks_like_a_pattern_is_a_value() {
    let rules = rules(
        "[{key: k, value: '*', rate_limit: {unit: day, requests_per_unit: 5}}, {key: k, value: 'v*', rate_limit: {unit: day, \
         requests_per_unit: 9}}]",
        to_the_letter(),
    );
    assert_eq!(rules.remaining(&one(&[("k", "v*")])), 4, "the first pattern that matches, as for any other value");
}

#[test]
fn a_star_in_a_key_is_an_error() {
    let text = "domain: d\ndescriptors: [{key: 'us*', rate_limit: {unit: day, requests_per_unit: 5}}]\n";
    let errors = load(text, in_its_place()).unwrap_err();
    assert!(errors[0].to_string().ends_with("help: wildcards stand in `value`"), "{errors:?}");
}

#[test]
fn addresses_are_the_same_however_they_are_written() {
    let rules = rules("[{key: remote_address, rate_limit: {unit: day, requests_per_unit: 5}}]", to_the_letter());
    let remaining = |address| rules.remaining(&one(&[("remote_address", address)]));
    assert_eq!([remaining("192.0.2.1"), remaining("::ffff:192.0.2.1")], [4, 3]);
    assert_eq!([remaining("2001:db8::1"), remaining("2001:DB8:0::1")], [4, 3]);
    // A rule in its form counts each address alone, though they may be one subscriber's.
    assert_eq!(remaining("2001:db8::2"), 4);
}

#[test]
fn a_limit_without_a_unit_is_passed_over() {
    let rules = rules(FIVE_A_DAY, to_the_letter());
    for unit in [0, 99] {
        let answer = rules.answer(&limited(&[("k", "v")], 1, unit), NOW);
        assert_eq!(answer.statuses[0].current_limit.as_ref().unwrap().requests_per_unit, 5, "{unit}: the rule's");
    }
}

#[test]
fn what_is_in_shadow_and_a_quota_is_no_quota_with_room() {
    let rules = rules(
        "[{key: a, shadow_mode: true, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 0}}, {key: b, quota_mode: \
         true, rate_limit: {unit: day, requests_per_unit: 0}}]",
        to_the_letter(),
    );
    assert!(rules.refuses(&request(vec![descriptor(&[("a", "v")]), descriptor(&[("b", "v")])])));
}

#[test]
fn numbers_that_are_values_are_texts() {
    let rules = rules("[{key: k, value: 1.5, rate_limit: {unit: day, requests_per_unit: 5}}]", to_the_letter());
    assert!(has_limit(&rules.answer(&one(&[("k", "1.5")]), NOW)));
}

#[test]
fn a_rule_of_ours_may_stand_beside_theirs() {
    let rules = rules(
        "[{key: k, rate_limit: {unit: day, requests_per_unit: 5}}, {key: j, name: per-j, limits: [2/30s, 9/hour]}]",
        in_its_place(),
    );
    assert!(rules.refuses(&hits(&[("j", "v")], 3)) && rules.refuses(&hits(&[("k", "v")], 6)));
}
