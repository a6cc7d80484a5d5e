//! Three replicas on one Redis, any mix of windows and costs, many clients: exactly the limit is let through.

use crate::{
    drive::{ALGORITHMS, Admitted, Call, algorithm, by_algorithm, left},
    harness::{Folder, Service},
    servers::{RedisServer, eventually},
};

/// To each replica.
const CONNECTIONS: usize = 2;
/// On each connection: calls of all replicas meet in Redis, and no replica has more under way than it may.
const OUTSTANDING: usize = 24;

#[test]
fn hits_of_one_are_let_through_up_to_the_limit() {
    let (redis, replicas) = start(&by_algorithm(&[("2000", "1000d"), ("8000", "3000d")]));
    let admitted = drive(&replicas, |n| (n < 9_000).then(|| vec![(algorithm(n), "one", 1)]));
    for algorithm in ALGORITHMS {
        assert_eq!(admitted[&(algorithm, "one")], 2_000, "{algorithm}");
        assert_eq!(left_everywhere(&replicas, algorithm, "one"), 0, "{algorithm}");
    }
    // Two windows of each algorithm.
    assert_eq!(redis.counters().len(), 6);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn mixed_costs_leave_less_than_the_smallest_and_hits_of_one_fill_that_too() {
    const LIMIT: u64 = 4_011;
    let (redis, replicas) = start(&by_algorithm(&[("4011", "1000d"), ("4012", "3000d")]));
    // Costs from 2 to 9, 11,000 hits of each algorithm.
    let mut admitted = drive(&replicas, |n| (n < 6_000).then(|| vec![(algorithm(n), "mixed", 2 + n / 3 % 8)]));
    for algorithm in ALGORITHMS {
        let sum = admitted[&(algorithm, "mixed")];
        assert!((LIMIT - 1..=LIMIT).contains(&sum), "{algorithm}: {sum}");
        assert_eq!(left_everywhere(&replicas, algorithm, "mixed"), LIMIT - sum, "{algorithm}");
    }
    for (counter, hits) in drive(&replicas, |n| (n < 900).then(|| vec![(algorithm(n), "mixed", 1)])) {
        *admitted.get_mut(&counter).unwrap() += hits;
    }
    assert!(admitted.values().all(|&sum| sum == LIMIT), "{admitted:?}");
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn of_two_descriptors_both_are_charged_or_none() {
    const USERS: [&str; 4] = ["ann", "bob", "cyd", "dan"];
    let rules = "domain: shop\ndescriptors:\n\
        - {key: plan, limits: [{rate: 4000/1000d, algorithm: sliding_window}]}\n\
        - {key: user, limits: [700/1000d, {rate: 701/3000d, algorithm: token_bucket}]}\n";
    let (redis, replicas) = start(rules);
    // The users may come 2,800 times, the plan has room for 2,000.
    let admitted = drive(&replicas, |n| {
        let mut call = vec![("user", USERS[usize::try_from(n % 4).unwrap()], 1), ("plan", "basic", 2)];
        if n % 3 == 0 {
            call.reverse();
        }
        (n < 6_000).then_some(call)
    });
    assert_eq!(admitted[&("plan", "basic")], 4_000);
    let of_users = USERS.map(|user| admitted[&("user", user)]);
    assert_eq!(of_users.iter().sum::<u64>(), 2_000);
    assert_eq!(of_users, USERS.map(|user| 700 - left_everywhere(&replicas, "user", user)));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

/// Three replicas with these rules, on a Redis of their own. They wait for it as long as they may, so that a busy
/// machine makes none of them count by itself.
fn start(rules: &str) -> (RedisServer, [Service; 3]) {
    let redis = RedisServer::start();
    let replicas = [(); 3].map(|()| {
        let folder = Folder::with(&[("shop.yaml", rules)]);
        let arguments = ["--store", &redis.url(), "--store-deadline", "1s", "--replicas", "3", "--cores", "2"];
        let service = Service::start(&folder, &arguments);
        service.until_ready();
        service
    });
    (redis, replicas)
}

/// Makes the calls that `call` names, to all replicas alike: see [`drive`](crate::drive::drive).
fn drive(replicas: &[Service; 3], call: impl Fn(u64) -> Option<Call> + Send + Sync + 'static) -> Admitted {
    let connect = |service| (0..CONNECTIONS).map(move |_| Service::connect(service));
    crate::drive::drive(&replicas[0], replicas.iter().flat_map(connect).collect(), OUTSTANDING, call)
}

/// What is left of a counter, by a look: the same whoever is asked, when what was kept of refusals has passed.
fn left_everywhere(replicas: &[Service; 3], key: &str, value: &str) -> u64 {
    let mut told = [0; 3];
    eventually("all replicas tell the same", || {
        told = replicas.each_ref().map(|service| left(service, key, value));
        told == [told[0]; 3]
    });
    told[0]
}
