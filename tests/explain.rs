//! `explain`: a real process asked over HTTP and by the command, and the command with rule files alone.

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

use std::{
    io::{Read as _, Write as _},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use harness::{Folder, Service, command, descriptor, eventually, request, servers};
use serde_json::{Value, json};

/// Windows that do not end while a test runs, of a length that no edge is near to.
const RULES: &str = "domain: shop
response: {headers: x-ratelimit}
descriptors:
  - {key: k, name: per-k, limits: [2/3650d, {rate: 50/3649d, name: shadow, mode: shadow}], on_exceed: {block_for: 1h}}
  - {key: k, value: special, name: special, limits: [1/3650d], metadata: {tier: [gold, 1]}}
  - {key: k, value: friend, name: friend, exempt: true}
  - {key: k, value: foe, name: foe, deny: true}
  - {key: parent, name: parent, descriptors: [{key: child, name: child, limits: [5/3650d]}]}
";

fn service() -> (Folder, Service) {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    (folder, service)
}

/// The status and the JSON of the answer.
fn post(service: &Service, path: &str, method: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = client::exchange(service.admin_port(), request.as_bytes()).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

fn explained(service: &Service, descriptors: &Value) -> Value {
    let body = json!({"domain": "shop", "descriptors": descriptors});
    let (status, answer) = post(service, "/v1/explain", "POST", &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn one(key: &str, value: &str) -> Value {
    json!([[{"key": key, "value": value}]])
}

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_explained_is_what_is_answered_next() {
    const OVER: i32 = 2;
    let (_folder, service) = service();
    for (value, codes) in [
        ("a", ["OK", "OK", "OVER_LIMIT", "OVER_LIMIT"]),
        ("special", ["OK", "OVER_LIMIT", "OVER_LIMIT", "OVER_LIMIT"]),
        ("friend", ["OK"; 4]),
        ("foe", ["OVER_LIMIT"; 4]),
    ] {
        for (number, code) in codes.into_iter().enumerate() {
            let told = (0..3).map(|_| explained(&service, &one("k", value))).next_back().unwrap();
            let answer = service.ask("k", value).unwrap();
            let over = answer.overall_code == OVER;
            assert_eq!((told["answer"]["code"].as_str(), over), (Some(code), code == "OVER_LIMIT"), "{value} {number}");
            let names = |headers: &[(String, String)]| headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            let sent = answer.response_headers_to_add.iter().map(|header| (header.key.clone(), header.value.clone()));
            let shown = told["answer"]["headers"].as_array().unwrap().iter().map(|header| {
                let text = |name: &str| header[name].as_str().unwrap().to_owned();
                (text("name"), text("value"))
            });
            assert_eq!(names(&shown.collect::<Vec<_>>()), names(&sent.collect::<Vec<_>>()), "{value} {number}");
        }
    }
    // Over Redis a refusal is repeated for a second, one from before the block too.
    let mut told = Value::Null;
    eventually("the block is told", || {
        told = explained(&service, &one("k", "a"));
        told["answer"]["metadata"]["blocked"] == json!(true)
    });
    assert!(told["descriptors"][0]["blocked"]["retry_after"].as_u64().unwrap() > 3_500, "{told}");
    let told = explained(&service, &one("k", "special"));
    assert_eq!(told["answer"]["metadata"]["metadata"], json!({"tier": ["gold", 1.0]}));
}

#[test]
fn every_descriptor_is_told_with_its_rule_its_windows_and_its_gap() {
    let (folder, service) = service();
    service.ask("k", "a").unwrap();
    let asked =
        json!([[{"key": "k", "value": "a"}], [{"key": "parent", "value": "x"}, {"key": "chidl", "value": "y"}]]);
    let mut told = explained(&service, &asked);
    let (first, second) = (told["descriptors"][0].take(), told["descriptors"][1].take());
    let file = folder.path("shop.yaml").display().to_string();
    assert_eq!(first["rule"], json!({"name": "per-k", "file": file, "line": 4}));
    assert_eq!(
        (&first["does"], &first["overridden"], &first["unmatched"]),
        (&json!("limits"), &json!(false), &Value::Null)
    );
    assert_eq!(first["windows"][0]["remaining"], json!(1));
    assert_eq!(first["windows"][1]["mode"], json!("shadow"));
    let outcomes = first["levels"][0]["rules"].as_array().unwrap().iter();
    let outcomes: Vec<_> =
        outcomes.map(|rule| (rule["name"].as_str().unwrap(), rule["outcome"].as_str().unwrap())).collect();
    assert_eq!(outcomes[0], ("per-k", "won"));
    assert_eq!(outcomes[1..].iter().map(|(_, outcome)| *outcome).collect::<Vec<_>>(), ["differs"; 3]);
    let why = "no rule of this level has the key `chidl`; did you mean `child`?";
    let nearest = json!({"name": "child", "file": file, "line": 8});
    assert_eq!(second["unmatched"], json!({"differs": "key", "level": 2, "why": why, "nearest": nearest}));
    assert_eq!((&second["rule"], &second["code"]), (&Value::Null, &json!("OK")));

    let about = json!({"domain": "shop", "descriptor": [{"key": "k", "value": "a"}], "limits": ["6/3650d"], "expires_in": "2h"});
    assert_eq!(post(&service, "/v1/overrides", "PUT", &about).0, 200);
    let told = explained(&service, &one("k", "a"));
    let first = &told["descriptors"][0];
    assert_eq!((&first["overridden"], &first["windows"][0]["limit"]), (&json!(true), &json!(6)), "{told}");
}

#[test]
fn an_unknown_domain_is_an_explanation_and_a_wrong_body_an_error() {
    let (_folder, service) = service();
    let body = json!({"domain": "shpo", "descriptors": one("k", "v")});
    let (status, told) = post(&service, "/v1/explain", "POST", &body);
    assert_eq!((status, &told["domain_known"], &told["domain_suggestion"]), (200, &json!(false), &json!("shop")));
    assert_eq!(told["descriptors"][0]["unmatched"]["differs"], json!("domain"));
    assert_eq!(told["answer"]["code"], json!("OK"));
    let many = vec![json!([{"key": "k", "value": "v"}]); 33];
    for (descriptors, message) in [
        (json!([]), "`descriptors` is empty: expected at least one descriptor"),
        (json!([[]]), "`descriptors[0]` is empty: expected at least one entry"),
        (json!([{"key": "k", "value": "v"}]), "`descriptors[0]` is an object: expected a list"),
        (json!([[{"key": "k"}]]), "`descriptors[0][0]` has neither `value` nor `value_base64`: expected one of them"),
        (json!(many), "`descriptors` has 33 descriptors: at most 32"),
    ] {
        let (status, told) =
            post(&service, "/v1/explain", "POST", &json!({"domain": "shop", "descriptors": descriptors}));
        assert_eq!((status, &told["error"]["message"]), (400, &json!(message)));
    }
}

#[test]
fn the_command_asks_the_service_or_the_files() {
    let (folder, service) = service();
    service.call(request(vec![descriptor("k", "a")])).unwrap();
    let admin = format!("127.0.0.1:{}", service.admin_port());
    let online = run(&folder, &["explain", "shop", "k=a", "parent=x,child=y", "--admin", &admin]);
    let text = said(&online.stdout);
    assert!(online.status.success(), "{}", said(&online.stderr));
    let rule = format!("  OK: rule per-k ({}:4)\n", folder.path("shop.yaml").display());
    for line in ["k=a\n", "parent=x child=y\n", &rule, "the request is answered OK\n"] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let figures = |text: &str| {
        let line = text.lines().find(|line| line.contains("3650d")).unwrap();
        line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(figures(&text), ["3650d", "2", "1", "1"]);

    // Without a service nothing was counted.
    let nobody = ["--admin", "127.0.0.1:1"];
    let offline = run(&folder, &[&["explain", "shop", "k=a", "--offline"], &nobody[..]].concat());
    assert_eq!(figures(&said(&offline.stdout)), ["3650d", "2", "0", "2"], "{}", said(&offline.stderr));
    let path = folder.path("shop.yaml").display().to_string();
    let json = run(&folder, &["explain", "shop", "k=special", "--format", "json", "--offline", &path]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["descriptors"][0]["rule"]["name"], &json["answer"]["code"]), (&json!("special"), &json!("OK")));

    let unknown = said(&run(&folder, &["explain", "shpo", "k=a", "--offline"]).stdout);
    assert!(unknown.starts_with("no rule file names the domain `shpo`; did you mean `shop`?\n"), "{unknown}");
}

#[test]
fn files_with_errors_are_not_explained() {
    let folder = Folder::with(&[("shop.yaml", "domain: shop\ndescriptors: [{kye: a}]")]);
    let output = run(&folder, &["explain", "shop", "k=a", "--offline"]);
    let error = said(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(error.contains("`tallygate check` draws") && error.contains("shop.yaml:2"), "{error}");
}

#[test]
fn what_no_rule_is_about_is_named_without_its_values() {
    let (folder, service) = service();
    let mut unknown = request(vec![descriptor("k", "secret")]);
    unknown.domain = b"shpo".to_vec();
    for _ in 0..3 {
        service.call(unknown.clone()).unwrap();
        service.call(request(vec![descriptor("k", "secret"), descriptor("api-key", "secret")])).unwrap();
    }
    service.ask("other", "secret").unwrap();
    let answer = client::get("/v1/top").send(service.admin_port());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["unknown_domains"], json!([{"domain": "shpo", "count": 3, "error": 0}]));
    assert_eq!(
        answer["unmatched"],
        json!([
            {"domain": "shop", "keys": ["api-key"], "count": 3, "error": 0},
            {"domain": "shop", "keys": ["other"], "count": 1, "error": 0},
        ])
    );
    assert_eq!(service.decided(r#"domain="shop",rule="",limit="",outcome="unmatched""#), 4);
    let admin = format!("127.0.0.1:{}", service.admin_port());
    let text = said(&run(&folder, &["top", "--admin", &admin]).stdout);
    assert!(text.contains("shop    api-key               3            0\n"), "{text}");
}

#[test]
fn sums_are_told_since_the_start_and_of_rules_that_refuse() {
    let (_folder, service) = service();
    for value in ["a", "a", "a", "foe", "friend"] {
        service.ask("k", value).unwrap();
    }
    let answer = client::get("/v1/top").send(service.admin_port());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let outcomes = json!({"accepted": 4, "exempt": 1, "refused": 2, "unmatched": 0, "would-be-refused": 0});
    assert_eq!(
        answer["decisions"]["outcomes"], outcomes,
        "two windows of two requests, and one refusal each of a rule"
    );
    let rules: Vec<(&Value, &Value)> =
        answer["rules"].as_array().unwrap().iter().map(|of| (&of["rule"], &of["outcomes"]["refused"])).collect();
    assert_eq!(rules, [(&json!("foe"), &json!(1)), (&json!("per-k"), &json!(1))]);
    assert_eq!(answer["store"]["available"], true);
    let timed: u64 = answer["decision_us"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum();
    assert_eq!(timed, 5);
}

/// `script` gives it a terminal, and the test the keys and the screen.
#[test]
fn on_a_terminal_it_is_watched_until_somebody_has_seen_enough() {
    let (folder, service) = service();
    for _ in 0..3 {
        service.ask("k", "customer-7").unwrap();
    }
    let command_line = format!("{} top --admin 127.0.0.1:{}", env!("CARGO_BIN_EXE_tallygate"), service.admin_port());
    let mut script = Command::new("script");
    script.args(["-qec", &command_line, "/dev/null"]).current_dir(folder.path("")).env("SHELL", "/bin/sh");
    let mut top = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (screen, mut shown) = (Arc::new(Mutex::new(Vec::new())), top.stdout.take().unwrap());
    let seen = Arc::clone(&screen);
    let reading = thread::spawn(move || {
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = shown.read(&mut bytes) {
            seen.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let on_screen = |text: &str| String::from_utf8_lossy(&screen.lock().unwrap()).contains(text);
    // The second look knows rates.
    for text in ["customer-7", "per-k  -", "per-k  0.0"] {
        eventually(text, || on_screen(text));
    }
    assert!(on_screen("\x1b[?1049h") && !on_screen("\x1b[?1049l"), "a screen of its own");
    top.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    assert!(top.wait().unwrap().success());
    reading.join().unwrap();
    assert!(on_screen("\x1b[?1049l"), "and the terminal as it was");
}

#[test]
fn who_is_refused_most_is_named_by_its_values_to_the_admin_alone() {
    let (folder, service) = service();
    for (value, times) in [("customer-7", 5), ("customer-8", 3), ("customer-9", 2)] {
        for _ in 0..times {
            service.ask("k", value).unwrap();
        }
    }
    let answer = client::get("/v1/top").send(service.admin_port());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let refused = |value: &str, count: u64| json!({"domain": "shop", "descriptor": [{"key": "k", "value": value}], "cut": false, "count": count, "error": 0});
    assert_eq!(answer["refused"], json!([refused("customer-7", 3), refused("customer-8", 1)]));
    let admin = format!("127.0.0.1:{}", service.admin_port());
    let text = said(&run(&folder, &["top", "--admin", &admin]).stdout);
    assert!(text.contains("shop    k=customer-7  3         0\n"), "{text}");
    assert!(!service.metrics().contains("customer") && !service.log().contains("customer"));
}
