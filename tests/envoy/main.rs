//! The service behind a real Envoy 1.40: what clients, upstreams and access logs see.
//!
//! Windows are a thousand days long where a test counts: none ends while it runs (the next one does in July 2027, and
//! then a test that straddles that midnight may fail once).

#![cfg(feature = "serve")]

#[path = "../common/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "shared with the tests of the service")]
mod client;
mod connections;
mod process;
mod programs;
mod rolling;
mod stage;
#[path = "../common/standstill.rs"]
mod standstill;
mod upstream;

use std::time::Duration;

use client::{Response, get};
use process::{eventually, within};
use serde_json::{Value, json};
use stage::{BY_API_KEY, Plan, Stage};

/// An edit is live within a second; the rest is for a busy machine.
const LIVE_WITHIN: Duration = Duration::from_secs(5);

const TWO_A_KEY: &str = "
domain: test
response: {headers: ratelimit}
descriptors:
  - {key: api_key, name: per-key, limits: [2/1000d]}
";

#[test]
fn an_accepted_request_carries_headers_and_a_refused_one_a_complete_429() {
    let stage = Plan {
        rules: r#"
domain: test
response:
  headers: ratelimit
  body:
    content_type: application/json
    template: '{"error": "{{ message }}", "retrySecs": {{ retry_after }}}'
descriptors:
  - {key: api_key, limits: [2/1000d]}
"#,
        ..Plan::default()
    }
    .start();

    for remaining in ["1", "0"] {
        let accepted = stage.get("/orders", "acme");
        assert_eq!((accepted.status, accepted.text()), (200, "upstream"));
        assert_eq!(accepted.header("ratelimit-limit"), "2, 2;w=86400000");
        assert_eq!(accepted.header("ratelimit-remaining"), remaining);
        assert!((1..=86_400_000).contains(&accepted.number("ratelimit-reset")));
        assert_eq!(accepted.header("content-type"), "text/plain", "the upstream's own");
        assert_eq!(accepted.headers_named("retry-after"), [""; 0]);
    }

    let refused = stage.get("/orders", "acme");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("ratelimit-limit"), "2, 2;w=86400000");
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    assert_eq!(refused.header("ratelimit-reset"), refused.header("retry-after"));
    assert!((1..=86_400_000).contains(&refused.number("retry-after")));
    assert_eq!(refused.header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&refused.body).expect("the body is JSON");
    assert_eq!(body["retrySecs"], json!(refused.number("retry-after")));
    assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");

    assert_eq!(stage.get("/orders", "globex").status, 200, "another key has a counter of its own");
    assert_eq!(stage.upstream.paths(), ["/orders"; 3], "what was refused never reached the upstream");
}

#[test]
fn two_windows_decide_together_and_a_refused_request_charges_neither() {
    let rules = |second: &str| {
        format!(
            "domain: test\nresponse: {{headers: ratelimit}}\n\
             descriptors: [{{key: api_key, limits: [4/1000d, {second}]}}]\n"
        )
    };
    let stage = Plan { rules: &rules("2/900d"), ..Plan::default() }.start();
    assert_statuses(&stage, "acme", &[200, 200, 429, 429, 429, 429]);
    let refused = stage.get("/", "acme");
    assert_eq!(refused.header("ratelimit-limit"), "2, 4;w=86400000, 2;w=77760000");
    assert_eq!(refused.header("ratelimit-remaining"), "0");

    // Had the refused ones been charged, the window of 1000 days would be used up now.
    stage.edit_rules(&rules("8/900d"));
    let mut accepted = refused;
    within(LIVE_WITHIN, "the raised limit lets a request through", || {
        accepted = stage.get("/", "acme");
        accepted.status == 200
    });
    assert_eq!(accepted.header("ratelimit-limit"), "4, 4;w=86400000, 8;w=77760000");
    assert_eq!(accepted.header("ratelimit-remaining"), "1");
}

#[test]
fn two_descriptors_are_charged_together_or_not_at_all() {
    let stage = Plan {
        rules: "
domain: test
response: {headers: ratelimit}
descriptors:
  - {key: api_key, limits: [5/1000d]}
  - {key: path, value: /scarce, limits: [1/1000d]}
",
        routes: r#"
- match: {prefix: /}
  route:
    cluster: upstream
    rate_limits:
      - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
      - actions: [{request_headers: {header_name: ":path", descriptor_key: path}}]
"#,
        ..Plan::default()
    }
    .start();

    assert_eq!(stage.get("/scarce", "acme").status, 200);
    for _ in 0..10 {
        assert_eq!(stage.get("/scarce", "acme").status, 429);
    }
    let accepted = stage.get("/plenty", "acme");
    assert_eq!((accepted.status, accepted.header("ratelimit-remaining")), (200, "3"));
}

/// `/peek` looks at the counter of the key without charging it; everything else charges it.
const WITH_PEEK: &str = r#"
- match: {prefix: /peek}
  route: {cluster: upstream}
  typed_per_filter_config:
    envoy.filters.http.ratelimit:
      "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
      rate_limits:
        - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
          hits_addend: {number: 0}
