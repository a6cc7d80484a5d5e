//! Redis fails in every way it has: no decision does, each rule says what becomes of its own meanwhile, and Redis
//! counts again within a second of its return.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{protobuf::value::Kind, rate_limit_response::Code};

use crate::{
    harness::{Folder, Service},
    load::{AWAY, CALLS_A_SECOND, FINDING_OUT, under_load},
    servers::{
        Direction, Proxy, RedisServer, Weather, again_if_the_machine_stood_still, eventually, free_port, within,
    },
};

/// Windows that do not end while a test runs. What is counted under `roomy` and `deny` always fits.
pub const RULES: &str = "domain: shop
descriptors:
  - {key: roomy, limits: [1000000/3650d], on_store_error: local}
  - {key: local, limits: [10/3650d], on_store_error: local}
  - {key: allow, limits: [1/3650d], on_store_error: allow}
  - {key: deny, limits: [1000000/3650d], on_store_error: deny}
";

/// Replicas that a limit is shared by while Redis is away: of 10, each takes 4.
pub const REPLICAS: &str = "3";
const LOCAL_SHARE: usize = 4;

/// What must be back within a second; a busy machine may take a few more to start what asks and what answers.
pub const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Nobody may wait for it: each call ends by its own deadline. It is only that all of them find out.
pub const AWAY_WITHIN: Duration = Duration::from_secs(5);
/// By then it must be known that calls are not answered: twice what is aimed at.
pub const FOUND_OUT: Duration = Duration::from_millis(100);
/// Calls of the load while Redis is away: more than a second of them.
pub const CALLS: usize = 500;
/// What the log says when Redis is found to be away.
const TOLD_AWAY: &str = "the store is away";
/// To a Redis that is away, on average: the breaker opens after twenty failures, each of which may have opened one;
/// from then on ten probes a second do.
const CONNECTIONS_A_SECOND: u64 = 30;
/// Of any second, on average, while something is wrong.
const LOG_LINES_A_SECOND: u64 = 50;

/// Redis, and the way there.
struct Redis {
    server: RedisServer,
    proxy: Proxy,
    /// Holds the file with the password.
    folder: Folder,
}

impl Redis {
    fn start() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port());
        Self { server, proxy, folder: Folder::with(&[("shop.yaml", RULES), ("password", "canary-1")]) }
    }

    /// Starts a service that counts in it.
    fn serve(&self, arguments: &[&str]) -> Service {
        let url = self.proxy.url();
        let service = Service::start(&self.folder, &[&["--store", &url, "--replicas", REPLICAS], arguments].concat());
        service.until_ready();
        service
    }
}

