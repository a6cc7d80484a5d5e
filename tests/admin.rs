//! The admin API of a real process, over HTTP and by the commands.

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
    net::TcpStream,
    process::Output,
    time::Duration,
};

use harness::{Folder, Service, command, servers};
use serde_json::{Value, json};

/// Windows that do not end while a test runs, of a length that no edge is near to.
const RULES: &str = "domain: shop
descriptors:
  - {key: k, name: per-k, limits: [2/3650d, {rate: 50/3649d, name: shadow, mode: shadow}], on_exceed: {block_for: 1h}}
  - key: open
  - {key: many, value: m*, count: shared, limits: [5/3650d]}
";

const TOKEN: &str = "an-admin-token-0123456789";

/// What a request says beside its path; a good one unless it is changed.
#[derive(Clone)]
struct Ask<'a> {
    method: &'a str,
    path: &'a str,
    host: &'a str,
    content_type: Option<&'a str>,
    authorization: Option<&'a str>,
    body: String,
}

impl Ask<'_> {
    fn usage(body: &Value) -> Self {
        let (content_type, body) = (Some("application/json"), body.to_string());
        Ask { method: "POST", path: "/v1/usage", host: "localhost", content_type, authorization: None, body }
    }

    fn status() -> Self {
        Ask { method: "GET", path: "/v1/status", content_type: None, ..Self::usage(&Value::Null) }
    }

    /// The status, the headers in lower case, and the JSON of the answer.
    fn send(&self, service: &Service) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", service.admin_port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let Self { method, path, host, body, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in [("content-type", self.content_type), ("authorization", self.authorization)] {
            head += &value.map(|value| format!("{name}: {value}\r\n")).unwrap_or_default();
        }
        write!(stream, "{head}content-length: {}\r\n\r\n", body.len()).unwrap();
        // A service that refuses by the headers alone may have gone by now, and its answer is there all the same.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("odd answer: {answer:?}"));
        (head[9..12].parse().unwrap(), head.to_lowercase(), serde_json::from_str(body).unwrap())
    }

    /// The status and code of the error.
    fn refused(&self, service: &Service) -> (u16, String, String) {
        let (status, _, answer) = self.send(service);
        let text = |name: &str| answer["error"][name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (status, text("code"), text("message"))
    }
}

fn about(key: &str, value: &str) -> Value {
    json!({"domain": "shop", "descriptor": [{"key": key, "value": value}]})
}

fn service() -> Service {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &[]);
    service.until_ready();
    service
}

/// A service with a token, whose file is in the folder.
fn service_with_token() -> (Folder, Service) {
    let folder = Folder::with(&[("shop.yaml", RULES), ("token", TOKEN)]);
    let file = folder.path("token").display().to_string();
    let service = Service::start(&folder, &["--admin-token-file", &file, "--log-level", "info"]);
    service.until_ready();
    (folder, service)
}

