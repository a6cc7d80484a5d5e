//! The master of sentinels is found, lost, and found again on another server.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use crate::{
    acl::acl_of_the_manual,
    faults::{
        AWAY_WITHIN, BACK_WITHIN, CALLS, FOUND_OUT, REPLICAS, RULES, decided_by, every_rule_decides_as_it_says,
        is_counted,
    },
    harness::{Folder, Service},
    load::{AWAY, FINDING_OUT, under_load},
    servers::{
        Authority, RedisServer, Sentinels, TlsServer, again_if_the_machine_stood_still, eventually, free_port, within,
    },
};

fn serve(url: &str, arguments: &[&str]) -> Service {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[&["--store", url, "--replicas", REPLICAS], arguments].concat());
    service.until_ready();
    service
}

/// The master goes by `goes`: decisions are made without it, and by the other server as soon as all sentinels name it.
#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
fn survives(what: &str, goes: impl Fn(&mut RedisServer)) {
    again_if_the_machine_stood_still(|| {
        let mut redis = Sentinels::start();
        let service = serve(&redis.url(), &[]);
        eventually("the master counts", || is_counted(&service));
        let (mut gone, mut back) = (Instant::now(), Instant::now());
        let calls = under_load(&service, "roomy", |load| {
            load.goes_on_for(CALLS / 4);
            goes(&mut redis.servers[0]);
            gone = Instant::now();
            within(AWAY_WITHIN, "the master is away", || !is_counted(&service));
            every_rule_decides_as_it_says(&service);
            redis.until_master(1);
            back = Instant::now();
            within(BACK_WITHIN, "the new master counts", || is_counted(&service));
            println!("{what}: it counts {:?} after all sentinels named it", back.elapsed());
            load.goes_on_for(CALLS / 4);
        });
        calls.assert_let_through(what);
        calls.assert_quick(what, &(gone..gone + FOUND_OUT), FINDING_OUT);
        calls.assert_quick(what, &(gone + FOUND_OUT..back), AWAY);
        assert_eq!(decided_by(&service, "local"), "redis");
        assert!(!redis.servers[1].counters().is_empty());
        assert_eq!(service.metric("tallygate_panics_total"), "0");
    });
}

#[test]
fn a_master_is_killed() {
    survives("killed", RedisServer::kill);
}

/// It takes connections, and says nothing on them.
#[test]
fn a_master_is_stopped() {
    survives("stopped", |master| master.stop());
}

/// The old master lives, and takes part for some ten seconds more: nobody may count there.
#[test]
fn a_master_hands_over() {
    let redis = Sentinels::start();
    let service = serve(&redis.url(), &[]);
    eventually("the master counts", || is_counted(&service));
    let calls = under_load(&service, "roomy", |load| {
        load.goes_on_for(CALLS / 4);
        redis.sentinels[0].ask::<()>(&["SENTINEL", "FAILOVER", "shop"]);
        redis.until_master(1);
        within(BACK_WITHIN, "the new master counts", || {
            redis.servers[1].ask::<()>(&["FLUSHALL"]);
            is_counted(&service) && !redis.servers[1].counters().is_empty()
        });
        load.goes_on_for(CALLS / 4);
    });
    calls.assert_let_through("handed over");
    assert_eq!(decided_by(&service, "local"), "redis");
}

