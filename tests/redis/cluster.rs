//! Three masters: each domain is counted by the one that has its slot, wherever that goes and whoever dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{RateLimitRequest, rate_limit_response::Code};

use crate::{
    drive::{Call, drive, left},
    harness::{Folder, Service, command, descriptor, request},
    load::{AWAY, under_load, under_load_in},
    servers::{Cluster, RedisServer, again_if_the_machine_stood_still, eventually, within},
};

/// One whose slot is the first master's, one of the second and one of the third.
const DOMAINS: [&str; 3] = ["shop", "library", "bank"];
/// Windows that do not end while a test runs. What is counted under `roomy` and `deny` always fits; `deny` is let through
/// only where a server counts it.
const DESCRIPTORS: &str = "descriptors:
  - {key: roomy, limits: [1000000/3650d], on_store_error: local}
  - {key: deny, limits: [1000000/3650d], on_store_error: deny}
  - {key: few, limits: [3/3650d], on_store_error: deny}
  - {key: many, limits: [2000/3650d], on_store_error: deny}
  - {key: both, limits: [1000000/3650d, 2000000/300d], on_store_error: deny}
";

/// What must be back within a second; a busy machine may take a few more to start what asks and what answers.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Nobody may wait for it: each call ends by its own deadline. It is only that all of them find out.
const AWAY_WITHIN: Duration = Duration::from_secs(5);
/// Calls of a load: more than a second of them.
const CALLS: usize = 500;
/// A deadline that no busy machine misses.
const PATIENT: [&str; 2] = ["--store-deadline", "1s"];
/// One that a busy machine seldom misses, and the time by which calls that miss it have made it known.
const FIRM: [&str; 2] = ["--store-deadline", "100ms"];
const FOUND_OUT: Duration = Duration::from_millis(250);

fn serve(cluster: &Cluster, arguments: &[&str]) -> Service {
    let texts = DOMAINS.map(|domain| format!("domain: {domain}\n{DESCRIPTORS}"));
    let folder = Folder::with(&[("0.yaml", &texts[0]), ("1.yaml", &texts[1]), ("2.yaml", &texts[2])]);
    let service = Service::start(&folder, &[&["--store", &cluster.url()], arguments].concat());
    service.until_ready();
    service
}

fn in_domain(domain: &str, key: &str, value: &str) -> RateLimitRequest {
    RateLimitRequest { domain: domain.into(), ..request(vec![descriptor(key, value)]) }
}

fn ask(service: &Service, domain: &str, key: &str, value: &str) -> Code {
    service.call(in_domain(domain, key, value)).unwrap().overall_code()
}

/// Whether a new client of the domain is counted by a server: only then is his request let through.
fn is_counted(service: &Service, domain: &str) -> bool {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let client = format!("client-{}", CLIENTS.fetch_add(1, Relaxed));
    ask(service, domain, "deny", &client) == Code::Ok
}

fn until_counted(service: &Service) {
    for domain in DOMAINS {
        eventually("it is counted", || is_counted(service, domain));
    }
}

/// Decisions that were made without a server.
fn decided_alone(service: &Service) -> String {
    service.metric("tallygate_store_answers_total{source=\"local\"}")
}

#[test]
fn a_domain_is_counted_by_the_master_of_its_slot() {
    let cluster = Cluster::start();
    let service = serve(&cluster, &PATIENT);
    for (nth, domain) in DOMAINS.into_iter().enumerate() {
        assert_eq!(cluster.owner(cluster.slot(&format!("{{{domain}}}"))), Some(nth), "{domain}");
        let codes = [(); 4].map(|()| ask(&service, domain, "few", "v"));
        assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit], "{domain}");
        let keys = cluster.masters[nth].counters();
        assert!(keys.len() == 1 && keys[0].starts_with(&format!("tallygate:{{{domain}}}:")), "{keys:?}");

        let admin = format!("127.0.0.1:{}", service.admin_port());
        let folder = Folder::with(&[]);
        let reset = command(&folder).args(["reset", domain, "few=v", "--admin", &admin]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&reset.stdout), "reset: 1 counter(s), 0 block(s) lifted\n", "{domain}");
        assert_eq!(cluster.masters[nth].counters(), [""; 0]);
    }
    assert_eq!(decided_alone(&service), "0");
    assert_eq!(service.metric("tallygate_store_available"), "1");
}

