//! Domains whose counters are spread over a cluster: what descriptors in several slots come to, and what is given back.

use std::{thread, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use tallygate::grpc::proto::{RateLimitDescriptor, rate_limit_response::Code};

use crate::{
    drive::{Admitted, Call, drive, left},
    harness::{Folder, Service, command, descriptor, request},
    servers::{Cluster, RedisServer, eventually},
};

const GIVE_BACK: &str = include_str!("../../src/store/redis/give_back.lua");

/// Windows that do not end while a test runs, and a bucket that hardly drains.
const RULES: &str = "domain: shop
slots: spread
descriptors:
  - {key: plan, limits: [{rate: 4000/1000d, algorithm: sliding_window}], on_store_error: deny}
  - {key: user, limits: [700/1000d, {rate: 701/3000d, algorithm: token_bucket}], on_store_error: deny}
  - {key: few, limits: [2/1000d], on_store_error: deny}
  - {key: drop, limits: [{rate: 1/1000d, algorithm: token_bucket}], on_store_error: deny}
  - {key: roomy, limits: [1000000/1000d], on_store_error: allow}
";

/// Starts one that has spoken to all masters.
fn serve(cluster: &Cluster, deadline: &str) -> Service {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &["--store", &cluster.url(), "--store-deadline", deadline, "--cores", "2"]);
    service.until_ready();
    for number in 0..16 {
        let plan = format!("any-{number}");
        eventually("it is counted", || ask(&service, &[("plan", &plan)]) == Code::Ok);
    }
    service
}

/// Decisions that were made without a server.
fn decided_alone(service: &Service) -> u64 {
    service.metric("tallygate_store_answers_total{source=\"local\"}").parse().unwrap()
}

fn ask(service: &Service, descriptors: &[(&str, &str)]) -> Code {
    let descriptors: Vec<RateLimitDescriptor> = descriptors.iter().map(|(key, value)| descriptor(key, value)).collect();
    service.call(request(descriptors)).unwrap().overall_code()
}

const MANY: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

#[test]
fn counters_of_one_domain_stand_on_all_masters_and_a_request_over_them_passes_whole_or_not_at_all() {
    let cluster = Cluster::start();
    let service = serve(&cluster, "1s");
    let before = decided_alone(&service);
    let all =
        |few| MANY.map(|user| ("user", user)).into_iter().chain([("few", few), ("plan", "p")]).collect::<Vec<_>>();
    assert_eq!([(); 3].map(|()| ask(&service, &all("x"))), [Code::Ok, Code::Ok, Code::OverLimit]);
    for master in &cluster.masters {
        assert!(!master.counters().is_empty(), "of so many, each has some");
        assert_eq!(master.keys_without_expiry(), [""; 0]);
        let in_its_own_braces = |key: &String| {
            let (tag, name) = key.strip_prefix("tallygate:{shop:").unwrap().split_once("}:").unwrap();
            tag.len() == 16 && name.len() == 32 && name.starts_with(tag)
        };
        assert!(master.counters().iter().all(in_its_own_braces), "{:?}", master.counters());
    }
    assert_eq!(MANY.map(|user| left(&service, "user", user)), [698; 12], "what the third had taken was given back");
    assert_eq!(left(&service, "plan", "p"), 3_998);

    // A bucket that was empty keeps nothing of what it had to give back, but for what drains in a round trip.
    let all: Vec<_> = all("x").into_iter().chain([("drop", "d")]).collect();
    assert_eq!(ask(&service, &all), Code::OverLimit);
    assert_eq!(ask(&service, &[("drop", "d")]), Code::Ok);

    let admin = format!("127.0.0.1:{}", service.admin_port());
    let folder = Folder::with(&[]);
    let told = |arguments: &[&str]| {
        let done = command(&folder).args(arguments).args(["--admin", &admin]).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
    };
    assert_eq!(told(&["reset", "shop", "few=x"]), "reset: 1 counter(s), 0 block(s) lifted\n");
    assert_eq!(told(&["reset", "shop", "user=a"]), "reset: 2 counter(s), 0 block(s) lifted\n");
    assert_eq!((left(&service, "user", "a"), left(&service, "user", "b")), (700, 698));
    let passed = || ask(&service, &[("few", "x"), ("user", "a"), ("user", "b")]);
    assert_eq!(passed(), Code::Ok);
    assert!(told(&["block", "set", "shop", "user=b", "--expires-in", "1h"]).contains("block"));
    assert_eq!(passed(), Code::OverLimit);
    assert_eq!((left(&service, "few", "x"), left(&service, "user", "a")), (1, 699));
    assert_eq!(decided_alone(&service), before);
}

const USERS: [&str; 4] = ["ann", "bob", "cyd", "dan"];

