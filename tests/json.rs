//! `/json` of a real process: what it answers is what gRPC answers, field by field, and what is wrong is said as
//! envoyproxy/ratelimit says it.

#![cfg(feature = "test-clock")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "common/both_stores.rs"]
mod both_stores;
#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::{
    cell::RefCell,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use client::{Response, exchange, request_to};
use harness::{Folder, Service, command, descriptor, limit, request, servers};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};
use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
    protobuf::{self, value::Kind},
    rate_limit_descriptor::{Entry, RateLimitOverride},
    rate_limit_response::{Code, DescriptorStatus},
};

const RULES: &str = r#"domain: shop
response:
  headers: ratelimit
  body:
    content_type: application/json
    template: '{"message": "{{ message }}", "retrySecs": {{ retry_after }}}'
descriptors:
  - {key: k, name: per-k, limits: [3/3650d]}
  - {key: two, limits: [{rate: 5/minute, name: burst}, 20/day]}
  - {key: odd, limits: [4/30s, 9/1500ms, {rate: 2/month, align: calendar, time_zone: Europe/Berlin, name: named}]}
  - {key: many, limits: [5_000_000_000/day]}
  - {key: none, limits: [0/day]}
  - {key: bucket, limits: [{rate: 3/hour, algorithm: token_bucket, burst: 4}]}
  - {key: slide, limits: [{rate: 3/hour, algorithm: sliding_window}]}
  - {key: shadow, mode: shadow, limits: [1/day]}
  - {key: quota, mode: quota, limits: [2/day]}
  - {key: free, rate_limit: {unlimited: true}}
  - {key: staff, exempt: true}
  - {key: closed, deny: true}
  - {key: secret, limits: [2/day], response: {expose: never}}
  - {key: meta, limits: [2/day], metadata: {tier: gold, list: [1, 2.5, null, true], deep: {a: {b: 'c"d'}, e: []}}}
"#;

const KEYS: [&str; 15] = [
    "k", "two", "odd", "many", "none", "bucket", "slide", "shadow", "quota", "free", "staff", "closed", "secret",
    "meta", "nobody",
];

/// A service whose clock stands still.
fn start() -> Service {
    start_with(RULES)
}

fn start_with(rules: &str) -> Service {
    let folder = Folder::with(&[("shop.yaml", rules)]);
    let mut serve = command(&folder);
    serve.env("TALLYGATE_TEST_CLOCK", folder.path("clock.sock"));
    let service = Service::start_by(serve, &folder, &[]);
    service.until_ready();
    service
}

fn post(service: &Service, body: &str) -> Response {
    service.send(&request_to("POST", "/json").body(body))
}