/// Clients of whom each has a counter.
const VALUES: [&str; 5] = ["ann", "bob", "cyd", "dan", "eve"];

#[test]
fn three_replicas_let_through_exactly_the_limit_while_the_slot_moves_from_master_to_master() {
    const ALL_CALLS: u64 = 30_000;
    /// A call that is sent after a slot must be faster than that, also on a busy machine.
    const CALLS_A_MOVE: u64 = 2_000;
    let cluster = Cluster::start();
    let replicas = [(); 3].map(|()| serve(&cluster, &PATIENT));
    replicas.iter().for_each(until_counted);
    let slot = cluster.slot("{shop}");
    let begun = Arc::new(AtomicU64::new(0));
    let admitted = thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let connections = replicas.iter().flat_map(|service| [service.connect(), service.connect()]);
            let begun = Arc::clone(&begun);
            let call = move |number: u64| -> Option<Call> {
                begun.fetch_max(number, Relaxed);
                let value = VALUES[usize::try_from(number).unwrap() % VALUES.len()];
                (number < ALL_CALLS).then(|| vec![("many", value, 1)])
            };
            drive(&replicas[0], connections.collect(), 8, call)
        });
        for number in 1..ALL_CALLS / CALLS_A_MOVE {
            eventually("calls are made", || begun.load(Relaxed) >= number * CALLS_A_MOVE);
            cluster.move_slot(slot, usize::try_from(number).unwrap() % cluster.masters.len());
        }
        calling.join().unwrap()
    });
    for value in VALUES {
        assert_eq!(admitted[&("many", value)], 2_000, "{value}");
    }
    for service in &replicas {
        assert_eq!(decided_alone(service), "0", "{}", service.metrics());
        eventually("all of it is used", || VALUES.iter().all(|value| left(service, "many", value) == 0));
    }
    for master in &cluster.masters {
        assert_eq!(master.keys_without_expiry(), [""; 0]);
    }
}

