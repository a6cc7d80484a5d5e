//! Decisions that are traced, as a collector is told them by a real process; and collectors that are away, slow or
//! unwilling.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
mod collector;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
#[path = "../envoy/process.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod process;
#[path = "../envoy/programs.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod programs;

use std::net::TcpListener;

use client::{get, request_to};
use collector::{Answers, Collector, said};
use harness::{
    Folder, Service, descriptor, eventually, request,
    servers::{Authority, RedisServer},
};
use tallygate::{
    grpc::proto::{RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient},
    trace::proto::{Span, span::SpanKind, status::StatusCode},
};
use tokio::task::JoinSet;

/// Windows that do not end while a test runs.
const RULES: &str = "domain: shop
descriptors:
  - {key: k, name: per-k, limits: [{rate: 1/3650d, name: long}]}
  - {key: many, name: per-many, limits: [1000000/3650d]}
  - {key: shy, name: shy, limits: [{rate: 1/3650d, mode: shadow, name: shade}]}
  - {key: free, name: free, exempt: true}
";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn serve(endpoint: &str, more: &[&str]) -> Service {
    let arguments = [&["--trace-endpoint", endpoint], more].concat();
    Service::start(&Folder::with(&[("shop.yaml", RULES)]), &arguments)
}

/// Asks with a header `traceparent`, or without.
fn ask(service: &Service, asked: RateLimitRequest, traceparent: Option<&str>) -> Code {
    let mut call = tonic::Request::new(asked);
    if let Some(traceparent) = traceparent {
        call.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    let mut client = RateLimitServiceClient::new(service.connect());
    service.block_on(client.should_rate_limit(call)).unwrap().into_inner().overall_code()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// What a decision's span says: rule, limit, outcome.
fn decided(span: &Span) -> [String; 3] {
    ["rule", "limit", "outcome"].map(|key| said(&span.attributes, &format!("tallygate.{key}")))
}

fn spans(service: &Service, result: &str) -> u64 {
    service.metric(&format!("tallygate_spans_total{{result=\"{result}\"}}")).parse().unwrap()
}

#[test]
fn a_decision_is_a_span_of_its_parents_trace_with_its_charge_within_it() {
    let collector = Collector::start();
    let service = serve(&collector.url(), &["--trace-service-namespace", "edge", "--trace-service-instance", "one"]);
    ask(&service, request(vec![descriptor("k", "v"), descriptor("many", "v")]), Some(&traceparent("01")));
    let (decisions, charges) = collector.decisions(1);
    let [span] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((span.span_id.len(), span.flags, span.kind()), (8, 0x301, SpanKind::Server));
    assert_eq!(span.name, "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "envoy.service.ratelimit.v3.RateLimitService"),
        ("rpc.method", "ShouldRateLimit"),
        ("rpc.grpc.status_code", "0"),
        ("tallygate.domain", "shop"),
        ("tallygate.rule", "per-k"),
        ("tallygate.limit", "long"),
        ("tallygate.outcome", "accepted"),
        ("tallygate.source", "memory"),
        ("tallygate.descriptors", "2"),
        ("tallygate.generation", "1"),
    ] {
        assert_eq!(said(&span.attributes, key), value, "{key}");
    }
    assert_eq!((span.attributes.len(), &span.status), (11, &None));

    let [charge] = &charges[..] else { panic!("{charges:?}") };
    assert_eq!((&charge.trace_id, &charge.parent_span_id), (&span.trace_id, &span.span_id));
    assert_eq!((charge.kind(), said(&charge.attributes, "tallygate.source")), (SpanKind::Internal, "memory".into()));
    let moments = [span, charge].map(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
    let [(began, ended), (charge_began, charge_ended)] = moments;
    assert!(began <= charge_began && charge_began <= charge_ended && charge_ended <= ended, "{moments:?}");
    assert!(began > 1_700_000_000_000_000_000, "{began} are no nanoseconds since 1970");

    let resource = collector.requests()[0].resource_spans[0].resource.clone().unwrap().attributes;
    for (key, value) in [
        ("service.name", "tallygate"),
        ("service.namespace", "edge"),
        ("service.instance.id", "one"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(said(&resource, key), value, "{key}");
    }
}

#[test]
fn a_span_says_what_was_decided_and_nothing_that_a_client_sent() {
    let collector = Collector::start();
    let service = serve(&collector.url(), &["--trace-protocol", "http/protobuf"]);
    let parent = traceparent("01");
    let mut foreign = request(vec![descriptor("canary-key", "canary-value")]);
    foreign.domain = b"canary-domain".to_vec();
    for asked in [
        request(vec![descriptor("k", "canary-value")]),
        request(vec![descriptor("k", "canary-value")]),
        request(vec![descriptor("shy", "canary-value")]),
        request(vec![descriptor("shy", "canary-value")]),
        request(vec![descriptor("free", "canary-value"), descriptor("k", "canary-value")]),
        request(vec![descriptor("canary-key", "canary-value")]),
        foreign,
    ] {
        ask(&service, asked, Some(&parent));
    }
    let (decisions, _) = collector.decisions(7);
    let told: Vec<[String; 3]> = decisions.iter().map(decided).collect();
    let expected = [
        ["per-k", "long", "accepted"],
        ["per-k", "long", "refused"],
        ["shy", "shade", "accepted"],
        ["shy", "shade", "would-be-refused"],
        ["free", "", "exempt"],
        ["", "", "unmatched"],
        ["", "", "unmatched"],
    ];
    assert_eq!(told, expected.map(|words| words.map(str::to_owned)));
    let domains: Vec<String> = decisions.iter().map(|span| said(&span.attributes, "tallygate.domain")).collect();
    assert_eq!(domains, ["shop", "shop", "shop", "shop", "shop", "shop", "_unknown"]);
    let bytes = collector.bytes();
    assert!(bytes.windows(6).all(|bytes| bytes != b"canary"), "{}", String::from_utf8_lossy(&bytes));
}

#[test]
fn a_parent_that_is_not_sampled_is_not_traced_and_without_one_the_ratio_says() {
    let collector = Collector::start();
    let service = serve(&collector.url(), &[]);
    let asked = || request(vec![descriptor("many", "v")]);
    let json = |service: &Service, traceparent: Option<&str>| {
        let body = r#"{"domain": "shop", "descriptors": [{"entries": [{"key": "many", "value": "v"}]}]}"#;
        let request = request_to("POST", "/json").body(body);
        let request = traceparent.into_iter().fold(request, |request, value| request.header("traceparent", value));
        assert_eq!(service.send(&request).status, 200);
    };
    let broken = traceparent("01").to_uppercase();
    for traceparent in [None, Some(&*traceparent("00")), Some(&broken)] {
        ask(&service, asked(), traceparent);
        json(&service, traceparent);
    }
    assert_eq!(collector.asked(), 0, "nobody is connected to before there is something to tell");
    json(&service, Some(&traceparent("01")));
    let (decisions, _) = collector.decisions(1);
    assert_eq!((&*decisions[0].name, said(&decisions[0].attributes, "http.route")), ("/json", "/json".to_owned()));
    assert_eq!((hex(&decisions[0].trace_id), decisions[0].attributes.len()), (TRACE.to_owned(), 8));

    let collector = Collector::start();
    let service = serve(&collector.url(), &["--trace-ratio", "1"]);
    for traceparent in [None, Some(&*traceparent("00")), Some(&broken)] {
        ask(&service, asked(), traceparent);
        json(&service, traceparent);
    }
    let (decisions, _) = collector.decisions(4);
    assert!(decisions.iter().all(|span| span.parent_span_id.is_empty() && span.trace_id.len() == 16));
    let distinct: std::collections::HashSet<_> = decisions.iter().map(|span| span.trace_id.clone()).collect();
    assert_eq!(distinct.len(), 4, "each begins a trace of its own");
}

#[test]
fn a_charge_beyond_the_process_says_who_decided() {
    let (collector, mut redis) = (Collector::start(), RedisServer::start());
    let service = serve(&collector.url(), &["--store", &redis.url(), "--store-deadline", "1s"]);
    let asked = || request(vec![descriptor("many", "v")]);
    ask(&service, asked(), Some(&traceparent("01")));
    let (decisions, charges) = collector.decisions(1);
    assert_eq!(said(&decisions[0].attributes, "tallygate.source"), "redis");
    assert_eq!((charges[0].kind(), &charges[0].status), (SpanKind::Client, &None));
    assert!(charges[0].end_time_unix_nano > charges[0].start_time_unix_nano);
    redis.kill();
    ask(&service, asked(), Some(&traceparent("01")));
    let (decisions, charges) = collector.decisions(2);
    assert_eq!(said(&decisions[1].attributes, "tallygate.source"), "local");
    let status = charges[1].status.clone().unwrap();
    assert_eq!((status.code(), decisions[1].status.clone()), (StatusCode::Error, None));
}

#[test]
fn without_rules_a_decision_is_an_error() {
    let collector = Collector::start();
    let folder = Folder::with(&[("shop.yaml", "domain: [")]);
    let service = Service::start(&folder, &["--trace-endpoint", &collector.url()]);
    let mut call = tonic::Request::new(request(vec![descriptor("k", "v")]));
    call.metadata_mut().insert("traceparent", traceparent("01").parse().unwrap());
    let mut client = RateLimitServiceClient::new(service.connect());
    assert!(service.block_on(client.should_rate_limit(call)).is_err());
    let (decisions, charges) = collector.decisions(1);
    let status = decisions[0].status.clone().unwrap();
    assert_eq!((status.code(), &*status.message), (StatusCode::Error, "no rules were ever loaded"));
    assert_eq!((said(&decisions[0].attributes, "rpc.grpc.status_code"), charges.len()), ("14".to_owned(), 0));
}

#[test]
fn nothing_is_there_unless_it_is_asked_for() {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &["--trace-ratio", "1"]);
    ask(&service, request(vec![descriptor("k", "v")]), Some(&traceparent("01")));
    assert!(!service.metrics().lines().any(|line| line.starts_with("tallygate_spans_total")));
}

#[test]
fn a_collector_with_tls_must_be_one_whom_we_trust() {
    let (authority, stranger) = (Authority::new("who signs"), Authority::new("who signs"));
    let folder = Folder::with(&[("shop.yaml", RULES), ("ca", &authority.pem())]);
    for protocol in ["grpc", "http/protobuf"] {
        let (good, bad) = (authority.certify(&["localhost"]), stranger.certify(&["localhost"]));
        let [good, bad] = [good, bad].map(|certificate| Collector::start_with_tls(&certificate));
        for (collector, trusted) in [(&good, true), (&bad, false)] {
            let url = collector.tls_url();
            let arguments = ["--trace-endpoint", &url, "--trace-protocol", protocol, "--trace-tls-ca-file", "ca"];
            let service = Service::start(&folder, &arguments);
            ask(&service, request(vec![descriptor("many", "v")]), Some(&traceparent("01")));
            if trusted {
                collector.decisions(1);
            } else {
                eventually("it says why not", || service.log().contains("spans cannot be exported; decisions go on"));
                assert!(service.log().contains("certificate"), "{protocol}");
                assert_eq!(collector.asked(), 0);
            }
        }
    }
}

#[test]
fn a_collector_that_will_not_now_is_tried_again_and_one_that_never_will_is_not() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start();
        let service = serve(&collector.url(), &["--trace-protocol", protocol]);
        let ask = || ask(&service, request(vec![descriptor("many", "v")]), Some(&traceparent("01")));
        collector.answers(Answers::NotNow);
        ask();
        eventually("it is asked", || collector.asked() == 1);
        collector.answers(Answers::Take);
        collector.decisions(1);
        eventually("it is counted", || spans(&service, "exported") == 1);
        assert_eq!((collector.asked(), spans(&service, "failed")), (2, 0));
        let log = service.log();
        assert!(log.contains("spans cannot be exported") && log.contains("spans are exported again"), "{log}");

        collector.answers(Answers::Never);
        ask();
        eventually("it is given up", || spans(&service, "failed") == 1);
        assert_eq!((collector.asked(), spans(&service, "exported")), (3, 1));
    }
}

#[test]
fn spans_that_the_collector_did_not_want_have_failed() {
    let collector = Collector::start();
    let service = serve(&collector.url(), &[]);
    collector.answers(Answers::TakeWithout(1));
    ask(&service, request(vec![descriptor("many", "v")]), Some(&traceparent("01")));
    eventually("it is counted", || spans(&service, "failed") == 1);
    assert_eq!(spans(&service, "exported"), 0);
}

#[test]
fn what_is_left_is_told_at_the_end() {
    let collector = Collector::start();
    let mut service = serve(&collector.url(), &[]);
    ask(&service, request(vec![descriptor("many", "v")]), Some(&traceparent("01")));
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    assert_eq!(collector.decisions(1).0.len(), 1);
}

#[test]
fn a_collector_that_is_away_or_silent_hurts_no_decision_and_no_end() {
    let (silent, away) = (Collector::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    silent.answers(Answers::Nothing);
    // Nobody takes what it accepts.
    let away = (format!("http://{}", away.local_addr().unwrap()), away);
    for endpoint in [silent.url(), away.0] {
        let mut service = serve(&endpoint, &[]);
        ask(&service, request(vec![descriptor("many", "v")]), Some(&traceparent("01")));
        let before = service.resident_bytes();
        // More than a second's worth, or more than the queue holds where the machine is slow.
        eventually("some are dropped", || {
            assert_eq!(answered(&service, 1_500), 1_500);
            spans(&service, "dropped") > 0
        });
        assert_eq!(spans(&service, "exported"), 0);
        let grown = service.resident_bytes().saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes more");
        let log = service.log();
        assert!(log.matches("spans cannot be exported").count() <= 1, "{log}");
        service.signal("TERM");
        assert_eq!(service.exit_code(), Some(0));
        assert!(service.log().contains("spans could not be exported in time, and are gone"));
    }
}

/// The configuration of the manual: Envoy's span of its call is the parent of ours.
#[test]
fn behind_envoy_a_decision_is_a_part_of_envoys_trace() {
    let (ours, envoys) = (Collector::start(), Collector::start());
    let service = serve(&ours.url(), &[]);
    service.until_ready();
    let (manual, [port]) = (include_str!("../../docs/tracing.md"), process::free_ports());
    let tracing = manual.split("```yaml tracing\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let indent = " ".repeat(16);
    let tracing: String = tracing.lines().map(|line| indent.clone() + line + "\n").collect();
    let bootstrap = include_str!("envoy.yaml")
        .replace("$TRACING", &tracing)
        .replace("$PORT", &port.to_string())
        .replace("$GRPC", service.grpc_address().rsplit_once(':').unwrap().1)
        .replace("$HTTP", &service.http_port().to_string())
        .replace("$COLLECTOR", envoys.url().rsplit_once(':').unwrap().1);
    let folder = tempfile::tempdir().unwrap();
    let _envoy = programs::start_envoy(folder.path(), &bootstrap, port);
    assert_eq!(get("/livez").header("traceparent", traceparent("01")).send(port).status, 200);
    let (decisions, charges) = ours.decisions(1);
    assert_eq!((hex(&decisions[0].trace_id), charges.len()), (TRACE.to_owned(), 1));
    assert_eq!(decided(&decisions[0]), ["per-many", "3650d", "accepted"]);
    let its_parent =
        |span: &Span| (&span.trace_id, &span.span_id) == (&decisions[0].trace_id, &decisions[0].parent_span_id);
    eventually("Envoy tells of the parent", || envoys.spans().iter().any(its_parent));

    assert_eq!(get("/livez").header("traceparent", traceparent("00")).send(port).status, 200);
    assert_eq!(get("/livez").header("traceparent", traceparent("01")).send(port).status, 200);
    // The third request's, not the second's.
    ours.decisions(2);
}

/// Asks so often, many at once; returns how many answers let through.
fn answered(service: &Service, calls: usize) -> usize {
    const AT_ONCE: usize = 50;
    let client = RateLimitServiceClient::new(service.connect());
    service.block_on(async move {
        let mut callers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let mut client = client.clone();
            callers.spawn(async move {
                let mut let_through = 0;
                for _ in 0..calls / AT_ONCE {
                    let mut call = tonic::Request::new(request(vec![descriptor("many", "v")]));
                    call.metadata_mut().insert("traceparent", traceparent("01").parse().unwrap());
                    let answer = client.should_rate_limit(call).await.unwrap().into_inner();
                    let_through += usize::from(answer.overall_code() == Code::Ok);
                }
                let_through
            });
        }
        callers.join_all().await.into_iter().sum()
    })
}