/// Twins: at the same time, by the same rules, one is asked over gRPC what the other is asked in JSON.
#[test]
fn json_says_what_grpc_says_field_by_field() {
    let (over_grpc, in_json) = (start(), start());
    // What is found differs in nothing that a smaller request would show: the counters have moved on.
    let config = Config { cases: 400, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let seen = RefCell::new(Map::new());
    let alike = TestRunner::new(config).run(&any_request(), |request| {
        let answer = post(&in_json, &question(&request).to_string());
        let (expected, status) = match over_grpc.call(request) {
            Ok(expected) => (expected, answer.status),
            Err(failed) => {
                prop_assert_eq!((failed.code(), answer.status), (tonic::Code::InvalidArgument, 400));
                return Ok(());
            }
        };
        let refused = expected.overall_code() == Code::OverLimit;
        prop_assert_eq!(status, if refused { 429 } else { 200 });
        prop_assert_eq!(answer.header("content-type"), "application/json");
        let told = serde_json::from_slice(&answer.body).unwrap();
        let (told, expected) = (asked_of_the_store(told), asked_of_the_store(shown(&expected)));
        prop_assert_eq!(&told, &expected);
        if let Value::Object(fields) = told {
            seen.borrow_mut().extend(fields);
        }
        Ok(())
    });
    alike.unwrap();
    for field in ["overallCode", "statuses", "responseHeadersToAdd", "rawBody", "dynamicMetadata"] {
        assert!(seen.borrow().contains_key(field), "no answer had {field}");
    }
}

#[test]
fn fields_stand_in_the_order_of_the_protocol_and_defaults_are_left_out() {
    let service = start();
    let body = r#"{"domain":"shop","descriptors":[{"entries":[{"key":"two","value":"v"}],"hitsAddend":"9"},{"entries":[{"key":"free","value":""}]},{}]}"#;
    let answer = post(&service, body);
    let text = answer.text();
    let start = r#"{"overallCode":"OVER_LIMIT","statuses":[{"code":"OVER_LIMIT","currentLimit":{"name":"burst","requestsPerUnit":5,"unit":"MINUTE"},"durationUntilReset":"60s"},{"code":"OK","limitRemaining":4294967295},{"code":"OK"}],"responseHeadersToAdd":[{"key":"#;
    assert!(text.starts_with(start), "{text}");
    let places = ["}],\"rawBody\":\"", ",\"dynamicMetadata\":{\"domain\":\"shop\",\"rule\":\"two\","]
        .map(|part| text.find(part));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
    assert_eq!(answer.status, 429);
}

#[test]
fn both_ways_to_ask_share_the_counters_and_the_metrics() {
    let service = start();
    let ask = r#"{"domain":"shop","descriptors":[{"entries":[{"key":"k","value":"v"}]}]}"#;
    let statuses: Vec<u16> = (0..2).map(|_| post(&service, ask).status).collect();
    assert_eq!((statuses, service.ask("k", "v").unwrap().overall_code()), (vec![200, 200], Code::Ok));
    assert_eq!(post(&service, ask).status, 429);
    assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::OverLimit);

    let decided = |outcome: &str| {
        let labels = format!("domain=\"shop\",rule=\"per-k\",limit=\"3650d\",outcome=\"{outcome}\"");
        service.decided(&labels)
    };
    assert_eq!((decided("accepted"), decided("refused")), (3, 2));
    assert_eq!(service.metric("tallygate_decision_seconds_count"), "5");
}