/// Breaks Redis and mends it, under load.
fn survives(what: &str, breaks: impl Fn(&mut Redis), mends: impl Fn(&mut Redis)) {
    again_if_the_machine_stood_still(|| {
        let mut redis = Redis::start();
        let service = redis.serve(&[]);
        survives_in(&mut redis, &service, what, &breaks, &mends);
    });
}

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
fn survives_in(
    redis: &mut Redis,
    service: &Service,
    what: &str,
    breaks: impl FnOnce(&mut Redis),
    mends: impl FnOnce(&mut Redis),
) {
    eventually("Redis counts", || is_counted(service));
    let (began, lines) = (Instant::now(), service.log().lines().count());
    let (mut broken, mut mended, mut told) = (began, began, 0);
    let outages = || service.metric("tallygate_store_outages_total").parse::<usize>().unwrap();
    let calls = under_load(service, "roomy", |load| {
        // A busy machine may make calls late too, and who has just been away is not told to be so again for a second.
        eventually("all is well for a second", || {
            told = service.log().matches(TOLD_AWAY).count();
            load.goes_on_for(CALLS_A_SECOND);
            told == service.log().matches(TOLD_AWAY).count() && service.metric("tallygate_store_available") == "1"
        });
        let connections = redis.proxy.accepted();
        let outages_before = outages();
        breaks(redis);
        broken = Instant::now();
        within(AWAY_WITHIN, "Redis is away", || !is_counted(service));
        every_rule_decides_as_it_says(service);
        load.goes_on_for(CALLS);
        let (connections, seconds) = (redis.proxy.accepted() - connections, broken.elapsed().as_secs() + 1);
        assert!(connections as u64 <= CONNECTIONS_A_SECOND * seconds, "{connections} connections in {seconds} s");
        told = service.log().matches(TOLD_AWAY).count() - told;
        assert_eq!(outages(), outages_before + told);
        mends(redis);
        mended = Instant::now();
        within(BACK_WITHIN, "Redis is back", || is_counted(service));
        load.goes_on_for(CALLS / 4);
    });
    assert_eq!(told, 1, "{what}: an outage is told once, for nothing is back before it is mended");
    calls.assert_let_through(what);
    calls.assert_quick(what, &(broken..broken + FOUND_OUT), FINDING_OUT);
    calls.assert_quick(what, &(broken + FOUND_OUT..mended), AWAY);

    // Not each call: on a busy machine one may be late.
    eventually("Redis decides", || decided_by(service, "local") == "redis");
    eventually("it is told so", || service.metric("tallygate_store_available") == "1");
    eventually("no call is under way", || service.metric("tallygate_store_calls_under_way") == "0");
    assert!(!redis.server.counters().is_empty());
    assert_eq!(redis.server.keys_without_expiry(), [""; 0]);
    assert_eq!(service.metric("tallygate_panics_total"), "0");
    let (lines, seconds) = (service.log().lines().count() - lines, began.elapsed().as_secs() + 1);
    assert!(lines as u64 <= LOG_LINES_A_SECOND * seconds, "{lines} lines of log in {seconds} s");
}

#[test]
fn redis_is_killed_and_comes_back_empty() {
    survives("killed", |redis| redis.server.kill(), |redis| redis.server.restart());
}

#[test]
fn redis_is_stopped_and_goes_on() {
    survives("stopped", |redis| redis.server.stop(), |redis| redis.server.cont());
}

#[test]
fn redis_is_slower_than_the_deadline() {
    let slow = Weather::Slow(Duration::from_millis(100));
    survives("slow", |redis| redis.proxy.set_both(slow), |redis| redis.proxy.set_both(Weather::Clear));
}

#[test]
fn the_way_to_redis_loses_everything() {
    survives("lost", |redis| redis.proxy.set_both(Weather::Lost), |redis| redis.proxy.set_both(Weather::Clear));
}

#[test]
fn only_the_answers_of_redis_are_lost() {
    let weather = |weather| move |redis: &mut Redis| redis.proxy.set(Direction::ToClient, weather);
    survives("answers lost", weather(Weather::Lost), weather(Weather::Clear));
}

#[test]
fn every_connection_is_cut_off() {
    survives("cut off", |redis| redis.proxy.cut_off(), |redis| redis.proxy.reconnect());
}

#[test]
fn redis_is_out_of_memory() {
    let set = |bytes| move |redis: &mut Redis| redis.server.ask::<()>(&["CONFIG", "SET", "maxmemory", bytes]);
    // A server alone takes more than one byte; 0 is no bound.
    survives("out of memory", set("1"), set("0"));
}

#[test]
fn redis_is_loading() {
    survives(
        "loading",
        |redis| redis.server.restart_loading(5_000),
        |redis| {
            eventually("it is loaded", || redis.server.try_ask::<()>(&["PING"]).is_ok());
            redis.server.ask::<()>(&["FLUSHALL"]);
        },
    );
}

#[test]
fn redis_becomes_a_replica_that_only_reads() {
    // Of a master that is not there, so that it keeps what it has.
    let nobody = free_port().to_string();
    survives(
        "read-only",
        |redis| redis.server.ask::<()>(&["REPLICAOF", "127.0.0.1", &nobody]),
        |redis| redis.server.ask::<()>(&["REPLICAOF", "NO", "ONE"]),
    );
}

#[test]
fn a_changed_password_is_read_again_from_its_file() {
    again_if_the_machine_stood_still(|| {
        let mut redis = Redis::start();
        redis.server.set_password("canary-1");
        let file = redis.folder.path("password").display().to_string();
        let service = redis.serve(&["--store-password-file", &file]);
        survives_in(
            &mut redis,
            &service,
            "password changed",
            |redis| redis.server.set_password("canary-2"),
            |redis| redis.folder.write("password", "canary-2\n"),
        );
        assert!(!service.log().contains("canary"), "the log has a password");
    });
}

