//! The metrics of envoyproxy/ratelimit's names, scraped from the real process after requests that are known.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "common/both_stores.rs"]
mod both_stores;
#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use harness::{Folder, Service, eventually, request, servers};
use tallygate::grpc::proto::{RateLimitDescriptor, rate_limit_descriptor::Entry};
use tonic::Code;

/// In that service's grammar; no window ends while a test runs.
const RULES: &str = "
domain: shop
count_denied: true
descriptors:
  - key: database
    value: users
    rate_limit: {unit: year, requests_per_unit: 10}
  - key: ip
    value_to_metric: true
    rate_limit: {unit: year, requests_per_unit: 10}
  - key: tier
    value: free
    descriptors:
      - key: path
        value: /api/*
        rate_limit: {unit: year, requests_per_unit: 10}
        descriptors:
          - key: user
            rate_limit: {unit: year, requests_per_unit: 10}
  - key: beta
    shadow_mode: true
    rate_limit: {unit: year, requests_per_unit: 1}
";

fn descriptor(entries: &[(&str, &str)], hits: u64) -> RateLimitDescriptor {
    let entries = entries.iter().map(|&(key, value)| Entry { key: key.into(), value: value.into() }).collect();
    RateLimitDescriptor { entries, hits_addend: Some(hits), ..RateLimitDescriptor::default() }
}

#[test]
fn requests_show_as_they_do_on_the_dashboards_of_envoyproxy_ratelimit() {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &["--compat-metrics", "true"]);
    service.until_ready();
    for (entries, hits) in [
        (&[("database", "users")][..], 7),
        (&[("database", "users")], 6),
        (&[("ip", "10.0.0.1")], 1),
        (&[("tier", "free"), ("path", "/api/a")], 2),
        (&[("tier", "free"), ("path", "/api/b"), ("user", "u")], 3),
        (&[("beta", "x")], 1),
        (&[("beta", "x")], 1),
        (&[("nothing", "matches")], 1),
    ] {
        service.call(request(vec![descriptor(entries, hits)])).unwrap();
    }
    let mut unknown = request(vec![descriptor(&[("k", "v")], 1), descriptor(&[("k", "w")], 1)]);
    unknown.domain = b"shpo".to_vec();
    service.call(unknown).unwrap();
    let failed = service.call(request(vec![])).unwrap_err();
    assert_eq!(failed.code(), Code::InvalidArgument);
    assert_eq!(service.health(), "SERVING");

    let metrics = service.metrics();
    for line in [
        r#"rate_limit_total_hits{domain="shop",key1="database_users"} 13"#,
        r#"rate_limit_within_limit{domain="shop",key1="database_users"} 7"#,
        r#"rate_limit_near_limit{domain="shop",key1="database_users"} 2"#,
        r#"rate_limit_over_limit{domain="shop",key1="database_users"} 3"#,
        r#"rate_limit_total_hits{domain="shop",key1="ip_10_0_0_1"} 1"#,
        r#"rate_limit_total_hits{domain="shop",key1="tier_free",key2="path_/api/*"} 5"#,
        r#"rate_limit_within_limit{domain="shop",key1="beta"} 1"#,
        r#"rate_limit_over_limit{domain="shop",key1="beta"} 1"#,
        r#"rate_limit_shadow_mode{domain="shop",key1="beta"} 1"#,
        "rate_limit_domain_not_found 2",
        r#"total_requests{grpc_method="ShouldRateLimit"} 10"#,
        r#"total_requests{grpc_method="Check"} 1"#,
        r#"response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="+Inf"} 10"#,
        r#"response_time_seconds_count{grpc_method="ShouldRateLimit"} 10"#,
        r#"should_rate_limit_error{err_type="service_error"} 1"#,
        r#"should_rate_limit_error{err_type="redis_error"} 0"#,
        "config_load_success 1",
        "config_load_error 0",
        "global_shadow_mode 0",
    ] {
        let line = format!("ratelimit_service_{line}");
        assert!(metrics.lines().any(|other| other == line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains(r#"key1="nothing""#), "{metrics}");
    assert!(metrics.contains("# TYPE ratelimit_service_rate_limit_total_hits counter\n"), "{metrics}");
    assert!(metrics.contains("# TYPE ratelimit_service_response_time_seconds histogram\n"), "{metrics}");
}

#[test]
fn rule_sets_that_load_and_that_do_not_are_counted() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &["--compat-metrics", "true"]);
    service.until_ready();
    folder.write("shop.yaml", "domain: ''");
    eventually("the error is counted", || service.metric("ratelimit_service_config_load_error") == "1");
    folder.write("shop.yaml", &RULES.replace("10}", "20}"));
    eventually("the new rules are", || service.metric("ratelimit_service_config_load_success") == "2");
}

#[test]
fn hits_are_near_their_limit_from_the_part_of_it_that_is_set() {
    let arguments = ["--compat-metrics", "true", "--near-limit-ratio", "0.5"];
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &arguments);
    service.until_ready();
    service.call(request(vec![descriptor(&[("database", "users")], 8)])).unwrap();
    let near = r#"ratelimit_service_rate_limit_near_limit{domain="shop",key1="database_users"}"#;
    assert_eq!(service.metric(near), "3");
}

/// Flags of metrics are no reason for a word while nobody asked for the metrics.
#[test]
fn without_the_setting_there_are_none_of_its_names() {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &[]);
    service.until_ready();
    service.call(request(vec![descriptor(&[("ip", "10.0.0.1")], 1)])).unwrap();
    let metrics = service.metrics();
    assert!(!metrics.contains("ratelimit_service") && !metrics.contains("tallygate_compat"), "{metrics}");
    assert!(!service.log().contains("WARN"), "{}", service.log());
}

#[test]
fn a_refusal_that_is_repeated_without_redis_is_over_the_limit_once() {
    let redis = servers::RedisServer::start();
    let url = redis.url();
    let rules = RULES.replace("count_denied: true\n", "");
    let arguments = ["--compat-metrics", "true", "--store", &url, "--store-deadline", "1s"];
    let service = Service::start(&Folder::with(&[("shop.yaml", &rules)]), &arguments);
    service.until_ready();
    let (mut asked, series) = (0, |name: &str| {
        service.metric(&format!(r#"ratelimit_service_rate_limit_{name}{{domain="shop",key1="database_users"}}"#))
    });
    // On a busy machine one may come too late to be repeated.
    let repeated = r#"over_limit_with_local_cache{domain="shop",key1="database_users"}"#;
    eventually("a refusal is repeated", || {
        asked += 1;
        service.call(request(vec![descriptor(&[("database", "users")], 11)])).unwrap();
        service.metrics().contains(repeated)
    });
    assert!(asked > 1, "there was nothing to repeat");
    assert_eq!(series("over_limit"), (11 * asked).to_string());
    assert_eq!(series("total_hits"), (11 * asked).to_string());
}

#[test]
fn requests_that_redis_did_not_decide_are_errors_of_redis() {
    let url = format!("redis://127.0.0.1:{}", servers::free_port());
    let arguments = ["--compat-metrics", "true", "--store", &url];
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &arguments);
    service.until_ready();
    for _ in 0..3 {
        service.call(request(vec![descriptor(&[("database", "users")], 1)])).unwrap();
    }
    assert_eq!(service.metric(r#"ratelimit_service_should_rate_limit_error{err_type="redis_error"}"#), "3");
    assert_eq!(service.metric(r#"ratelimit_service_rate_limit_total_hits{domain="shop",key1="database_users"}"#), "3");
}
