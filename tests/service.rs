//! The real process, as operators meet it: it starts, says what is wrong, takes edits while it runs, and ends in order.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "common/both_stores.rs"]
mod both_stores;
#[path = "service/check.rs"]
mod check;
#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of exactness")]
mod harness;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use client::get;
use harness::{Folder, Service, command, descriptor, eventually, request, servers};
use tallygate::grpc::proto::{RateLimitRequest, rate_limit_response::Code};
use tonic::Code as Status;

/// One window that does not end while a test runs, of a length that no edge is near to.
const RULES: &str = "domain: shop\ndescriptors:\n  - {key: k, name: per-k, limits: [2/3650d]}\n";

fn rules_of(count: u64) -> String {
    RULES.replace("2/", &format!("{count}/"))
}

#[test]
fn a_service_says_where_it_listens_and_decides() {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &[]);
    service.until_ready();
    assert_eq!(service.get("/healthcheck").body, b"OK");
    assert_eq!(service.get("/livez").status, 200);
    assert_eq!(service.get("/nowhere").status, 404);
    assert_eq!(service.health(), "SERVING");

    let codes: Vec<Code> = (0..3).map(|_| service.ask("k", "v").unwrap().overall_code()).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit]);

    let status = service.status();
    assert_eq!((&status["ready"], &status["rules"]["generation"]), (&true.into(), &1.into()));
    assert_eq!(status["store"], if servers::over_redis() { "redis" } else { "memory" });
    let log = service.log();
    for told in ["listening grpc=127.0.0.1:", "rules are live generation=1", "domains=1 rules=1 limits=1"] {
        assert!(log.contains(told), "{told} is missing in\n{log}");
    }
}

/// A page on which a client sees its windows, which last longer than the test.
const PAGE: &str = "domain: shop
usage:
  path: /rate-limit
  descriptors:
    - [{key: remote_address, header: x-client-ip}]
descriptors:
  - key: remote_address
    limits: [{rate: 30/3650d, name: minute}, {rate: 1000/3600d, name: day}]
";