/// One of the users comes as often as all others together, so that he is over his limit long before the plan is; and then
/// the plan is. Calls differ, so that refusals of one are not repeated for another.
fn call(n: u64) -> Option<Call> {
    let user = if n.is_multiple_of(2) { USERS[0] } else { USERS[usize::try_from(1 + n / 2 % 3).unwrap()] };
    let mut call = vec![("user", user, 1 + n / 8 % 3), ("plan", "basic", 2 + n / 24 % 4)];
    if n.is_multiple_of(3) {
        call.reverse();
    }
    (n < 6_000).then_some(call)
}

fn drive_all(replicas: &[Service; 3]) -> Admitted {
    let connections = replicas.iter().flat_map(|service| [service.connect(), service.connect()]);
    drive(&replicas[0], connections.collect(), 16, call)
}

#[test]
fn three_replicas_let_through_no_more_than_the_limits_and_give_back_everything_else() {
    let cluster = Cluster::start();
    let replicas = [(); 3].map(|()| serve(&cluster, "1s"));
    let before = replicas.each_ref().map(decided_alone);
    let admitted = drive_all(&replicas);
    let (plan, greedy) = (admitted[&("plan", "basic")], admitted[&("user", USERS[0])]);
    // Those who met hits that were about to be given back were refused, though they would have fitted.
    assert!((3_000..=4_000).contains(&plan) && (600..=700).contains(&greedy), "{admitted:?}");
    for user in USERS {
        assert!(admitted[&("user", user)] <= 700, "{admitted:?}");
        eventually("what was not let through is there", || {
            left(&replicas[0], "user", user) == 700 - admitted[&("user", user)]
        });
    }
    eventually("of the plan, too", || left(&replicas[1], "plan", "basic") == 4_000 - plan);
    assert_eq!(replicas.each_ref().map(decided_alone), before);
}

#[test]
fn whatever_answers_are_lost_no_more_is_let_through_than_the_limits() {
    let cluster = Cluster::start();
    let replicas = [(); 3].map(|()| serve(&cluster, "20ms"));
    let admitted = thread::scope(|scope| {
        let calling = scope.spawn(|| drive_all(&replicas));
        for number in 0..10 {
            // Longer than a deadline, shorter than what makes one of them be away for long.
            cluster.masters[number % 3].ask::<()>(&["CLIENT", "PAUSE", "30"]);
            thread::sleep(Duration::from_millis(100));
        }
        calling.join().unwrap()
    });
    assert!(replicas.iter().map(decided_alone).sum::<u64>() > 0, "some came too late");
    // What was let through has been counted: as somebody says who waits for Redis.
    let patient = serve(&cluster, "1s");
    let before = decided_alone(&patient);
    let plan = admitted[&("plan", "basic")];
    assert!(plan + left(&patient, "plan", "basic") <= 4_000, "{admitted:?}");
    for user in USERS {
        let of_user = admitted[&("user", user)];
        assert!(of_user + left(&patient, "user", user) <= 700, "{admitted:?}");
    }
    assert_eq!(decided_alone(&patient), before);
}

#[test]
fn while_one_master_is_away_nothing_is_taken_of_the_others_in_vain() {
    let mut cluster = Cluster::start_with(&["--cluster-require-full-coverage", "no"]);
    let service = serve(&cluster, "1s");
    // A client of each master.
    let clients: Vec<String> = (0..64).map(|number| format!("client-{number}")).collect();
    let of_master = |master: &RedisServer| {
        let found = clients.iter().find(|client| {
            let before = master.counters().len();
            assert_eq!(ask(&service, &[("roomy", client)]), Code::Ok);
            master.counters().len() > before
        });
        found.expect("one of so many is this one's").clone()
    };
    let [gone, stays] = [&cluster.masters[0], &cluster.masters[1]].map(of_master);
    let both = [("roomy", &*gone), ("roomy", &*stays)];
    assert_eq!(ask(&service, &both), Code::Ok);
    cluster.masters[0].kill();
    eventually("it is known", || {
        ask(&service, &[("roomy", &gone)]);
        service.metric("tallygate_store_available") == "0"
    });
    let before = left(&service, "roomy", &stays);
    for _ in 0..20 {
        assert_eq!(ask(&service, &both), Code::Ok, "as its rules say");
    }
    assert_eq!(left(&service, "roomy", &stays), before);
}

