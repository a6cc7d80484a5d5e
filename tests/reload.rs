//! Rule files under a running service: every way of changing them, and what people ask and are told about it.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use client::{Response, exchange, get};
use harness::{Folder, Service, command, descriptor, eventually, request};
use serde_json::{Value, json};
use tallygate::grpc::proto::{rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient};

/// What a change may take on an idle machine is a second; others test here too.
const LIVE_WITHIN: Duration = Duration::from_secs(5);

/// A rule whose window does not end while a test runs, and as many beside it as are asked for.
fn rules(count: u64, others: usize) -> String {
    let other = |number| format!("  - {{key: other-{number}, limits: [1/day]}}\n");
    let others: String = (0..others).map(other).collect();
    format!("domain: shop\ndescriptors:\n  - {{key: k, name: per-k, limits: [{count}/3650d]}}\n{others}")
}

fn start(files: &[(&str, &str)]) -> (Folder, Service) {
    let folder = Folder::with(files);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    (folder, service)
}

fn reload(service: &Service) -> (u16, Value) {
    let head = "POST /v1/reload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
                content-length: 0\r\n\r\n";
    let Response { status, body, .. } = exchange(service.admin_port(), head.as_bytes()).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn listed(service: &Service, query: &str) -> (u16, Value) {
    let answer = get(&format!("/v1/rules{query}")).send(service.admin_port());
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn a_change_is_live_within_a_second() {
    let (folder, service) = start(&[("shop.yaml", &rules(1, 0))]);
    for count in 2..6 {
        let start = now();
        if count % 2 == 0 {
            folder.write("shop.yaml", &rules(count, 0));
        } else {
            folder.write("elsewhere", &rules(count, 0));
            fs::rename(folder.path("elsewhere"), folder.path("shop.yaml")).unwrap();
        }
        service.until_limit(u32::try_from(count).unwrap());
        assert!(start.elapsed() < LIVE_WITHIN, "{:?}", start.elapsed());
    }
}

#[test]
fn another_file_mounted_over_the_rules_is_a_change() {
    // In a mount namespace of its own, which ends with it. A machine that allows none has its way of changing files tested
    // as another file at the path, with the others.
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        return;
    }
    let folder = Folder::with(&[("shop.yaml", &rules(1, 0)), ("other", &rules(2, 0))]);
    let program = command(&folder);
    let mut unshared = Command::new("unshare");
    unshared.args(["-m", "--propagation", "private"]).arg(program.get_program());
    unshared.env_clear().current_dir(folder.path(""));
    unshared.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    unshared.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let service = Service::start_by(unshared, &folder, &[]);
    service.until_limit(1);
    let inside = |arguments: &[&str]| {
        let id = service.id().to_string();
        assert!(Command::new("nsenter").args(["-m", "-t", &id]).args(arguments).status().unwrap().success());
    };
    let [other, shop] = ["other", "shop.yaml"].map(|name| folder.path(name).display().to_string());
    inside(&["mount", "--bind", &other, &shop]);
    service.until_limit(2);
    inside(&["umount", &shop]);
    service.until_limit(1);
}

#[test]
fn a_set_that_lost_most_of_its_rules_waits_for_a_signal_or_for_whoever_asks() {
    let (folder, service) = start(&[("shop.yaml", &rules(1, 50))]);
    for (count, by_signal) in [(2, true), (3, false)] {
        folder.write("shop.yaml", &rules(count, 3));
        eventually("it waits", || service.status()["rule_files"]["state"] == "waiting");
        let status = service.status();
        let told = status["rule_files"]["diagnostics"][0]["message"].as_str().unwrap();
        assert_eq!(told, "of 51 rules only 4 are left");
        assert_eq!(
            (service.limit(), service.metric("tallygate_config_waiting").as_str()),
            (if count == 2 { 1 } else { 9 }, "1")
        );
        if by_signal {
            service.signal("HUP");
        } else {
            let (status, answer) = reload(&service);
            assert_eq!((status, &answer["changed"], &answer["rules"]["rules"]), (200, &json!(true), &json!(4)));
        }
        service.until_limit(u32::try_from(count).unwrap());
        assert_eq!(service.status()["rule_files"]["state"], "live");
        assert_eq!(service.metric("tallygate_config_waiting"), "0");
        folder.write("shop.yaml", &rules(9, 50));
        service.until_limit(9);
    }
    let log = service.log();
    assert_eq!(log.matches("of 51 rules only 4 are left").count(), 2, "{log}");
    assert!(log.contains("admin write audit=true action=\"reload\" generation="), "{log}");
    assert_eq!(service.metric("tallygate_admin_writes_total{action=\"reload\",result=\"done\"}"), "1");
}

#[test]
fn whoever_asks_for_a_reload_is_told_what_became_of_it() {
    let (folder, service) = start(&[("shop.yaml", &rules(1, 0))]);
    let (status, answer) = reload(&service);
    assert_eq!((status, &answer["changed"], &answer["rules"]["generation"]), (200, &json!(false), &json!(1)));
    assert_eq!(answer["rules"]["hash"], json!(service.hash()));

    folder.write("shop.yaml", &rules(2, 0).replace("limits", "limit"));
    let (status, answer) = reload(&service);
    let error = &answer["error"];
    assert_eq!((status, &error["code"]), (422, &json!("rules_refused")), "{answer}");
    let diagnostic = &error["diagnostics"][0];
    assert_eq!((&diagnostic["line"], &diagnostic["help"]), (&json!(3), &json!("did you mean `limits`?")));
    assert!(diagnostic["file"].as_str().unwrap().ends_with("/shop.yaml"));
    let status = service.status();
    assert_eq!((&status["rule_files"]["state"], &status["rules"]["generation"]), (&json!("refused"), &json!(1)));
    assert_eq!(status["rule_files"]["diagnostics"], error["diagnostics"]);
    assert_eq!(service.limit(), 1);

    folder.write("shop.yaml", &rules(2, 0));
    let (status, answer) = reload(&service);
    assert_eq!(
        (status, &answer["rules"]["generation"], service.limit()),
        (200, &json!(2), 2),
        "it is live with the answer"
    );
}

#[test]
fn the_rules_that_are_live_are_listed_with_their_files() {
    let zoo = "domain: zoo\ndescriptors:\n  - {key: a, value: secret, limits: [{rate: 9/month, name: m}, {rate: 5/s, algorithm: token_bucket}]}\n";
    let (_folder, service) = start(&[("shop.yaml", &rules(1, 2)), ("zoo.yaml", zoo)]);
    let (status, answer) = listed(&service, "");
    assert_eq!((status, &answer["hash"], &answer["unlisted"]), (200, &json!(service.hash()), &json!(0)));
    let files: Vec<_> =
        answer["files"].as_array().unwrap().iter().map(|file| file["bytes"].as_u64().unwrap()).collect();
    assert_eq!(files, [rules(1, 2).len() as u64, zoo.len() as u64]);
    let domains: Vec<_> = answer["domains"].as_array().unwrap().iter().map(|domain| &domain["domain"]).collect();
    assert_eq!(domains, ["shop", "zoo"]);
    assert!(!answer.to_string().contains("secret"));

    let (_, answer) = listed(&service, "?domain=zoo");
    let rule = &answer["domains"][0]["rules"][0];
    assert_eq!((&rule["line"], &rule["action"]), (&json!(3), &json!("limits")));
    assert_eq!(
        rule["limits"],
        json!([
            {"name": "m", "algorithm": "fixed_window", "mode": "enforce", "rate": "9/month", "align": "calendar", "time_zone": "UTC", "anchor_day": 1},
            {"name": "second", "algorithm": "token_bucket", "mode": "enforce", "rate": "5/1s", "burst": 5},
        ])
    );
    assert_eq!(listed(&service, "?domain=shpo").0, 404);
    assert_eq!(listed(&service, "?rule=per-k").0, 400);
}

#[test]
fn reloads_disturb_no_decision_and_leave_no_memory_behind() {
    const LIMIT: u64 = 2_000;
    let (folder, service) = start(&[("shop.yaml", &rules(LIMIT, 200))]);
    let stop = AtomicBool::new(false);
    let reloads = |from: u64, to: u64| {
        for number in from..to {
            // The limit stays; what lies beside it is another every time.
            folder.write("shop.yaml", &format!("{}# {number}\n", rules(LIMIT, 200 + usize::from(number % 2 == 0))));
            // A look may have been faster than the question.
            let answer = reload(&service);
            assert_eq!(answer.0, 200, "{}", answer.1);
        }
    };
    let (passed, settled) = thread::scope(|scope| {
        let channel = service.connect();
        let calls = scope.spawn(|| {
            let mut client = RateLimitServiceClient::new(channel);
            let mut passed = 0;
            while !stop.load(Relaxed) {
                let answer = service.block_on(client.should_rate_limit(request(vec![descriptor("k", "v")])));
                passed += u64::from(answer.unwrap().into_inner().overall_code() == Code::Ok);
            }
            passed
        });
        // Whatever fails here must end the calls too.
        let _stop = StopAtEnd(&stop);
        reloads(0, 15);
        let settled = service.resident_bytes();
        reloads(15, 45);
        stop.store(true, Relaxed);
        (calls.join().unwrap(), settled)
    });
    // The callers took all there was, or not yet: the counter of all generations knows.
    let left = (0..LIMIT).take_while(|_| service.ask("k", "v").unwrap().overall_code() == Code::Ok).count();
    let passed = passed + left as u64;
    assert_eq!(passed, LIMIT, "over all generations of rules");
    assert_eq!(service.status()["rules"]["generation"], 46);
    // 30 sets of 200 rules would take some 6 MB.
    let grown = service.resident_bytes().saturating_sub(settled);
    assert!(grown < 4 << 20, "{grown} bytes more than after 15 reloads");
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a change takes is measured")]
fn now() -> Instant {
    Instant::now()
}
