//! What is shipped for watching the service, held against the service itself: a real Prometheus scrapes it, and every
//! panel of the dashboard and every alert is asked of that.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod alerts;
#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
mod dashboard;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
mod names;
mod operations;
#[path = "../envoy/process.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "shared with the tests behind Envoy")]
mod process;
mod prometheus;

use std::{fs, path::PathBuf};

use client::{exchange, request_to};
use harness::{
    Folder, Service, eventually, request,
    servers::{Authority, RedisServer, free_port},
};
use prometheus::{Prometheus, check_metrics};
use serde_json::{Value, json};

/// A file of this repository.
fn shipped(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A rule for each thing that can become of a descriptor. The windows outlast the test.
const RULES: &str = "domain: shop
descriptors:
  - {key: api_key, name: per-key, limits: [3/3650d]}
  - {key: trial, name: try-out, limits: [1/3650d], mode: shadow}
  - {key: office, name: office, cidr: 10.0.0.0/8, exempt: true}
  - {key: login, name: logins, limits: [1/3650d], on_exceed: {block_for: 1s}}
";

/// Two replicas, one of them with all that a metric can be about: one shows a certificate and has its counters in memory,
/// one counts in Redis.
struct Replicas {
    with_tls: Service,
    over_redis: Service,
    _redis: RedisServer,
}

impl Replicas {
    fn start() -> Self {
        let certificate = Authority::new("house").certify(&["tallygate.internal"]);
        let with_tls =
            Folder::with(&[("shop.yaml", RULES), ("cert", &certificate.certificate), ("key", &certificate.key)]);
        // Nothing is traced, so nobody is asked there.
        let collector = format!("http://127.0.0.1:{}", free_port());
        let with_tls = Service::start(
            &with_tls,
            &["--grpc-tls-cert-file", "cert", "--grpc-tls-key-file", "key", "--trace-endpoint", &collector],
        );
        let redis = RedisServer::start();
        let folder = Folder::with(&[("shop.yaml", RULES)]);
        let over_redis = Service::start(&folder, &["--store", &redis.url(), "--store-deadline", "1s"]);
        for service in [&with_tls, &over_redis] {
            service.until_ready();
            let reload = b"POST /v1/reload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
                content-length: 0\r\n\r\n";
            exchange(service.admin_port(), reload).unwrap();
        }
        Self { with_tls, over_redis, _redis: redis }
    }

    fn ports(&self) -> [u16; 2] {
        [self.with_tls.http_port(), self.over_redis.http_port()]
    }

    /// Something of every outcome, on both.
    fn ask(&self) {
        for (key, value) in
            [("api_key", "k"), ("trial", "t"), ("office", "10.0.0.1"), ("login", "l"), ("unheard-of", "u")]
        {
            let body = json!({"domain": "shop", "descriptors": [{"entries": [{"key": key, "value": value}]}]});
            self.with_tls.send(&request_to("POST", "/json").body(body.to_string()));
            self.over_redis.ask(key, value).unwrap();
        }
        let mut elsewhere = request(vec![harness::descriptor("k", "v")]);
        elsewhere.domain = b"shpo".to_vec();
        self.over_redis.call(elsewhere).unwrap();
    }
}

#[test]
fn every_panel_shows_something_and_every_alert_can_be_decided() {
    let replicas = Replicas::start();
    let mut prometheus = Prometheus::scraping(replicas.ports());
    prometheus.wait_until_ready();

    let mut empty = dashboard::queries();
    assert!(empty.len() > 60, "only {} queries were found", empty.len());
    let mut before = usize::MAX;
    eventually("every panel shows something", || {
        replicas.ask();
        empty.retain(|query| !has_figure(&prometheus.query(&query.expression())));
        if empty.len() < before {
            before = empty.len();
            eprintln!("nothing to show yet: {empty:#?}");
        }
        empty.is_empty()
    });

    let mut told = Value::Null;
    eventually("every alert was looked at", || {
        told = prometheus.ask("/api/v1/rules");
        rules(&told).all(|rule| rule["health"] != "unknown")
    });
    assert_eq!(rules(&told).count(), alerts::shipped_alerts().len());
    for rule in rules(&told) {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        // Nothing is wrong here but what lasts too short to be told of.
        assert_ne!(rule["state"], "firing", "{rule:#}");
    }

    for service in [&replicas.with_tls, &replicas.over_redis] {
        check_metrics(&service.metrics());
    }
}

/// Whether an answer has something in it that can be drawn.
fn has_figure(answer: &Value) -> bool {
    let samples = answer["data"]["result"].as_array().into_iter().flatten();
    let figure = |sample: &Value| sample["value"][1].as_str()?.parse::<f64>().ok();
    samples.filter_map(figure).any(f64::is_finite)
}

fn rules(told: &Value) -> impl Iterator<Item = &Value> {
    let groups = told["data"]["groups"].as_array().into_iter().flatten();
    groups.flat_map(|group| group["rules"].as_array().into_iter().flatten())
}
