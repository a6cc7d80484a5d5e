//! The process in the place of that service: its name, its environment, its ports.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt as _},
    process::Command,
};

use tallygate::grpc::proto::{RateLimitRequest, rate_limit_response::Code};

use crate::{
    client::get,
    harness::{Folder, Service, command, descriptor, eventually, request},
};

const RULES: &str = "---\ndomain: shop\ndescriptors:\n  - {key: k, rate_limit: {unit: year, requests_per_unit: 2}}\n";

/// As Istio's sample deploys that service, but for ports that the system chooses.
fn istio(folder: &Folder) -> Command {
    let mut serve = command(folder);
    let any = if TcpListener::bind("[::]:0").is_ok() { "::" } else { "0.0.0.0" };
    serve.arg0("/bin/ratelimit").env_remove("TALLYGATE_RULES");
    for (name, value) in [
        ("LOG_LEVEL", "debug"),
        ("USE_STATSD", "false"),
        ("RUNTIME_ROOT", &*folder.path("data").to_string_lossy()),
        ("RUNTIME_SUBDIRECTORY", "ratelimit"),
        ("RUNTIME_WATCH_ROOT", "false"),
        ("RUNTIME_IGNOREDOTFILES", "true"),
        ("HOST", any),
        ("GRPC_HOST", any),
        ("PORT", "0"),
        ("GRPC_PORT", "0"),
        ("DEBUG_PORT", "0"),
        ("TALLYGATE_ADMIN", "127.0.0.1:0"),
    ] {
        serve.env(name, value);
    }
    serve
}

/// What Kubernetes makes of a `ConfigMap`: each file a link by way of one that is swapped.
fn config_map(folder: &Folder, version: &str, text: &str) {
    let config = folder.path("data/ratelimit/config");
    fs::create_dir_all(config.join(version)).unwrap();
    fs::write(config.join(version).join("config.yaml"), text).unwrap();
    symlink(version, config.join("..new")).unwrap();
    fs::rename(config.join("..new"), config.join("..data")).unwrap();
    let _ = symlink("..data/config.yaml", config.join("config.yaml"));
}

#[test]
fn in_its_place_it_listens_where_that_service_does() {
    let folder = Folder::with(&[]);
    config_map(&folder, "..2026_01", RULES);
    let service = Service::start_as_it_is(istio(&folder), &folder);
    service.until_ready();
    assert_eq!((service.get("/healthcheck").status, service.get("/healthcheck").body), (200, b"OK".to_vec()));
    let codes: Vec<Code> = (0..3).map(|_| service.ask("k", "v").unwrap().overall_code()).collect();
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit]);

    let debug = service.port_of("debug").unwrap();
    let listed = get("/rlconfig").send(debug);
    assert_eq!(listed.text(), "shop.k: unit=YEAR requests_per_unit=2, shadow_mode: false, quota_mode: false\n");
    assert!(get("/stats").send(debug).text().contains("store: memory"));
    let profiles = get("/debug/pprof/").send(debug);
    assert_eq!(profiles.text(), get("/").send(debug).text(), "a list of what there is instead");
    assert_eq!(get("/v1/status").send(service.admin_port()).status, 200, "to this machine");

    let log = service.log();
    assert!(log.contains("counters: memory: they live in this process, for REDIS_URL is not set"), "{log}");
    assert!(log.contains("INFO") && log.contains("DEBUG"), "{log}");

    config_map(&folder, "..2026_02", &RULES.replace("unit: 2", "unit: 7"));
    eventually("the swapped files are live", || {
        service.ask("k", "other").unwrap().statuses[0].current_limit.as_ref().unwrap().requests_per_unit == 7
    });
}

#[test]
fn what_has_no_effect_is_named_once() {
    let folder = Folder::with(&[]);
    config_map(&folder, "..1", RULES);
    let mut serve = istio(&folder);
    serve.env("REDIS_POOL_SIZE", "20").env("USE_STATSD", "true").env("DISABLE_STATS", "false");
    let service = Service::start_as_it_is(serve, &folder);
    service.until_ready();
    let log = service.log();
    assert_eq!(log.matches("USE_STATSD has no effect").count(), 1, "{log}");
    assert_eq!(log.matches("REDIS_POOL_SIZE has no effect").count(), 1, "{log}");
    assert!(!log.contains("DISABLE_STATS"), "{log}");
}