- match: {prefix: /paid-on-failure}
  route: {cluster: upstream}
  typed_per_filter_config:
    envoy.filters.http.ratelimit:
      "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
      rate_limits:
        - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
          hits_addend: {number: 1}
        - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
          apply_on_stream_done: true
          hits_addend:
            format: "%CEL(response.code_details == 'via_upstream' && response.code < 400 ? 1 : 0)%"
            is_negative_hits: true
- match: {prefix: /}
  route:
    cluster: upstream
    rate_limits:
      - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
"#;

#[test]
fn a_peek_looks_without_charging() {
    let stage = Plan { rules: TWO_A_KEY, routes: WITH_PEEK, ..Plan::default() }.start();
    for _ in 0..5 {
        let peek = stage.get("/peek", "acme");
        assert_eq!((peek.status, peek.header("ratelimit-remaining")), (200, "2"));
    }
    assert_statuses(&stage, "acme", &[200, 200]);
    assert_eq!(stage.get("/peek", "acme").status, 429, "one more would not fit");
}

#[test]
fn what_was_charged_in_advance_is_given_back_when_the_upstream_succeeds() {
    let stage = Plan { rules: TWO_A_KEY, routes: WITH_PEEK, ..Plan::default() }.start();
    let remaining = || stage.get("/peek", "acme").number("ratelimit-remaining");
    for _ in 0..4 {
        assert_eq!(stage.get("/paid-on-failure", "acme").status, 200);
        // Envoy gives back in a second call, after the client has its answer.
        eventually("the hit is given back", || remaining() == 2);
    }
    let failing = get("/paid-on-failure").header("x-api-key", "acme").header("x-answer", "401");
    assert_eq!(stage.send(&failing).status, 401);
    assert_eq!(stage.send(&failing).status, 401);
    assert_eq!(stage.send(&failing).status, 429, "two failures are all that is allowed");
    assert_eq!(stage.get("/paid-on-failure", "acme").status, 429);
}

#[test]
fn a_descriptor_without_entries_passes() {
    let stage = Plan {
        rules: TWO_A_KEY,
        routes: "
- match: {prefix: /}
  route:
    cluster: upstream
    rate_limits:
      - actions:
          - request_headers: {header_name: x-api-key, descriptor_key: api_key, skip_if_absent: true}
",
        ..Plan::default()
    }
    .start();
    for _ in 0..5 {
        assert_eq!(stage.send(&get("/")).status, 200, "Envoy sends a descriptor with nothing in it");
    }
    assert_statuses(&stage, "acme", &[200, 200, 429]);
}

#[test]
fn bytes_that_are_not_text_are_limited_like_any_others() {
    let stage = Plan { rules: TWO_A_KEY, ..Plan::default() }.start();
    let odd = get("/").header("x-api-key", b"caf\xe9 \xff\xfe\x80");
    let statuses = [(); 4].map(|()| stage.send(&odd).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
    let other = get("/").header("x-api-key", b"caf\xe9 \xff\xfe\x81");
    assert_eq!(stage.send(&other).status, 200, "one byte further on is another key");
}

#[test]
fn a_header_of_60_kib_in_five_descriptors_is_limited() {
    let stage = Plan {
        rules: "
domain: test
descriptors:
  - {key: a, limits: [2/1000d]}
  - {key: b, limits: [2/1000d]}
  - {key: c, limits: [2/1000d]}
  - {key: d, limits: [2/1000d]}
  - {key: e, limits: [2/1000d]}
",
        routes: "
- match: {prefix: /}
  route:
    cluster: upstream
    rate_limits:
      - actions: [{request_headers: {header_name: x-big, descriptor_key: a}}]
      - actions: [{request_headers: {header_name: x-big, descriptor_key: b}}]
      - actions: [{request_headers: {header_name: x-big, descriptor_key: c}}]
      - actions: [{request_headers: {header_name: x-big, descriptor_key: d}}]
      - actions: [{request_headers: {header_name: x-big, descriptor_key: e}}]
",
        ..Plan::default()
    }
    .start();
    let big = |last: char| get("/").header("x-big", "x".repeat(60 << 10) + &last.to_string());
    let statuses = [(); 4].map(|()| stage.send(&big('a')).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(stage.send(&big('b')).status, 200, "the last byte counts too");
}

#[test]
fn envoy_makes_its_own_headers_from_the_statuses() {
    let stage = Plan {
        rules: "domain: test\ndescriptors: [{key: api_key, limits: [2/1000d]}]\n",
        filter: "enable_x_ratelimit_headers: DRAFT_VERSION_03",
        ..Plan::default()
    }
    .start();
    for (status, remaining) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = stage.get("/", "acme");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-ratelimit-limit"), "2, 2;w=86400000");
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining);
        assert!((1..=86_400_000).contains(&answer.number("x-ratelimit-reset")));
    }
}