/// The service may have so much more memory after an outage than before it: what its allocator keeps at hand.
const GROWTH_MAX_BYTES: u64 = 4 << 20;
/// Calls of five seconds.
const CALLS_OF_AN_OUTAGE: usize = 2_000;

#[test]
fn memory_is_flat_while_redis_does_not_answer() {
    let redis = Redis::start();
    let service = redis.serve(&[]);
    eventually("Redis counts", || is_counted(&service));
    let calls = under_load(&service, "roomy", |load| {
        load.goes_on_for(CALLS_OF_AN_OUTAGE / 2);
        let before = service.resident_bytes();
        redis.server.stop();
        let mut most = 0;
        for _ in 0..10 {
            load.goes_on_for(CALLS_OF_AN_OUTAGE / 10);
            most = most.max(service.resident_bytes());
        }
        redis.server.cont();
        println!("resident: {before} bytes before, {most} at most while Redis was stopped");
        assert!(most <= before + GROWTH_MAX_BYTES, "{before} bytes before, {most} while Redis was stopped");
    });
    calls.assert_let_through("stopped for five seconds");
}

#[test]
fn a_service_starts_without_redis_and_counts_there_when_it_comes() {
    let mut redis = Redis::start();
    redis.server.kill();
    let service = redis.serve(&[]);
    assert_eq!(service.health(), "SERVING");
    let calls = under_load(&service, "roomy", |load| {
        every_rule_decides_as_it_says(&service);
        load.goes_on_for(CALLS);
        redis.server.restart();
        within(BACK_WITHIN, "Redis counts", || is_counted(&service));
    });
    calls.assert_let_through("away at the start");
}

#[test]
fn what_is_flushed_is_there_again_and_no_decision_is_made_elsewhere() {
    let redis = Redis::start();
    // So that a busy machine does not make a call late.
    let service = redis.serve(&["--store-deadline", "1s"]);
    eventually("Redis counts", || is_counted(&service));
    let calls = under_load(&service, "deny", |load| {
        for _ in 0..10 {
            for flush in [&["SCRIPT", "FLUSH"][..], &["FLUSHALL"]] {
                redis.server.ask::<()>(flush);
                load.goes_on_for(CALLS / 20);
            }
        }
    });
    calls.assert_let_through("scripts and counters flushed");
}

/// Whether a new client is counted in Redis: only then is his first request let through.
pub fn is_counted(service: &Service) -> bool {
    ask(service, "deny", &new_client()) == Code::Ok
}

/// By what its rule says while Redis is away, and the answer and the metrics tell who decided.
pub fn every_rule_decides_as_it_says(service: &Service) {
    let decided_here = "tallygate_store_answers_total{source=\"local\"}";
    let before: u64 = service.metric(decided_here).parse().unwrap();
    let client = new_client();
    let let_through = |key| (0..12).filter(|_| ask(service, key, &client) == Code::Ok).count();
    assert_eq!(let_through("local"), LOCAL_SHARE, "local");
    assert_eq!(let_through("allow"), 12, "allow");
    assert_eq!(let_through("deny"), 0, "deny");
    assert_eq!(decided_by(service, "roomy"), "local");
    let decided: u64 = service.metric(decided_here).parse().unwrap();
    assert!(decided >= before + 37, "{decided} after {before}");
}

/// Who decided, as the answer's metadata tells.
pub fn decided_by(service: &Service, key: &str) -> String {
    let answer = service.ask(key, &new_client()).unwrap();
    match answer.dynamic_metadata.unwrap().fields["store"].kind.clone() {
        Some(Kind::StringValue(store)) => store,
        other => panic!("{other:?}"),
    }
}

fn ask(service: &Service, key: &str, client: &str) -> Code {
    service.ask(key, client).unwrap().overall_code()
}

/// One that nobody has counted yet.
fn new_client() -> String {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    format!("client-{}", CLIENTS.fetch_add(1, Relaxed))
}