#[test]
fn a_slot_that_stays_half_moved_answers_for_what_it_has_and_hurts_nobody_else() {
    again_if_the_machine_stood_still(|| {
        let cluster = Cluster::start();
        let service = serve(&cluster, &PATIENT);
        until_counted(&service);
        // Two windows, whose counters are two keys: those of a new client are on neither side.
        assert_eq!(ask(&service, "shop", "both", "old"), Code::Ok);
        let slot = cluster.slot("{shop}");
        cluster.begin_to_move(slot, 1);
        let calls = under_load(&service, "deny", |load| {
            load.goes_on_for(CALLS / 2);
            assert_eq!(ask(&service, "shop", "both", "old"), Code::Ok);
            assert_eq!(ask(&service, "shop", "both", "new"), Code::OverLimit);
            assert_eq!(service.metric("tallygate_store_calls_total{result=\"moving\"}"), "1");
            cluster.move_slot(slot, 1);
            within(BACK_WITHIN, "it is counted", || ask(&service, "shop", "both", "new") == Code::Ok);
            assert_eq!(ask(&service, "shop", "both", "old"), Code::Ok);
        });
        calls.assert_let_through("half moved");
        assert_eq!(service.metric("tallygate_store_available"), "1");
        assert!(!service.log().contains("away"), "nobody was");
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
fn a_master_dies_and_its_replica_takes_over_while_the_others_go_on() {
    again_if_the_machine_stood_still(|| {
        let mut cluster = Cluster::start_with_replica();
        let service = serve(&cluster, &FIRM);
        until_counted(&service);
        let dead = format!("server=\"127.0.0.1:{}\"", cluster.masters[0].port());
        let began = Instant::now();
        let (mut broken, mut mended) = (began, began);
        let mut others = None;
        let calls = under_load(&service, "roomy", |load| {
            others = Some(under_load_in(&service, "bank", "deny", |_| {
                load.goes_on_for(CALLS / 4);
                cluster.masters[0].kill();
                broken = Instant::now();
                within(AWAY_WITHIN, "it is away", || !is_counted(&service, "shop"));
                eventually("it is told", || service.metric("tallygate_store_available") == "0");
                cluster.until_failed_over();
                within(BACK_WITHIN, "the replica counts", || is_counted(&service, "shop"));
                mended = Instant::now();
                load.goes_on_for(CALLS / 4);
            }));
        });
        calls.assert_let_through("a master is killed");
        calls.assert_quick("a master is killed", &(broken + FOUND_OUT..mended), AWAY);
        let others = others.unwrap();
        others.assert_let_through("others go on");
        others.assert_quick("others go on", &(broken..mended), AWAY);
        eventually("it is told", || service.metric("tallygate_store_available") == "1");
        for told in ["the store is away", "the store is back"] {
            let log = service.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(told)).collect();
            assert!(lines.len() == 1 && lines[0].contains(&dead), "{lines:?}");
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
fn a_master_that_is_stopped_makes_nobody_wait_and_its_domains_alone_count_elsewhere() {
    again_if_the_machine_stood_still(|| {
        // So that the others neither give it up nor stop themselves.
        let cluster = Cluster::start_with(&["--cluster-node-timeout", "60000"]);
        let service = serve(&cluster, &FIRM);
        until_counted(&service);
        let began = Instant::now();
        let (mut broken, mut mended) = (began, began);
        let mut others = None;
        let calls = under_load(&service, "roomy", |load| {
            others = Some(under_load_in(&service, "library", "deny", |_| {
                load.goes_on_for(CALLS / 4);
                cluster.masters[0].stop();
                broken = Instant::now();
                within(AWAY_WITHIN, "it is away", || !is_counted(&service, "shop"));
                load.goes_on_for(CALLS);
                mended = Instant::now();
                cluster.masters[0].cont();
                within(BACK_WITHIN, "it counts", || is_counted(&service, "shop"));
            }));
        });
        calls.assert_let_through("a master is stopped");
        calls.assert_quick("a master is stopped", &(broken + FOUND_OUT..mended), AWAY);
        let others = others.unwrap();
        others.assert_let_through("others of one that is stopped");
        others.assert_quick("others of one that is stopped", &(broken..mended), AWAY);
        assert_eq!(service.metric("tallygate_store_available"), "1");
        assert_eq!(service.log().matches("the store is away").count(), 1);
    });
}

#[test]
fn the_map_is_learnt_though_the_first_that_is_named_is_dead() {
    let mut cluster = Cluster::start_with_replica();
    cluster.masters[0].kill();
    let service = serve(&cluster, &PATIENT);
    cluster.until_failed_over();
    until_counted(&service);
    eventually("it is told", || service.metric("tallygate_store_available") == "1");
}

#[test]
fn a_service_starts_without_any_server_and_counts_there_when_they_come() {
    let mut cluster = Cluster::start();
    cluster.masters.iter_mut().for_each(RedisServer::kill);
    let service = serve(&cluster, &[]);
    assert_eq!(service.health(), "SERVING");
    let calls = under_load(&service, "roomy", |load| {
        load.goes_on_for(CALLS);
        assert!(DOMAINS.iter().all(|domain| !is_counted(&service, domain)));
        eventually("it is told", || service.metric("tallygate_store_available") == "0");
        cluster.masters.iter_mut().for_each(RedisServer::restart);
        cluster.until_serves();
        for domain in DOMAINS {
            within(BACK_WITHIN, "it is counted", || is_counted(&service, domain));
        }
    });
    calls.assert_let_through("all away at the start");
    eventually("it is told", || service.metric("tallygate_store_available") == "1");
    assert!(!service.log().contains("canary"), "the log has a password");
}