#[test]
fn the_access_log_says_which_rule_decided_and_why() {
    let stage = Plan {
        rules: "
domain: test
descriptors:
  - {key: api_key, name: per-key, limits: [{rate: 1/1000d, name: season}]}
",
        ..Plan::default()
    }
    .start();
    assert_statuses(&stage, "acme", &[200, 429]);

    let accepted = logged(&stage, 200);
    let expected = json!({"domain": "test", "rule": "per-key", "limit": 1, "window": "season", "remaining": 0});
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&accepted["decision"][name], value, "{name} of an accepted request: {accepted}");
    }
    assert_eq!(accepted["decision"]["store"], "memory");
    assert_eq!(accepted["decision"]["retry_after"], Value::Null);

    let refused = logged(&stage, 429);
    assert_eq!(refused["flags"], "RL");
    assert_eq!(refused["decision"]["rule"], "per-key");
    assert!(refused["decision"]["retry_after"].as_u64().is_some_and(|secs| secs >= 1), "{refused}");
}

#[test]
fn an_edited_rule_is_live_within_a_second_and_a_bad_edit_changes_nothing() {
    let stage = Plan { rules: TWO_A_KEY, ..Plan::default() }.start();
    let reload_worked = || stage.metric("tallygate_config_last_reload_success");
    assert_statuses(&stage, "acme", &[200, 200, 429]);

    stage.edit_rules(&TWO_A_KEY.replace("limits: [2/1000d]", "limits: [2/"));
    within(LIVE_WITHIN, "the bad edit is noticed", || reload_worked() == Some(0.0));
    assert_statuses(&stage, "acme", &[429]);
    assert_statuses(&stage, "globex", &[200, 200, 429]);

    stage.edit_rules(&TWO_A_KEY.replace("2/1000d", "3/1000d"));
    within(LIVE_WITHIN, "the raised limit lets a request through", || stage.get("/", "acme").status == 200);
    assert_eq!(reload_worked(), Some(1.0));
    assert_statuses(&stage, "acme", &[429]);
    assert_statuses(&stage, "globex", &[200, 429]);
}

#[test]
fn a_block_outlasts_its_window_and_edits_of_its_rule() {
    const WINDOW_SECS: u64 = 86_400_000;
    let rules = |count: &str| {
        format!(
            "domain: test\nresponse: {{headers: ratelimit}}\ndescriptors:\n\
             \x20 - {{key: api_key, limits: [{count}/1000d], on_exceed: {{block_for: 2000d}}}}\n"
        )
    };
    let stage = Plan { rules: &rules("1"), ..Plan::default() }.start();
    assert_statuses(&stage, "acme", &[200]);
    let starting = stage.get("/", "acme");
    assert_eq!((starting.status, starting.number("retry-after")), (429, 2 * WINDOW_SECS));
    assert_eq!(starting.header("ratelimit-reset"), starting.header("retry-after"));

    stage.edit_rules(&rules("5"));
    within(LIVE_WITHIN, "the raised limit is live", || {
        stage.get("/", "globex").header("ratelimit-limit").starts_with("5,")
    });
    let blocked = stage.get("/", "acme");
    assert_eq!((blocked.status, blocked.header("ratelimit-remaining")), (429, "0"));
    assert!((WINDOW_SECS + 1..=2 * WINDOW_SECS).contains(&blocked.number("retry-after")));

    stage.edit_rules("domain: test\ndescriptors: [{key: api_key, limits: [5/1000d]}]\n");
    within(LIVE_WITHIN, "without on_exceed nobody is blocked", || stage.get("/", "acme").status == 200);
}

#[test]
fn without_the_service_envoys_failure_mode_decides() {
    for (failure_mode_deny, status) in [(false, 200), (true, 500)] {
        let mut stage = Plan { rules: TWO_A_KEY, failure_mode_deny, ..Plan::default() }.start();
        assert_statuses(&stage, "acme", &[200, 200, 429]);
        stage.service.kill();
        for _ in 0..5 {
            let answer = stage.get("/", "acme");
            assert_eq!(answer.status, status, "failure_mode_deny: {failure_mode_deny}");
            assert_eq!(answer.headers_named("ratelimit-limit"), [""; 0]);
        }
    }
}

#[test]
fn a_unix_socket_serves_as_well() {
    let stage = Plan { rules: TWO_A_KEY, routes: BY_API_KEY, unix_socket: true, ..Plan::default() }.start();
    assert_statuses(&stage, "acme", &[200, 200, 429]);
}

/// Sends a request after the other and holds the statuses against those expected.
fn assert_statuses(stage: &Stage, api_key: &str, expected: &[u16]) {
    let answers: Vec<Response> = expected.iter().map(|_| stage.get("/", api_key)).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, expected, "{answers:#?}");
}

/// The access-log line of the first request with this status, waited for.
fn logged(stage: &Stage, status: u16) -> Value {
    let mut found = Value::Null;
    eventually("the access log has the line", || {
        let log = stage.envoy.output();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines.find(|line| line["code"] == status).unwrap_or_default();
        !found.is_null()
    });
    found
}
