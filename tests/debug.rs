//! The debug pages and the port of the metrics, of a real process: who reaches what, and where.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::net::{IpAddr, UdpSocket};

use client::{Response, get, request_to};
use harness::{Folder, Service, eventually};

const RULES: &str = "domain: shop\ndescriptors:\n  - {key: k, value: v, name: per-k, limits: [2/3650d, 9/minute]}\n";

const LISTED: &str = "/rlconfig: the limits that are live, a line each
/stats: version, uptime, memory, rules and counters of this process
";

fn start(arguments: &[&str]) -> Service {
    let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), arguments);
    service.until_ready();
    service
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn pages_are_served(ask: impl Fn(&str, &str) -> Response) {
    for (method, path) in [("GET", "/"), ("GET", "/debug/pprof/"), ("POST", "/nowhere"), ("GET", "/v1x")] {
        let answer = ask(method, path);
        assert_eq!((answer.status, answer.text()), (200, LISTED), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    let expected = "shop.k_v: unit=YEAR requests_per_unit=2, shadow_mode: false, quota_mode: false\n\
                    shop.k_v: unit=MINUTE requests_per_unit=9, shadow_mode: false, quota_mode: false\n"
        .replace("YEAR", "10*YEAR");
    assert_eq!(ask("GET", "/rlconfig").text(), expected);
    let stats = ask("GET", "/stats");
    let lines: Vec<&str> = stats.text().lines().collect();
    for line in ["ready: yes", "generation: 1", "rules: 1", "limits: 2", "store: memory", "counters: 2"] {
        assert!(lines.contains(&line), "{line} is missing in {lines:?}");
    }
}

#[test]
fn debug_pages_share_the_admin_port_and_the_api_stays_with_this_machine() {
    let service = start(&["--debug", "0.0.0.0:0"]);
    service.ask("k", "v").unwrap();
    let port = service.port_of("debug").unwrap();
    assert_eq!(service.admin_port(), port);
    pages_are_served(|method, path| request_to(method, path).send(port));

    let reset = |path: &str| {
        let body = r#"{"domain": "shop", "descriptor": [{"key": "k", "value": "v"}]}"#;
        request_to("POST", path).header("content-type", "application/json").body(body)
    };
    assert_eq!(service.status()["rules"]["generation"], 1);
    assert_eq!(get("/v1/nowhere").send(port).status, 404);
    // A machine with nothing but loopback has nobody to keep out.
    if let Some(address) = own_address() {
        let far = |request: &client::Request| request.try_send_to(&(address, port).into()).unwrap();
        pages_are_served(|method, path| far(&request_to(method, path)));
        for path in ["/v1", "/v1/", "/v1/status", "/v1/reset"] {
            let answer = far(&reset(path));
            assert_eq!((answer.status, answer.text().contains("setting `admin`")), (404, true), "{path}");
        }
    }
    assert_eq!(service.ask("k", "v").unwrap().statuses[0].limit_remaining, 0, "nothing was reset");
    assert_eq!(reset("/v1/reset").send(port).status, 200);
    assert_eq!(service.ask("k", "v").unwrap().statuses[0].limit_remaining, 1);
    // What guards the API guards it here: a page in a browser has a name of its own.
    let rebound = client::exchange(port, b"GET /v1/status HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(rebound.unwrap().status, 403);
}

#[test]
fn a_token_guards_the_api_beside_the_debug_pages() {
    let folder = Folder::with(&[("shop.yaml", RULES), (".token", "an-admin-token-0123456789")]);
    let token = folder.path(".token").display().to_string();
    let service =
        Service::start(&folder, &["--debug", "0.0.0.0:0", "--admin", "0.0.0.0:0", "--admin-token-file", &token]);
    service.until_ready();
    let port = service.port_of("debug").unwrap();
    assert_eq!(service.admin_port(), port);
    let hosts = [Some(IpAddr::from([127, 0, 0, 1])), own_address()];
    for address in hosts.into_iter().flatten() {
        let send = |request: client::Request| request.try_send_to(&(address, port).into()).unwrap().status;
        assert_eq!(send(get("/stats")), 200);
        assert_eq!(send(get("/v1/status")), 401, "{address}");
        // The admin API was asked for on all addresses.
        let shown = get("/v1/status").header("authorization", "Bearer an-admin-token-0123456789");
        assert_eq!(send(shown), 200, "{address}");
    }
}

#[test]
fn debug_pages_on_a_port_of_their_own_have_no_api() {
    // Another address of this machine: it does not cover the admin API's, whatever the port.
    let service = start(&["--debug", "127.0.0.2:0"]);
    service.ask("k", "v").unwrap();
    let port = service.port_of("debug").unwrap();
    let address = ([127, 0, 0, 2], port).into();
    pages_are_served(|method, path| request_to(method, path).try_send_to(&address).unwrap());
    assert_eq!(get("/v1/status").try_send_to(&address).unwrap().status, 404);
    assert_eq!(service.status()["ready"], true);
    assert_eq!(get("/stats").send(service.admin_port()).status, 404);
}

#[test]
fn before_rules_were_loaded_the_pages_are_there() {
    let service = Service::start(&Folder::with(&[("shop.yaml", "domain: [")]), &["--debug", "127.0.0.1:0"]);
    let port = service.port_of("debug").unwrap();
    eventually("it listens", || get("/stats").try_send(port).is_ok());
    assert_eq!(get("/rlconfig").send(port).text(), "");
    let stats = get("/stats").send(port);
    assert!(stats.text().contains("ready: no: no rules were ever loaded\n"), "{}", stats.text());
}

#[test]
fn without_the_setting_there_are_no_debug_pages() {
    let service = start(&[]);
    assert_eq!(service.port_of("debug"), None);
    for port in [service.admin_port(), service.http_port()] {
        assert_eq!(get("/rlconfig").send(port).status, 404);
    }
}

#[test]
fn metrics_are_served_where_they_were_asked_for_and_where_they_always_are() {
    let service = start(&["--metrics", "127.0.0.1:0", "--metrics-path", "/p/{x}"]);
    let port = service.port_of("metrics").unwrap();
    service.ask("k", "v").unwrap();
    let there = get("/p/{x}").send(port);
    assert_eq!((there.status, there.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(there.text().contains("tallygate_decision_seconds_count 1\n"), "{}", there.text());
    assert_eq!(get("/p/{x}?name=x").send(port).status, 200);
    assert_eq!(request_to("POST", "/p/{x}").send(port).status, 405);
    for path in ["/metrics", "/", "/p/y", "/p/{x}/", "/json", "/rlconfig", "/v1/status"] {
        assert_eq!(get(path).send(port).status, 404, "{path}");
    }
    assert_eq!(service.metric("tallygate_decision_seconds_count"), "1");
}
