//! What a real process tells of itself: series that are bounded whatever is asked, few lines, and no values of requests.

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

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command};

use bytes::Bytes;
use client::request_to;
use harness::{Folder, Service, command, descriptor, eventually, limit, request, servers};
use tallygate::{bounds::REFUSAL_LINES_PER_SECOND_MAX, grpc::proto::rate_limit_response::Code};
use tokio::net::TcpStream;

/// A value that must be told to nobody.
const CANARY: &str = "canary-4711";

/// A service whose clock stands still.
fn start(rules: &str) -> Service {
    start_with(rules, &[])
}

fn start_with(rules: &str, arguments: &[&str]) -> Service {
    let folder = Folder::with(&[("shop.yaml", rules)]);
    let mut serve = command(&folder);
    serve.env("TALLYGATE_TEST_CLOCK", folder.path("clock.sock"));
    let service = Service::start_by(serve, &folder, arguments);
    service.until_ready();
    service
}

#[test]
fn there_are_fifty_series_and_twenty_for_each_rule_at_most_whatever_is_asked() {
    let rules = r"domain: shop
descriptors:
  - {key: one, limits: [1/3650d], on_exceed: {block_for: 1h}}
  - {key: two, mode: shadow, limits: [1/day, 2/3650d]}
  - {key: free, exempt: true}
  - {key: closed, deny: true}
";
    let service = start(rules);
    let order = |path: &str, more: &str| {
        let descriptor = format!(r#"[{{"key":"one","value":"{path}"}}]"#);
        let body = format!(r#"{{"domain":"shop","descriptor":{descriptor},{more}}}"#);
        let answer = request_to("PUT", &format!("/v1/{path}"))
            .header("content-type", "application/json")
            .body(body.as_str())
            .send(service.admin_port());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    order("overrides", r#""limits":["1/day"],"expires_in":"1h""#);
    order("blocks", r#""expires_in":"1h""#);

    let mut asked = 0;
    for round in 0..60 {
        for key in ["one", "two", "free", "closed", "nobody", CANARY] {
            for value in [format!("{CANARY}-{round}"), "same".into(), "overrides".into(), "blocks".into()] {
                service.ask(key, &value).unwrap();
                asked += 1;
            }
        }
        let mut unknown = request(vec![descriptor("one", CANARY)]);
        unknown.domain = format!("{CANARY}-{round}").into();
        service.call(unknown).unwrap();
        let mut limited = request(vec![descriptor("one", "limited"), descriptor("nobody", "limited")]);
        for descriptor in &mut limited.descriptors {
            descriptor.limit = Some(limit(1 + round % 3));
        }
        service.call(limited).unwrap();
        service.send(&request_to("GET", &format!("/{CANARY}-{round}")));
    }
    assert_eq!(asked, 1_440);

    let metrics = service.metrics();
    assert!(!metrics.contains(CANARY), "{metrics}");
    let series: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect();
    let rules = 4;
    assert!(series.len() <= 50 + 20 * rules, "{} series:\n{metrics}", series.len());
    for outcome in ["accepted", "refused", "would-be-refused", "exempt", "unmatched"] {
        assert!(metrics.contains(&format!("outcome=\"{outcome}\"")), "{outcome}");
    }
    assert!(metrics.contains("\ntallygate_blocks_started_total{domain=\"shop\",rule=\"one\"} "), "{metrics}");
    assert_eq!(service.metric("process_max_fds").parse::<f64>().unwrap() > 0.0, cfg!(target_os = "linux"));
}

#[test]
fn a_flood_of_refusals_is_some_lines_and_none_has_a_value() {
    let mut rules = "domain: shop\ndescriptors:\n".to_owned();
    for rule in 0..40 {
        writeln!(rules, "  - {{key: k{rule}, name: rule-{rule}, limits: [{{rate: 1/3650d, name: ten-years}}]}}")
            .unwrap();
    }
    let service = start(&rules);
    for rule in 0..40 {
        for _ in 0..5 {
            service.ask(&format!("k{rule}"), CANARY).unwrap();
        }
    }
    let log = service.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" refused ")).collect();
    assert_eq!(lines.len() as u64, REFUSAL_LINES_PER_SECOND_MAX, "{log}");
    for told in ["domain=\"shop\"", "rule=\"rule-0\"", "limit=\"ten-years\"", "refused=1", "source=\"store\""] {
        assert!(lines[0].contains(told), "{told}: {}", lines[0]);
    }
    assert!(!log.contains(CANARY), "{log}");
}

#[test]
fn who_waits_no_more_is_neither_decided_nor_charged() {
    let service = start_with("domain: shop\ndescriptors: [{key: k, limits: [3/3650d]}]", &["--compat-metrics", "true"]);
    let message = prost::Message::encode_to_vec(&request(vec![descriptor("k", "v")]));
    // By the time that anybody looks, a nanosecond is over; and nobody's clock takes an hour for it.
    for (timeout, status, expired) in [("1H", "0", "0"), ("1n", "4", "1"), ("1H", "0", "1")] {
        assert_eq!(service.block_on(call(&service.grpc_address(), timeout, &message)), status, "{timeout}");
        assert_eq!(service.metric("tallygate_expired_calls_total"), expired, "{timeout}");
    }
    assert_eq!(service.metric("ratelimit_service_total_requests{grpc_method=\"ShouldRateLimit\"}"), "3");
    assert_eq!(service.ask("k", "v").unwrap().statuses[0].limit_remaining, 0, "three were charged");
    assert_eq!(service.metric("tallygate_late_answers_total"), "0");
    assert_eq!(service.metric("tallygate_decision_seconds_count"), "3");
}

/// Calls by frames of HTTP/2, so that nothing on this side heeds the timeout; returns `grpc-status`.
async fn call(address: &str, timeout: &str, message: &[u8]) -> String {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let call =
        http::Request::post(format!("http://{address}/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", timeout)
            .body(())
            .unwrap();
    let (response, mut body) = client.send_request(call, false).unwrap();
    let framed = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat();
    body.send_data(Bytes::from(framed), true).unwrap();
    let response = response.await.unwrap();
    let of = |headers: &http::HeaderMap| headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let status = match of(response.headers()) {
        Some(status) => status,
        None => {
            let mut body = response.into_body();
            while let Some(data) = body.data().await {
                let _ = body.flow_control().release_capacity(data.unwrap().len());
            }
            of(&body.trailers().await.unwrap().unwrap()).unwrap()
        }
    };
    connection.abort();
    status
}

/// A reader that stands still is what a full disk of the log collector looks like from here.
#[test]
fn decisions_go_on_where_nobody_reads_the_log() {
    let folder = Folder::with(&[("shop.yaml", "domain: shop\ndescriptors: [{key: k, limits: [1_000_000/day]}]")]);
    // The reader says where it listens, and then holds on to the pipe and reads nothing more.
    let script = r#"mkfifo pipe
{ sed '/ listening /q'; exec sleep 60; } < pipe >&2 &
echo $! > reader
exec "$0" "$@" 2> pipe"#;
    let serve = command(&folder);
    let mut reader = Command::new("sh");
    reader.current_dir(folder.path("")).args(["-c", script]).arg(serve.get_program());
    for (name, value) in serve.get_envs() {
        reader.env(name, value.unwrap());
    }
    // Every frame of HTTP/2 is a line.
    reader.env("LOG_LEVEL", "trace,h2=trace");
    let service = Service::start_by(reader, &folder, &[]);
    service.until_ready();
    let lost = || service.metric("tallygate_log_lines_lost_total").parse::<u64>().unwrap();
    eventually("the pipe is full", || {
        assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok);
        lost() > 0
    });
    let before = lost();
    for _ in 0..100 {
        assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok);
    }
    assert!(lost() > before + 100);
    let reader = fs::read_to_string(folder.path("reader")).unwrap();
    assert!(Command::new("sh").args(["-c", &format!("kill {reader}")]).status().unwrap().success());
}