#[test]
fn a_client_sees_how_it_stands_and_seeing_it_is_not_counted() {
    let folder = Folder::with(&[("shop.yaml", PAGE)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        service.ask("remote_address", address).unwrap();
    }
    let page = |headers: &[&str]| {
        let request = headers.iter().fold(get("/rate-limit"), |request, value| request.header("x-client-ip", value));
        service.send(&request)
    };
    for _ in 0..50 {
        let answer = page(&["192.0.2.1"]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.header("cache-control"), "no-store");
        let expected = r#"{"rateLimit":{"minute":{"current":2,"limit":30},"day":{"current":2,"limit":1000}}}"#;
        assert_eq!(answer.text(), expected);
    }
    assert_eq!(page(&["::ffff:192.0.2.2"]).text().matches(r#""current":1"#).count(), 2, "as rules read addresses");
    let spoofed = page(&["192.0.2.2", "192.0.2.1"]);
    assert_eq!((spoofed.status, spoofed.text().contains("repeated_identity")), (400, true), "{}", spoofed.text());

    folder.write("shop.yaml", &PAGE.replace("/rate-limit", "/limits").replace("rate: 30/", "rate: 40/"));
    eventually("the page has moved", || service.get("/rate-limit").status == 404);
    let moved = service.send(&get("/limits").header("x-client-ip", "192.0.2.1"));
    assert!(moved.text().contains(r#""minute":{"current":2,"limit":40}"#), "{}", moved.text());
}

#[test]
fn a_secret_of_usage_pages_that_cannot_be_read_stops_the_start() {
    let folder = Folder::with(&[("shop.yaml", PAGE), ("empty", "\n"), ("secret", "s3cret\n")]);
    for file in ["empty", "gone"] {
        let output = command(&folder).args(["--usage-secret-file", file, "--http", "127.0.0.1:0"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("setting `usage_secret_file` is `"), "{file}: {said}");
    }
    let check = |arguments: &[&str]| {
        let output = command(&folder).arg("check").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("this page can be read from beyond this machine")
    };
    assert!(check(&["--http", "0.0.0.0:8080"]));
    assert!(!check(&["--http", "0.0.0.0:8080", "--usage-secret-file", "secret"]));
    assert!(!check(&[]));
}

#[test]
fn an_edit_is_live_a_broken_one_changes_nothing_and_a_mended_one_is_live_again() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    let first = service.hash();
    for _ in 0..2 {
        service.ask("k", "v").unwrap();
    }
    assert!(service.metrics().contains(&format!("tallygate_config_info{{hash=\"{first}\"}} 1")));

    folder.write("shop.yaml", &rules_of(5));
    service.until_limit(5);
    assert_eq!(service.ask("k", "v").unwrap().statuses[0].limit_remaining, 2, "the count was kept");
    assert_ne!(service.hash(), first);

    folder.write("shop.yaml", &rules_of(6).replace("limits", "limit"));
    eventually("the broken edit is refused", || service.metric("tallygate_config_last_reload_success") == "0");
    let log = service.log();
    assert!(log.contains("shop.yaml:3:27: error: a rule has no key `limit`; help: did you mean `limits`?"), "{log}");
    assert_eq!((service.limit(), service.get("/readyz").status), (5, 200));

    folder.write("shop.yaml", &rules_of(7));
    service.until_limit(7);
    assert_eq!(service.metric("tallygate_config_last_reload_success"), "1");
    assert_eq!(service.metric("tallygate_config_generation"), "3");
    assert_eq!(service.metric("tallygate_config_reloads_total{result=\"success\"}"), "3");
    assert_eq!(service.metric("tallygate_config_reloads_total{result=\"failure\"}"), "1");
    let metrics = service.metrics();
    assert!(!metrics.contains(&first), "hashes of old rules do not pile up");
}

#[test]
fn without_rules_nothing_is_decided_until_they_are_mended() {
    let folder = Folder::with(&[("shop.yaml", "domain: shop\ndescriptors: [{ky: k}]\n")]);
    let service = Service::start(&folder, &[]);
    eventually("it listens", || service.try_get("/livez").is_some_and(|answer| answer.status == 200));
    let ready = service.get("/readyz");
    assert_eq!((ready.status, ready.text()), (503, "no rules were ever loaded\n"));
    assert_eq!(service.get("/healthcheck").status, 500);
    assert_eq!(service.health(), "NOT_SERVING");
    assert_eq!(service.ask("k", "v").unwrap_err().code(), Status::Unavailable);
    assert!(service.log().contains("did you mean `key`?"));

    folder.write("shop.yaml", RULES);
    service.until_ready();
    eventually("health is told", || service.health() == "SERVING");
    assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok);
}

#[test]
fn the_last_good_rules_serve_where_the_files_do_not_load_and_no_success_is_claimed() {
    let folder = Folder::with(&[
        ("shop.yaml", "domain: shop\ndescriptors:\n  - {key: k, values_file: keys.txt, limits: [4/3650d]}\n"),
        ("keys.txt", "v\n"),
    ]);
    let mut service = Service::start(&folder, &[]);
    service.until_ready();
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));

    folder.write("shop.yaml", "domain: [");
    folder.remove("keys.txt");
    let service = Service::start(&folder, &[]);
    service.until_ready();
    assert_eq!(service.limit(), 4);
    assert_eq!(service.metric("tallygate_config_last_reload_success"), "0");
    assert!(service.log().contains("serving the last good rules"));

    folder.write("shop.yaml", &rules_of(9));
    service.until_limit(9);
    assert_eq!(service.metric("tallygate_config_last_reload_success"), "1");
}

#[test]
fn every_way_of_changing_a_file_is_seen() {
    let folder = Folder::with(&[]);
    for (version, count) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(folder.path(version)).unwrap();
        fs::write(folder.path(version).join("shop.yaml"), rules_of(count)).unwrap();
    }
    // As Kubernetes mounts a ConfigMap.
    symlink("..1", folder.path("..data")).unwrap();
    symlink("..data/shop.yaml", folder.path("shop.yaml")).unwrap();
    let service = Service::start(&folder, &[]);
    service.until_limit(1);

    symlink("..2", folder.path("..next")).unwrap();
    fs::rename(folder.path("..next"), folder.path("..data")).unwrap();
    service.until_limit(2);

    folder.remove("shop.yaml");
    eventually("no files are an error", || service.log().contains("no rule files here"));
    assert_eq!(service.limit(), 2, "the old rules serve");
    folder.write("shop.yaml", &rules_of(3));
    service.until_limit(3);

    fs::write(folder.path("other"), rules_of(4)).unwrap();
    fs::rename(folder.path("other"), folder.path("shop.yaml")).unwrap();
    service.until_limit(4);

    // Cut off in the middle, and to nothing at all.
    for cut in ["domain: shop\ndescriptors:\n  - {key: k, lim", ""] {
        let refused = service.metric("tallygate_config_reloads_total{result=\"failure\"}");
        folder.write("shop.yaml", cut);
        eventually("a part is refused", || {
            service.metric("tallygate_config_reloads_total{result=\"failure\"}") != refused
        });
        assert_eq!(service.limit(), 4, "after {cut:?}");
    }
    folder.write("shop.yaml", &rules_of(5));
    service.until_limit(5);
}

#[test]
fn lists_are_watched_like_rules_also_those_that_are_not_there_yet() {
    let folder =
        Folder::with(&[("shop.yaml", "domain: shop\ndescriptors:\n  - {key: k, values_file: keys.txt, deny: true}\n")]);
    let service = Service::start(&folder, &[]);
    eventually("it says what is missing", || service.log().contains("the file `keys.txt` cannot be read"));
    let denied = |value| service.ask("k", value).is_ok_and(|answer| answer.overall_code() == Code::OverLimit);

    folder.write("keys.txt", "one\n");
    service.until_ready();
    assert!(denied("one") && !denied("two"));
    folder.write("keys.txt", "one\ntwo\n");
    eventually("the list is live", || denied("two"));
    folder.remove("keys.txt");
    eventually("its loss is noticed", || service.metric("tallygate_config_last_reload_success") == "0");
    assert!(denied("two"), "the old rules serve");
    folder.write("keys.txt", "three\n");
    eventually("it came back", || denied("three"));
    assert!(!denied("two"));
}

#[test]
fn a_hang_up_reads_the_rules_again() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    folder.write("shop.yaml", &rules_of(3));
    service.signal("HUP");
    service.until_limit(3);
    assert!(service.log().contains("SIGHUP"));
}