/// What the script leaves of a value, at a time in microseconds.
fn after(server: &RedisServer, value: &str, now: u64, taken: [u64; 4]) -> String {
    server.ask::<()>(&["SET", "tallygate:{d}:k", value, "PX", "100000"]);
    let mut words: Vec<String> = ["EVAL", GIVE_BACK, "1", "tallygate:{d}:k"].map(str::to_owned).into();
    words.push(now.to_string());
    words.extend(taken.map(|number| number.to_string()));
    server.ask::<u64>(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(server.keys_without_expiry(), [""; 0]);
    server.ask(&["GET", "tallygate:{d}:k"])
}

#[test]
fn of_a_window_is_given_back_only_as_long_as_it_lasts() {
    let server = RedisServer::start();
    for (value, hits, end, then) in [
        ("5 0 1000", 2, 1_000, "3 0 1000"),
        ("5 7 1000", 5, 1_000, "0 7 1000"),
        // The next window, or the one before: the clock of the server was set back.
        ("5 0 2000", 2, 1_000, "5 0 2000"),
        ("5 0 1000", 2, 2_000, "5 0 1000"),
        // Somebody else gave one back in between: that was one of the window before, where that counts.
        ("1 4 1000", 2, 1_000, "0 3 1000"),
        ("0 4 1000", 9, 1_000, "0 0 1000"),
        // None of ours.
        ("five", 2, 1_000, "five"),
        ("-5", 2, 1_000, "-5"),
    ] {
        assert_eq!(after(&server, value, 100, [hits, end, 0, 0]), then, "{value}");
    }
    // A number alone ends when its key expires.
    server.ask::<()>(&["SET", "tallygate:{d}:k", "5", "PXAT", "4000000000000"]);
    for (end, then) in [("4000000000000", "5"), ("4000000000000000", "3"), ("4000000000001000", "3")] {
        server.ask::<u64>(&["EVAL", GIVE_BACK, "1", "tallygate:{d}:k", "", "2", end, "0", "0"]);
        assert_eq!(server.ask::<String>(&["GET", "tallygate:{d}:k"]), then);
    }
    assert_eq!(server.ask::<u64>(&["PEXPIRETIME", "tallygate:{d}:k"]), 4_000_000_000_000);
    // What is gone stays gone, and what is of another type is nobody's business.
    server.ask::<()>(&["DEL", "tallygate:{d}:k"]);
    server.ask::<u64>(&["EVAL", GIVE_BACK, "1", "tallygate:{d}:k", "", "2", "1000", "0", "0"]);
    server.ask::<()>(&["LPUSH", "tallygate:{d}:l", "x"]);
    server.ask::<u64>(&["EVAL", GIVE_BACK, "1", "tallygate:{d}:l", "", "2", "1000", "0", "0"]);
    assert_eq!(server.keys(), ["tallygate:{d}:l"]);
}

/// A level of a bucket in parts of a hit, that many to one; `COUNT` drain in a microsecond.
const PARTS: u64 = 10_000_000;
const COUNT: u64 = 30_000;

/// One hit or more that a request takes: when after the one before, how many, and after how long they are given back; None:
/// never.
type Take = (u64, u64, Option<u64>);

#[test]
fn of_a_bucket_is_given_back_no_more_than_is_still_there_however_many_do() {
    let server = RedisServer::start();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() });
    let later = prop_oneof![Just(0), 0u64..1_500];
    let takes = prop::collection::vec((0u64..1_500, 1u64..6, prop::option::weighted(0.7, later)), 1..6);
    let tried = runner.run(&(0..3 * PARTS, takes), |(before, takes): (u64, Vec<Take>)| {
        bucket_is_never_below_what_it_would_hold(&server, before, &takes)
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}

fn bucket_is_never_below_what_it_would_hold(
    server: &RedisServer,
    before: u64,
    takes: &[Take],
) -> Result<(), TestCaseError> {
    const START: u64 = 1_800_000_000_000_000;
    /// What happens to hits.
    enum Hits {
        Come { stay: bool },
        GoBack { came: u64 },
    }
    let mut events = Vec::new();
    let mut now = START;
    for &(after, hits, back) in takes {
        now += after;
        events.push((now, hits, Hits::Come { stay: back.is_none() }));
        events.extend(back.map(|later| (now + later, hits, Hits::GoBack { came: now })));
    }
    // Of what happens at the same time, in the order in which it was written.
    events.sort_by_key(|&(at, ..)| at);
    let drain = |level: u64, micros: u64| level.saturating_sub(micros * COUNT);
    // As it is, and as it would be without those that go back.
    let (mut is, mut should, mut last) = (before, before, START);
    for (at, hits, what) in events {
        (is, should, last) = (drain(is, at - last), drain(should, at - last), at);
        match what {
            Hits::Come { stay } => {
                is += hits * PARTS;
                should += if stay { hits * PARTS } else { 0 };
            }
            Hits::GoBack { came } => {
                let value = format!("{} {} {at}", is / PARTS, is % PARTS);
                let left = after(server, &value, at, [hits, came, PARTS, COUNT]);
                let numbers: Vec<u64> = left.split(' ').map(|number| number.parse().unwrap()).collect();
                let exact = is.saturating_sub((hits * PARTS).saturating_sub((at - came) * COUNT));
                is = numbers[0] * PARTS + numbers[1];
                prop_assert_eq!(is, exact, "{} of {}", hits, value);
            }
        }
        prop_assert!(is >= should, "{} instead of {}", is, should);
    }
    Ok(())
}

#[test]
fn numbers_too_large_to_be_exact_leave_a_hit_or_two_more() {
    let server = RedisServer::start();
    // A thousand hits of a bucket of ten years.
    let length = 10 * 366 * 86_400_000_000;
    for (passed, then) in [(0, "500 7 100"), (1, "502 7 100")] {
        assert_eq!(after(&server, "1500 7 100", 100 + passed, [1_000, 100, length, 1_000_000]), then);
    }
}