#[test]
fn what_cannot_be_carried_out_and_matters_stops_the_start() {
    let folder = Folder::with(&[]);
    for (name, value) in [("CONFIG_TYPE", "GRPC_XDS_SOTW"), ("BACKEND_TYPE", "memcache"), ("SHADOW_MODE", "maybe")] {
        let output = istio(&folder).env(name, value).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with(&format!("tallygate: the variable {name} is `{value}`")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn our_own_variables_and_flags_win() {
    let folder = Folder::with(&[]);
    config_map(&folder, "..1", RULES);
    let settings = |program: &str, extra: &[(&str, &str)]| {
        let mut print = istio(&folder);
        print.arg0(program).arg("settings").envs(extra.iter().copied());
        String::from_utf8(print.output().unwrap().stdout).unwrap()
    };
    let row = |printed: &str, key: &str| {
        let row = printed.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
        row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    let printed = settings("ratelimit", &[("SHADOW_MODE", "true")]);
    assert_eq!(row(&printed, "shadow_mode"), "true SHADOW_MODE");
    assert!(row(&printed, "rules").ends_with("/data/ratelimit/config RUNTIME_ROOT"), "{printed}");
    assert_eq!(row(&printed, "max_connection_age"), "24h default");
    let printed = settings("ratelimit", &[("SHADOW_MODE", "true"), ("TALLYGATE_SHADOW_MODE", "false")]);
    assert_eq!(row(&printed, "shadow_mode"), "false environment");
    // Called by its own name, it takes nobody's place.
    let printed = settings("tallygate", &[("SHADOW_MODE", "true")]);
    assert_eq!(
        (row(&printed, "shadow_mode"), row(&printed, "compat")),
        ("false default".into(), "none default".into())
    );
}

#[test]
fn in_shadow_mode_nobody_is_refused_and_everything_is_told() {
    let folder = Folder::with(&[]);
    config_map(&folder, "..1", RULES);
    let mut serve = istio(&folder);
    serve.env("SHADOW_MODE", "true").env("LIMIT_RESPONSE_HEADERS_ENABLED", "true").env("LIMIT_RESET_HEADER", "X-Reset");
    serve.env("USE_PROMETHEUS", "true").env("PROMETHEUS_ADDR", "127.0.0.1:0");
    let service = Service::start_as_it_is(serve, &folder);
    service.until_ready();
    let last = (0..3).map(|_| service.ask("k", "v").unwrap()).last().unwrap();
    assert_eq!((last.overall_code(), last.statuses[0].code()), (Code::Ok, Code::OverLimit));
    let names: Vec<&str> = last.response_headers_to_add.iter().map(|header| &*header.key).collect();
    assert_eq!(names, ["RateLimit-Limit", "RateLimit-Remaining", "X-Reset"]);
    assert!(last.raw_body.is_empty());
    assert_eq!(service.decided(r#"domain="shop",rule="k",limit="year",outcome="would-be-refused""#), 1);
    let metrics = get("/metrics").send(service.port_of("metrics").unwrap());
    assert!(metrics.text().contains("\nratelimit_service_global_shadow_mode 1\n"), "{}", metrics.text());
}

#[test]
fn errors_say_whose_they_are() {
    let folder = Folder::with(&[]);
    config_map(&folder, "..1", RULES);
    let service = Service::start_as_it_is(istio(&folder), &folder);
    service.until_ready();
    let nothing = RateLimitRequest { domain: b"shop".to_vec(), descriptors: Vec::new(), hits_addend: 0 };
    let nowhere = RateLimitRequest { domain: Vec::new(), ..request(vec![descriptor("k", "v")]) };
    for malformed in [nothing, nowhere] {
        assert_eq!(service.call(malformed).unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

#[test]
fn it_is_ready_when_there_are_rules_or_when_it_need_not_wait_for_them() {
    let folder = Folder::with(&[]);
    let service = Service::start_as_it_is(istio(&folder), &folder);
    assert_eq!((service.get("/healthcheck").status, service.health()), (500, "NOT_SERVING"));
    assert_eq!(service.ask("k", "v").unwrap_err().code(), tonic::Code::Unavailable);
    config_map(&folder, "..1", RULES);
    service.until_ready();

    let folder = Folder::with(&[]);
    let mut serve = istio(&folder);
    serve.env("FORCE_START_WITHOUT_INITIAL_CONFIG", "true");
    let service = Service::start_as_it_is(serve, &folder);
    service.until_ready();
    assert_eq!(service.get("/healthcheck").status, 200);
    assert_eq!(service.ask("k", "v").unwrap_err().code(), tonic::Code::Unavailable);
}