#[test]
fn a_stop_is_told_before_it_happens_and_loses_nothing() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let mut service = Service::start(&folder, &["--drain-delay", "1s", "--drain-deadline", "10s"]);
    service.until_ready();
    service.ask("k", "v").unwrap();
    let began = now();
    service.signal("TERM");
    eventually("health is told", || service.health() == "NOT_SERVING");
    assert_eq!(service.get("/readyz").status, 503);
    assert!(service.ask("k", "v").is_ok(), "calls are still answered");
    assert_eq!(service.exit_code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
    assert!(service.log().trim_end().ends_with("stopped"), "{}", service.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", Some("TERM")), ("INT", None)] {
        let mut service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &["--drain-delay", "10m"]);
        service.until_ready();
        service.ask("k", "v").unwrap();
        service.signal(first);
        if let Some(second) = second {
            eventually("the first is heeded", || service.health() == "NOT_SERVING");
            service.signal(second);
        }
        assert_eq!(service.exit_code(), Some(0), "{first} {second:?}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said_in_a_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = Folder::with(&[("shop.yaml", RULES), ("bad.settings", "drain_dealy: 1s\n")]);
    let settings = folder.path("bad.settings").display().to_string();
    for (arguments, code, told) in [
        (vec!["--http", &*taken], 1, format!("cannot listen on {taken} (setting `http`): Address already in use")),
        (vec!["--grpc", &*taken], 1, taken.clone()),
        (vec!["--admin", "0.0.0.0:0"], 1, "setting `admin` is `0.0.0.0:0`, beyond this machine".to_owned()),
        (vec!["--grpc", "nowhere"], 1, "setting `grpc`".to_owned()),
        (vec!["--cores", "many"], 1, "setting `cores` (from flag) is `many`: expected a number".to_owned()),
        (
            vec!["--store", "redis://x:pw@y:z"],
            1,
            "setting `store` (from flag) is `redis://***@y:z`: `y:z` is no HOST:PORT".to_owned(),
        ),
        (vec!["--settings", &*settings], 1, "unknown key `drain_dealy`; did you mean `drain_delay`?".to_owned()),
        (vec!["--nonsense"], 2, "unexpected argument '--nonsense'".to_owned()),
    ] {
        let mut serve = command(&folder);
        let serve = serve.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        // Given twice, a flag would be an error of its own.
        let given: Vec<String> = serve.get_args().map(|given| given.to_string_lossy().into_owned()).collect();
        let mut serve = command(&folder);
        for pair in given.chunks(2).filter(|pair| !arguments.contains(&&*pair[0])) {
            serve.args(pair);
        }
        let output = serve.args(&arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(&told), "{arguments:?}: {error}");
        assert!(!error.contains("pw@"), "{error}");
    }
}

/// They would be nearly empty: what was allocated before `main` lay in two of them.
#[test]
fn a_service_at_rest_has_no_huge_pages_and_is_the_process_that_was_started() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    let told = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", service.id())).unwrap();
    let huge = told("smaps_rollup");
    assert!(huge.lines().any(|line| line.split_whitespace().eq(["AnonHugePages:", "0", "kB"])), "{huge}");
    assert_eq!(told("comm"), "tallygate\n");
    let words = told("cmdline");
    assert!(words.starts_with(env!("CARGO_BIN_EXE_tallygate")) && words.contains("\0--grpc\0"), "{words}");
}