#[test]
fn what_is_no_question_is_a_bad_request_whatever_the_method() {
    let service = start();
    let good = r#"{"domain":"shop","descriptors":[{"entries":[{"key":"k","value":"v"}]}]}"#;
    let bad = [
        "",
        "nonsense",
        "{}",
        r#"{"domain":"shop"}"#,
        r#"{"domain":"shop","descriptors":[]}"#,
        r#"{"domain":"","descriptors":[{}]}"#,
        r#"{"domain":"shop","descriptors":[{}],"more":1}"#,
        r#"{"domain":"shop","descriptors":[{"limit":{"unit":"FORTNIGHT"}}]}"#,
    ];
    for body in bad {
        let answer = post(&service, body);
        assert_eq!((answer.status, answer.text()), (400, "Bad Request\n"), "{body}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(service.metric("tallygate_malformed_messages_total"), bad.len().to_string());
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(service.send(&request_to(method, "/json").body(good)).status, 200, "{method}");
        assert_eq!(service.send(&request_to(method, "/json")).status, 400, "{method}");
    }
}

#[test]
fn without_rules_it_says_so() {
    let folder = Folder::with(&[("shop.yaml", "domain: [")]);
    let service = Service::start(&folder, &[]);
    let answer = post(&service, r#"{"domain":"shop","descriptors":[{}]}"#);
    assert_eq!((answer.status, answer.text()), (503, "no rules were ever loaded\n"));
}

#[test]
fn a_body_is_bounded_in_length_and_in_time() {
    let service = start();
    // As over gRPC: an error would be a way around the limit.
    for bytes in [(256 << 10) + 1, 2 << 20] {
        let answer = post(&service, &"x".repeat(bytes));
        assert_eq!((answer.status, answer.text()), (429, r#"{"overallCode":"OVER_LIMIT"}"#), "{bytes}");
        assert_eq!((answer.header("content-type"), answer.header("connection")), ("application/json", "close"));
    }
    assert_eq!(service.metric("tallygate_oversized_messages_total"), "2");
    // As many descriptors as fit, and nested as deep as fits.
    let descriptors = vec!["{}"; 80_000].join(",");
    let answer = post(&service, &format!(r#"{{"domain":"shop","descriptors":[{descriptors}]}}"#));
    assert_eq!((answer.status, answer.text().matches(r#"{"code":"OK"}"#).count()), (200, 80_000));
    assert_eq!(post(&service, &format!(r#"{{"domain":{}"#, "[".repeat(200_000))).status, 400);

    let mut slow = TcpStream::connect(("127.0.0.1", service.http_port())).unwrap();
    slow.write_all(b"POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("\r\n\r\nRequest Timeout\n"), "{answer}");
}

#[test]
fn a_body_may_come_in_chunks() {
    let service = start();
    let body = r#"{"domain":"shop","descriptors":[{}]}"#;
    let (first, rest) = body.split_at(20);
    let head = "POST /json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len());
    let answer = exchange(service.http_port(), format!("{head}{chunks}").as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
}

/// A request as a client of gRPC sends it, of text that JSON can say.
fn any_request() -> impl Strategy<Value = RateLimitRequest> {
    let limit =
        (0..4_u32, 0..8_i32, proptest::option::of(0..3_u32)).prop_map(|(requests_per_unit, unit, unit_multiplier)| {
            RateLimitOverride { requests_per_unit, unit, unit_multiplier }
        });
    let entry = (prop::sample::select(KEYS.to_vec()), prop::sample::select(vec!["", "a", "ä\"\n"]));
    let hits = prop_oneof![
        6 => Just(None),
        2 => (0..4_u64).prop_map(Some),
        1 => any::<u64>().prop_map(Some),
    ];
    let rest = (proptest::option::weighted(0.1, limit), hits, prop::bool::weighted(0.05));
    let descriptor = (proptest::option::weighted(0.95, entry), rest).prop_map(|(entry, (limit, hits_addend, back))| {
        let entry = entry.map(|(key, value)| Entry { key: key.into(), value: value.into() });
        RateLimitDescriptor { entries: entry.into_iter().collect(), limit, hits_addend, is_negative_hits: back }
    });
    let domain = prop::sample::select(vec!["shop", "shop", "shop", "shop", "shop", "shop", "unknown", ""]);
    (domain, proptest::collection::vec(descriptor, 0..4), prop::sample::select(vec![0, 0, 0, 2, u32::MAX])).prop_map(
        |(domain, descriptors, hits_addend)| RateLimitRequest { domain: domain.into(), descriptors, hits_addend },
    )
}

/// An answer as though no refusal had been known already: of two services over Redis, one may still know what the other asks
/// again.
fn asked_of_the_store(mut answer: Value) -> Value {
    if let Some(store) = answer.pointer_mut("/dynamicMetadata/store").filter(|store| **store == "cached") {
        *store = "redis".into();
    }
    answer
}

/// The same request in JSON.
fn question(request: &RateLimitRequest) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let entry = |entry: &Entry| json!({"key": text(&entry.key), "value": text(&entry.value)});
    let limit = |limit: &RateLimitOverride| {
        json!({
            "requestsPerUnit": limit.requests_per_unit,
            "unit": limit.unit,
            "unitMultiplier": limit.unit_multiplier,
        })
    };
    let descriptor = |descriptor: &RateLimitDescriptor| {
        json!({
            "entries": descriptor.entries.iter().map(entry).collect::<Vec<_>>(),
            "limit": descriptor.limit.as_ref().map(limit),
            "hitsAddend": descriptor.hits_addend.map(|hits| hits.to_string()),
            "isNegativeHits": descriptor.is_negative_hits,
        })
    };
    json!({
        "domain": text(&request.domain),
        "descriptors": request.descriptors.iter().map(descriptor).collect::<Vec<_>>(),
        "hitsAddend": request.hits_addend,
    })
}

/// An answer in proto3 JSON, by the rules for each type of a field.
fn shown(answer: &RateLimitResponse) -> Value {
    let mut fields = json!({"overallCode": answer.overall_code().as_str_name()});
    if !answer.statuses.is_empty() {
        fields["statuses"] = answer.statuses.iter().map(shown_status).collect();
    }
    if !answer.response_headers_to_add.is_empty() {
        let headers = answer.response_headers_to_add.iter();
        fields["responseHeadersToAdd"] =
            headers.map(|header| without_empty(json!({"key": header.key, "value": header.value}))).collect();
    }
    if !answer.raw_body.is_empty() {
        fields["rawBody"] = json!(BASE64_STANDARD.encode(&answer.raw_body));
    }
    if let Some(metadata) = &answer.dynamic_metadata {
        fields["dynamicMetadata"] = shown_struct(metadata);
    }
    fields
}

fn shown_status(status: &DescriptorStatus) -> Value {
    let mut fields = json!({"code": status.code().as_str_name()});
    if let Some(limit) = &status.current_limit {
        let unit = if limit.unit == 0 { "" } else { limit.unit().as_str_name() };
        fields["currentLimit"] = without_empty(json!({
            "name": limit.name,
            "requestsPerUnit": limit.requests_per_unit,
            "unit": unit,
            "unitMultiplier": limit.unit_multiplier.unwrap_or_default(),
        }));
    }
    if status.limit_remaining != 0 {
        fields["limitRemaining"] = json!(status.limit_remaining);
    }
    if let Some(duration) = &status.duration_until_reset {
        fields["durationUntilReset"] = json!(format!("{}s", duration.seconds));
    }
    fields
}

/// What has its default value is left out.
fn without_empty(mut fields: Value) -> Value {
    fields.as_object_mut().unwrap().retain(|_, value| *value != json!("") && *value != json!(0));
    fields
}

fn shown_struct(fields: &protobuf::Struct) -> Value {
    fields.fields.iter().map(|(name, value)| (name.clone(), shown_value(value))).collect::<Map<_, _>>().into()
}

fn shown_value(value: &protobuf::Value) -> Value {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Value::Null,
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        Kind::NumberValue(number) if number.fract() == 0.0 => json!(*number as i64),
        Kind::NumberValue(number) => json!(number),
        Kind::StringValue(text) => json!(text),
        Kind::BoolValue(on) => json!(on),
        Kind::StructValue(fields) => shown_struct(fields),
        Kind::ListValue(list) => list.values.iter().map(shown_value).collect(),
    }
}

#[test]
fn a_limit_that_comes_with_the_request_is_taken() {
    let service = start();
    let mut asked = request(vec![descriptor("k", "limited")]);
    asked.descriptors[0].limit = Some(limit(1));
    let body = question(&asked).to_string();
    assert_eq!([post(&service, &body).status, post(&service, &body).status], [200, 429]);
}

#[test]
fn the_example_of_the_manual_is_answered_as_it_says() {
    let page = include_str!("../docs/http.md");
    let between = |start: &str, end: &str| page.split_once(start).unwrap().1.split_once(end).unwrap().0;
    let service = start_with(between("```yaml rules\n", "```"));
    let question = between("$ curl -d '", "'");
    let last = (0..3).map(|_| post(&service, question)).last().unwrap();
    let mut told: Value = serde_json::from_slice(&last.body).unwrap();
    if servers::over_redis() {
        told["dynamicMetadata"]["store"] = json!("memory");
    }
    let expected: Value = serde_json::from_str(between("```json\n", "```")).unwrap();
    assert_eq!((last.status, told), (429, expected));
}