fn run(folder: &Folder, service: &Service, arguments: &[&str]) -> Output {
    let admin = format!("127.0.0.1:{}", service.admin_port());
    command(folder).args(arguments).args(["--admin", &admin]).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn usage_shows_every_window_and_charges_nothing() {
    let service = service();
    service.ask("k", "v").unwrap();
    for _ in 0..3 {
        let (status, _, mut answer) = Ask::usage(&about("k", "v")).send(&service);
        assert_eq!(status, 200, "{answer}");
        for window in answer["windows"].as_array_mut().unwrap() {
            assert!(window.as_object_mut().unwrap().remove("reset").unwrap().as_u64().unwrap() > 0);
        }
        let expected = json!({
            "domain": "shop", "descriptor": [{"key": "k", "value": "v"}], "rule": "per-k", "overridden": false,
            "blocked": null,
            "windows": [
                {"name": "3650d", "limit": 2, "current": 1, "remaining": 1, "mode": "enforce"},
                {"name": "shadow", "limit": 50, "current": 1, "remaining": 49, "mode": "shadow"},
            ]
        });
        assert_eq!(answer, expected);
    }
    for _ in 0..2 {
        service.ask("k", "v").unwrap();
    }
    let (_, _, answer) = Ask::usage(&about("k", "v")).send(&service);
    let wait = answer["blocked"]["retry_after"].as_u64().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{answer}");
}

#[test]
fn bad_input_gets_an_error_of_its_own() {
    let service = service();
    let usage = Ask::usage;
    let shop = about("k", "v");
    let prefix = json!({"domain": "shop", "descriptor": shop["descriptor"], "prefix": true});
    let typo = json!({"domain": "shop", "descriptor": shop["descriptor"], "prefx": true});
    let elsewhere = json!({"domain": "shpo", "descriptor": shop["descriptor"]});
    for (ask, status, code, message) in [
        (
            Ask { body: "{\n  \"domain\" \"shop\"}".to_owned(), ..usage(&shop) },
            400,
            "not_json",
            "expected `:` at line 2, column 12",
        ),
        (usage(&json!("text")), 400, "bad_request", "the body is text: expected an object"),
        (usage(&prefix), 400, "bad_request", "`prefix` is true"),
        (usage(&typo), 400, "bad_request", "`prefx` is no field of this request; did you mean `prefix`?"),
        (usage(&elsewhere), 404, "unknown_domain", "the domain `shpo`; did you mean `shop`?"),
        (usage(&about("nobody", "v")), 422, "no_limit", "no rule limits this descriptor"),
        (usage(&about("open", "v")), 422, "no_limit", "no rule limits this descriptor"),
        (Ask { host: "evil.example", ..usage(&shop) }, 403, "bad_host", "`localhost`"),
        (Ask { content_type: Some("text/plain"), ..usage(&shop) }, 415, "not_json_type", "application/json"),
        (Ask { content_type: None, ..usage(&shop) }, 415, "not_json_type", "application/json"),
        (Ask { path: "/v1/usag", ..usage(&shop) }, 404, "no_such_endpoint", "did you mean `/v1/usage`?"),
        (Ask { path: "/", ..usage(&shop) }, 404, "no_such_endpoint", "there is no such endpoint"),
        (Ask { method: "PUT", ..usage(&shop) }, 405, "method_not_allowed", "`allow`"),
        (Ask { body: " ".repeat(65_537), ..usage(&shop) }, 413, "too_large", "more than 64 KiB"),
        (Ask { host: "evil.example", ..Ask::status() }, 403, "bad_host", "`localhost`"),
    ] {
        let refused = ask.refused(&service);
        assert_eq!((refused.0, &*refused.1), (status, code), "{}", refused.2);
        assert!(refused.2.contains(message), "{message} is not in {}", refused.2);
    }
    let (_, head, _) = Ask { method: "GET", ..usage(&shop) }.send(&service);
    assert!(head.contains("\r\nallow: post"), "{head}");
    assert_eq!(service.ask("k", "v").unwrap().statuses[0].limit_remaining, 1, "nothing was changed");
}

#[test]
fn with_a_token_nothing_is_told_to_who_does_not_show_it() {
    let (folder, service) = service_with_token();
    let good = format!("Bearer {TOKEN}");
    for authorization in [None, Some("Bearer wrong-token-0123456789"), Some("Basic YTpi")] {
        for ask in [Ask::status(), Ask::usage(&about("k", "v")), Ask { path: "/nowhere", ..Ask::status() }] {
            let (status, head, answer) = Ask { authorization, ..ask }.send(&service);
            assert_eq!((status, &answer["error"]["code"]), (401, &json!("wrong_token")));
            assert!(head.contains("\r\nwww-authenticate: bearer"), "{head}");
        }
    }
    let (host, authorization) = ("tallygate.example", Some(&*good));
    assert_eq!(Ask { host, authorization, ..Ask::status() }.send(&service).0, 200);
    assert_eq!(Ask { authorization, ..Ask::usage(&about("k", "v")) }.send(&service).0, 200);

    let file = folder.path("token").display().to_string();
    let settings = run(&folder, &service, &["settings", "--admin-token-file", &file]);
    let told = said(&settings.stdout) + &said(&settings.stderr) + &service.log() + &service.metrics();
    assert!(settings.status.success() && !told.contains(TOKEN) && !told.contains("wrong-token"), "{told}");
}

#[test]
fn a_token_that_is_none_keeps_it_from_starting() {
    let folder = Folder::with(&[("shop.yaml", RULES), ("empty", "\n"), ("short", "hunter2")]);
    for (file, told) in [("empty", "it is empty"), ("short", "the token has 7 bytes"), ("missing", "cannot read it")] {
        let path = folder.path(file).display().to_string();
        let ports = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "0.0.0.0:0"];
        let output = command(&folder).args(ports).args(["--admin-token-file", &path]).output().unwrap();
        let error = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let line = format!("tallygate: setting `admin_token_file` is `{path}`: {told}");
        assert!(error.contains(&line) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_command_shows_usage_to_people_and_to_programs() {
    let (folder, service) = service_with_token();
    service.ask("k", "v=w").unwrap();
    let file = folder.path("token").display().to_string();
    let with_token = ["--admin-token-file", &*file];
    let usage = run(&folder, &service, &[&["usage", "shop", "k=v=w"], &with_token[..]].concat());
    let table = said(&usage.stdout);
    assert!(usage.status.success(), "{}", said(&usage.stderr));
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["rule", "per-k"]);
    assert_eq!(lines[1][..4], ["WINDOW", "LIMIT", "CURRENT", "REMAINING"]);
    assert_eq!(lines[2][..4], ["3650d", "2", "1", "1"]);

    let json = run(&folder, &service, &[&["usage", "--json", "shop", "k:base64=dj13"], &with_token[..]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["rule"], &json["windows"][0]["current"]), (&json!("per-k"), &json!(1)));

    for (arguments, told) in [
        (vec!["usage", "shpo", "k=v"], "tallygate: no rule file names the domain `shpo`; did you mean `shop`?"),
        (vec!["usage", "shop", "nobody=v"], "tallygate: no rule limits this descriptor"),
        (vec!["usage", "shop", "k"], "tallygate: `k` is no entry: write KEY=VALUE"),
    ] {
        let output = run(&folder, &service, &[&arguments[..], &with_token[..]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said(&output.stderr).trim_end(), told);
    }
    let output = run(&folder, &service, &["usage", "shop", "k=v"]);
    assert!(said(&output.stderr).contains("the token is missing or wrong"), "{output:?}");
    assert!(said(&output.stderr).contains("(setting `admin_token_file`)"), "{output:?}");
}

#[test]
fn a_command_says_where_it_looked_for_the_service() {
    let folder = Folder::with(&[]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for arguments in [
        &["usage", "shop", "k=v"][..],
        &["reset", "shop", "k=v", "--prefix"],
        &["override", "set", "shop", "k=v", "--limit", "5/minute", "--limit", "1/second", "--expires-in", "2h"],
        &["override", "list"],
        &["override", "delete", "shop", "k=v"],
        &["block", "set", "shop", "k=v", "--expires-in", "2h"],
        &["block", "list", "shop"],
        &["block", "lift", "shop", "k=v", "--prefix"],
    ] {
        let output = command(&folder).args(arguments).args(["--admin", &nobody]).output().unwrap();
        let error = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let told = format!("tallygate: cannot reach the service at {nobody} (setting `admin`): does it run?");
        assert!(error.contains(&told) && error.contains("refused"), "{error}");
    }
}

/// A change by the API: what it is about, and what more the endpoint wants.
fn write<'a>(method: &'a str, path: &'a str, about: &Value, more: &Value) -> Ask<'a> {
    let mut body = about.clone();
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    Ask { method, path, ..Ask::usage(&body) }
}

fn list(path: &str) -> Ask<'_> {
    Ask { method: "GET", path, content_type: None, ..Ask::usage(&Value::Null) }
}

/// How many of so many requests with this value are let through.
fn passes(service: &Service, value: &str, of: usize) -> usize {
    const OK: i32 = 1;
    (0..of).filter(|_| service.ask("k", value).unwrap().overall_code == OK).count()
}

#[test]
fn what_support_decides_works_at_once_and_outlives_the_process() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let mut service = Service::start(&folder, &["--log-level", "info"]);
    service.until_ready();
    assert_eq!(passes(&service, "secret-acme", 3), 2);

    let (status, _, answer) = write("POST", "/v1/reset", &about("k", "secret-acme"), &json!({})).send(&service);
    assert_eq!(status, 200, "{answer}");
    // The window, the one that only watches, and the block that the third request started.
    let told = (&answer["counters"], &answer["blocks"], &answer["marked"], &answer["survives_restart"]);
    assert_eq!(told, (&json!(2), &json!(1), &json!(false), &json!(true)));
    assert_eq!(passes(&service, "secret-acme", 2), 2);

    let more = json!({"limits": ["6/3650d"], "expires_in": "2h"});
    let (status, _, answer) = write("PUT", "/v1/overrides", &about("k", "secret-acme"), &more).send(&service);
    assert_eq!((status, &answer["expires_in"], &answer["survives_restart"]), (200, &json!(7_200), &json!(true)));
    assert_eq!(passes(&service, "secret-acme", 2), 2, "two counted, four more");
    let (status, _, answer) =
        write("PUT", "/v1/blocks", &about("k", "secret-beta"), &json!({"expires_in": 3_600})).send(&service);
    assert_eq!((status, &answer["started_by"]), (200, &Value::Null));
    assert_eq!(passes(&service, "secret-beta", 1), 0);
    assert_eq!(passes(&service, "secret-gamma", 3), 2, "the third starts a block");

    let (_, _, overrides) = list("/v1/overrides?domain=shop").send(&service);
    assert_eq!(overrides["overrides"][0]["limits"], json!(["6/3650d"]));
    let (_, _, blocks) = list("/v1/blocks").send(&service);
    let started: Vec<_> = blocks["blocks"].as_array().unwrap().iter().map(|block| &block["started_by"]).collect();
    assert_eq!(started, [&Value::Null, &json!("per-k")]);

    assert!(!service.log().contains("secret"), "{}", service.log());
    assert_eq!(service.log().matches("admin write").count(), 3, "{}", service.log());
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    drop(service);

    let service = Service::start(&folder, &[]);
    service.until_ready();
    assert_eq!(passes(&service, "secret-acme", 9), 2, "four of six were counted");
    assert_eq!((passes(&service, "secret-beta", 1), passes(&service, "secret-gamma", 1)), (0, 0));
    let without_times = |mut answer: Value, list: &str| {
        for one in answer[list].as_array_mut().unwrap() {
            one.as_object_mut().unwrap().retain(|name, _| name != "expires_in");
        }
        answer
    };
    for (path, list_name, before) in [("/v1/overrides", "overrides", overrides), ("/v1/blocks", "blocks", blocks)] {
        let (_, _, after) = list(path).send(&service);
        let count = before[list_name].as_array().unwrap().len();
        // The refusals of acme started one more block.
        let mut after = without_times(after, list_name);
        after[list_name].as_array_mut().unwrap().truncate(count);
        assert_eq!(after[list_name], without_times(before, list_name)[list_name]);
    }
    for (path, value, again) in [("/v1/overrides", "secret-acme", "override"), ("/v1/blocks", "secret-gamma", "block")]
    {
        let (status, _, answer) = write("DELETE", path, &about("k", value), &json!({})).send(&service);
        assert_eq!((status, &answer["deleted"]), (200, &json!(1)), "{answer}");
        let (status, code, message) = write("DELETE", path, &about("k", value), &json!({})).refused(&service);
        assert_eq!((status, &*code), (404, "not_found"));
        assert!(message.contains(again), "{message}");
    }
}

#[test]
fn a_change_that_is_refused_changes_nothing() {
    let service = service();
    assert_eq!(passes(&service, "v", 1), 1);
    let unknown = json!({"domain": "shpo", "descriptor": [{"key": "k", "value": "v"}]});
    let limits = json!({"limits": ["9/3650d"], "expires_in": "2h"});
    for (method, path, about, more, status, code) in [
        ("POST", "/v1/reset", &unknown, json!({}), 404, "unknown_domain"),
        ("POST", "/v1/reset", &about("open", "v"), json!({}), 422, "no_limit"),
        ("POST", "/v1/reset", &about("nothing", "v"), json!({}), 422, "no_limit"),
        ("POST", "/v1/reset", &about("many", "m1"), json!({}), 409, "shared_counter"),
        ("POST", "/v1/reset", &about("k", "v"), json!({"expires_in": "2h"}), 400, "bad_request"),
        ("PUT", "/v1/overrides", &unknown, limits.clone(), 404, "unknown_domain"),
        ("PUT", "/v1/overrides", &about("open", "v"), limits.clone(), 422, "no_limit"),
        ("PUT", "/v1/overrides", &about("many", "m1"), limits.clone(), 409, "shared_counter"),
        ("PUT", "/v1/overrides", &about("k", "v"), json!({"limits": ["9/3650d"]}), 400, "bad_request"),
        ("PUT", "/v1/overrides", &about("k", "v"), json!({"limits": [], "expires_in": "2h"}), 400, "bad_request"),
        ("PUT", "/v1/overrides", &about("k", "v"), json!({"limits": ["9"], "expires_in": "2h"}), 400, "bad_request"),
        ("PUT", "/v1/blocks", &unknown, json!({"expires_in": "2h"}), 404, "unknown_domain"),
        ("PUT", "/v1/blocks", &about("k", "v"), json!({"expires_in": "soon"}), 400, "bad_request"),
        ("PATCH", "/v1/blocks", &about("k", "v"), json!({"expires_in": "2h"}), 405, "method_not_allowed"),
    ] {
        let (got, told, message) = write(method, path, about, &more).refused(&service);
        assert_eq!((got, &*told), (status, code), "{method} {path} {about} {more}: {message}");
        assert!(!message.contains("\"v\""), "{message}");
    }
    let (_, _, answer) = list("/v1/overrides").send(&service);
    assert_eq!(answer, json!({"overrides": []}));
    let (_, _, answer) = list("/v1/blocks").send(&service);
    assert_eq!(answer, json!({"blocks": [], "unlisted": 0}));
    let (status, code, _) = list("/v1/blocks?domian=shop").refused(&service);
    assert_eq!((status, &*code), (400, "bad_request"));
    assert_eq!(passes(&service, "v", 2), 1, "one was counted, and one is left");
}

#[test]
fn the_commands_do_what_the_api_does() {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    let ok = |arguments: &[&str]| {
        let output = run(&folder, &service, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output.stderr));
        said(&output.stdout)
    };
    assert_eq!(passes(&service, "v", 3), 2);
    assert_eq!(ok(&["reset", "shop", "k=v"]), "reset: 2 counter(s), 1 block(s) lifted\n");
    assert_eq!(ok(&["reset", "shop", "k=v", "--prefix"]), "reset: everything counted until now counts as nothing\n");
    ok(&["override", "set", "shop", "k=v", "--limit", "4/3650d", "--expires-in", "2h"]);
    assert_eq!(passes(&service, "v", 4), 4);
    assert!(ok(&["override", "list", "shop"]).contains("4/3650d"));
    ok(&["override", "delete", "shop", "k=v"]);
    assert_eq!(ok(&["override", "list"]), "no overrides\n");
    ok(&["block", "set", "shop", "k=w", "--expires-in", "2h"]);
    assert_eq!(passes(&service, "w", 1), 0);
    assert!(ok(&["block", "list"]).contains("by hand"));
    ok(&["block", "lift", "shop", "k=w"]);
    assert_eq!(passes(&service, "w", 1), 1);
    let refused = run(&folder, &service, &["block", "lift", "shop", "k=w"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused.stderr).contains("there is no block on this descriptor"), "{}", said(&refused.stderr));
}