#[test]
fn settings_are_printed_with_their_source() {
    let folder = Folder::with(&[("t.yaml", "http: 127.0.0.1:1\nadmin: 127.0.0.1:2\ndrain_delay: 3s\n")]);
    let mut settings = command(&folder);
    settings.arg("settings").arg("--settings").arg(folder.path("t.yaml"));
    let output = settings.args(["--http", "127.0.0.1:9"]).env("TALLYGATE_ADMIN", "127.0.0.1:8").output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    for expected in
        [["http", "127.0.0.1:9", "flag"], ["admin", "127.0.0.1:8", "environment"], ["drain_delay", "3s", "file"]]
    {
        let there = lines.lines().any(|line| line.split_whitespace().eq(expected));
        assert!(there, "{expected:?} in\n{lines}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_call_by_hand_is_answered_as_to_envoy() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    let call = |arguments: &[&str]| {
        let output = command(&folder).args(["call", "--at", &service.grpc_address()]).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (worked, told, _) = call(&["shop", "k=v", "other=x", "--times", "3"]);
    assert!(worked && told.starts_with("answered 2 OK, 1 OVER_LIMIT; the last:\nDESCRIPTOR  CODE"), "{told}");
    for line in
        ["1           OVER_LIMIT  2/10*YEAR", "2           OK", "the request is answered OVER_LIMIT", "  retry-after: "]
    {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line} is missing in\n{told}");
    }
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&call(arguments).1).unwrap();
    assert_eq!(json(&["shop", "k=v", "--hits", "1", "--back", "--json"])["last"]["statuses"][0]["remaining"], 1);
    assert_eq!(json(&["shop", "k=v", "--hits", "0", "--json"])["answers"]["OK"], 1);
    let metadata = &json(&["shop", "k=v", "--json"])["last"]["metadata"];
    assert_eq!((&metadata["rule"], &metadata["remaining"]), (&"per-k".into(), &0.0.into()));

    for (arguments, told) in [
        (&["shop", "k"][..], "`k` is no entry: write KEY=VALUE"),
        (&["", "k=v"], "answers InvalidArgument"),
        (&["shop", "k=v", "--at", "127.0.0.1:1"], "cannot be used multiple times"),
    ] {
        let (worked, _, error) = call(arguments);
        assert!(!worked && error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn that_nobody_reads_on_what_is_printed_is_no_error() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    for arguments in [&["schema"][..], &["settings"], &["check"], &["explain", "shop", "k=v", "--offline"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&folder).args(arguments).stdout(writer).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    }
}

#[test]
fn check_tells_every_error_with_its_line_and_exits_with_1() {
    let folder = Folder::with(&[
        ("good.yaml", RULES),
        ("bad.yaml", "domain: a\ndescriptors:\n  - {key: k, limits: [5/minut]}\n  - {key: n, cidr_file: nets.txt}\n"),
        ("nets.txt", "10.0.0.0/8\n10.0.0.300\n"),
    ]);
    let check = |paths: &[&str]| {
        let paths = paths.iter().map(|name| folder.path(name));
        let output = command(&folder).arg("check").args(paths).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(
        check(&["good.yaml"]),
        (Some(0), "ok: 1 file(s), 1 domain(s), 1 rule(s), 1 limit(s), 0 warning(s)\n".into())
    );
    let (code, told) = check(&["bad.yaml", "good.yaml"]);
    assert_eq!(code, Some(1));
    for line in [
        "bad.yaml:3:23",
        "  = help: did you mean `minute`?",
        "nets.txt:2:1",
        "2 | 10.0.0.300",
        "2 error(s), 0 warning(s)",
    ] {
        assert!(told.contains(line), "{line} is missing in\n{told}");
    }
    assert!(!told.contains("\n\n\n"), "one empty line is enough:\n{told}");
    assert_eq!(check(&["nowhere.yaml"]).0, Some(1));
}

#[test]
fn every_outcome_is_counted_and_nothing_a_client_sent_is_told() {
    const CANARY: &str = "CANARY-5f0c";
    let rules = "domain: shop
descriptors:
  - {key: k, name: per-k, limits: [1/3650d]}
  - {key: t, name: try-out, mode: shadow, limits: [1/3650d]}
  - {key: e, value: CANARY-5f0c, name: staff, exempt: true}
  - {key: d, name: closed, deny: true}
  - {key: x, value: CANARY-5f0c, limits: [5/3650d]}
";
    let service = Service::start(&Folder::with(&[("shop.yaml", rules)]), &[]);
    service.until_ready();
    for key in ["k", "k", "t", "t", "e", "d", "u", "x"] {
        service.ask(key, CANARY).unwrap();
    }
    let mut unknown = request(vec![descriptor("k", CANARY)]);
    unknown.domain = CANARY.into();
    assert_eq!(service.call(unknown).unwrap().overall_code(), Code::Ok);
    let mut limited = request(vec![descriptor("k", CANARY)]);
    limited.descriptors[0].limit = Some(harness::limit(3));
    service.call(limited.clone()).unwrap();
    limited.descriptors[0].entries[0].key = b"nobody".to_vec();
    service.call(limited).unwrap();

    for (rule, limit, outcome, count) in [
        ("per-k", "3650d", "accepted", "1"),
        ("per-k", "3650d", "refused", "1"),
        ("try-out", "3650d", "accepted", "1"),
        ("try-out", "3650d", "would-be-refused", "1"),
        ("staff", "", "exempt", "1"),
        ("closed", "", "refused", "1"),
        ("", "", "unmatched", "1"),
        // Whatever rule the limit of a request replaced.
        ("request-limit", "request", "accepted", "2"),
    ] {
        let labels = format!("domain=\"shop\",rule=\"{rule}\",limit=\"{limit}\",outcome=\"{outcome}\"");
        assert_eq!(service.decided(&labels).to_string(), count, "{labels}");
    }
    assert_eq!(service.decided(r#"domain="_unknown",rule="",limit="",outcome="unmatched""#), 1);
    let metrics = service.metrics();
    assert!(metrics.contains("tallygate_decision_seconds_count 11"), "{metrics}");
    for told in [metrics, service.log(), service.status().to_string()] {
        assert!(!told.contains(CANARY), "{told}");
    }
}

#[test]
fn requests_of_any_size_are_decided() {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &[]);
    service.until_ready();

    let many = (0..10_000).map(|number| descriptor("k", &number.to_string())).collect();
    let answer = service.call(request(many)).unwrap();
    assert_eq!((answer.overall_code(), answer.statuses.len()), (Code::Ok, 10_000));
    // One of them refuses all of them, and none is charged.
    let mut many: Vec<_> = (0..10_000).map(|number| descriptor("k", &number.to_string())).collect();
    many[9_999].hits_addend = Some(u64::MAX);
    let answer = service.call(request(many)).unwrap();
    assert_eq!(answer.overall_code(), Code::OverLimit);
    assert_eq!((answer.statuses[0].limit_remaining, answer.statuses[9_999].limit_remaining), (1, 0));

    let large = request(vec![descriptor("k", &"x".repeat(17 << 20))]);
    assert_eq!(service.call(large).unwrap().overall_code(), Code::OverLimit);
    assert_eq!(service.metric("tallygate_oversized_messages_total"), "1");
    assert_eq!(service.call(RateLimitRequest::default()).unwrap_err().code(), Status::InvalidArgument);
    assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok, "the connection goes on");
}

#[test]
fn a_unix_socket_serves_and_is_gone_after_the_stop() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let socket = folder.path("tallygate.sock");
    let mut service = Service::start(&folder, &["--grpc", &format!("unix:{}", socket.display())]);
    service.until_ready();
    assert_eq!(service.ask("k", "v").unwrap().overall_code(), Code::Ok);
    service.signal("INT");
    assert_eq!(service.exit_code(), Some(0));
    assert!(!Path::exists(&socket));
}

#[expect(clippy::disallowed_methods, reason = "a test of real processes waits in real time")]
fn now() -> Instant {
    Instant::now()
}