#[test]
fn a_master_that_becomes_a_replica_without_hanging_up_is_left_at_its_first_refusal_to_write() {
    let servers = [(); 2].map(|()| RedisServer::start());
    let [old, new] = &servers;
    let sentinel = FakeSentinel::that_says(&naming(old));
    let service = serve(&sentinel.url(), PATIENT);
    assert!(is_counted(&service));
    assert_eq!((old.counters().len(), new.counters().len()), (1, 0));

    sentinel.says(&naming(new));
    old.ask::<()>(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    assert!(!is_counted(&service));
    assert!(is_counted(&service));
    assert_eq!(new.counters().len(), 1);
    assert!(!service.log().contains("the store is away"), "{}", service.log());
}

#[test]
fn one_sentinel_that_is_left_is_enough() {
    let mut redis = Sentinels::start();
    redis.sentinels[0].kill();
    redis.sentinels[1].stop();
    let service = serve(&redis.url(), &[]);
    within(BACK_WITHIN, "the master counts", || is_counted(&service));
}

#[test]
fn a_sentinel_that_does_not_know_better_is_passed_over() {
    let (master, replica, sentinels) =
        (RedisServer::start(), RedisServer::start(), [(); 2].map(|()| FakeSentinel::start()));
    replica.ask::<()>(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    let nobody = free_port();
    let [first, last] = &sentinels;
    last.says(&naming(&master));
    for (says, why) in [
        (naming(&replica), format!("127.0.0.1:{} was named, and is a replica", replica.port())),
        (naming_port(nobody), "there is no connection".to_owned()),
        ("*-1\r\n".to_owned(), format!("sentinel 127.0.0.1:{} knows none of the name `shop`", first.port)),
        ("-NOAUTH Authentication required.\r\n".to_owned(), "the server does not let us in: NOAUTH".to_owned()),
        ("*2\r\n:1\r\n:99999\r\n".to_owned(), "the answer is none of ours".to_owned()),
        (SILENCE.to_owned(), "no answer within the deadline".to_owned()),
    ] {
        first.says(&says);
        // It has never had another to begin with.
        let service =
            serve(&format!("redis-sentinel://127.0.0.1:{},127.0.0.1:{}/shop", first.port, last.port), PATIENT);
        assert!(is_counted(&service), "{says:?}");

        let alone = serve(&first.url(), PATIENT);
        let mut told = String::new();
        within(BACK_WITHIN, "the log says why there is no master", || {
            assert!(!is_counted(&alone));
            told = alone.log();
            told.contains("the store is away")
        });
        assert!(told.contains(&why), "{told}: {why}");
    }
}

#[test]
fn sentinels_are_asked_by_tls_and_told_no_password() {
    let (authority, folder) = (Authority::new("house"), Folder::with(&[("shop.yaml", RULES), ("password", "canary")]));
    folder.write("ca", &authority.pem());
    let server = TlsServer::start(&authority.certify(&["127.0.0.1"]));
    let sentinel = server.start_sentinel("shop");
    let acl = acl_of_the_manual("canary");
    server.redis.ask::<()>(&acl.iter().map(String::as_str).collect::<Vec<_>>());
    // All that we are let do there, without a password.
    sentinel.redis.ask::<()>(&["ACL", "SETUSER", "default", "-@all", "+sentinel|get-master-addr-by-name"]);
    let [ca, password] = ["ca", "password"].map(|name| folder.path(name).display().to_string());
    let url = format!("rediss-sentinel://tallygate@127.0.0.1:{}/shop", sentinel.port());
    let files = ["--store-tls-ca-file", &ca, "--store-password-file", &password];
    let service = Service::start(&folder, &[&["--store", &url, "--replicas", REPLICAS], PATIENT, &files].concat());
    service.until_ready();
    assert!(is_counted(&service));
    assert_eq!(server.redis.counters().len(), 1);
}

/// So that a busy machine does not make a call late.
const PATIENT: &[&str] = &["--store-deadline", "1s"];
const SILENCE: &str = "";

/// Says one thing to everybody who asks.
struct FakeSentinel {
    port: u16,
    says: Arc<Mutex<String>>,
}

impl FakeSentinel {
    fn that_says(answer: &str) -> Self {
        let sentinel = Self::start();
        sentinel.says(answer);
        sentinel
    }

    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = Arc::new(Mutex::new(SILENCE.to_owned()));
        let of_all = Arc::clone(&says);
        // Threads end with their connections, and this one with the test program.
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let says = Arc::clone(&of_all);
                thread::spawn(move || {
                    let mut question = [0; 1024];
                    while let Ok(1..) = client.read(&mut question) {
                        // Who has hung up does not hear it.
                        let _ = client.write_all(says.lock().unwrap().as_bytes());
                    }
                });
            }
        });
        Self { port, says }
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.says.lock().unwrap());
    }

    fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/shop", self.port)
    }
}

fn naming(server: &RedisServer) -> String {
    naming_port(server.port())
}

fn naming_port(port: u16) -> String {
    let port = port.to_string();
    format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
}
