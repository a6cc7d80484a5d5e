//! Three replicas on one Redis, any mix of windows and costs, many clients: exactly the limit is let through.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tallygate::grpc::proto::{
    RateLimitDescriptor, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    harness::{Folder, Service, descriptor, request},
    servers::{RedisServer, eventually},
};

/// To each replica.
const CONNECTIONS: usize = 2;
/// On each connection: calls of all replicas meet in Redis, and no replica has more under way than it may.
const OUTSTANDING: usize = 24;

/// Every window is one of years, and lasts longer than the test; what drains of a bucket meanwhile is less than a hit.
const ALGORITHMS: [&str; 3] = ["fixed_window", "sliding_window", "token_bucket"];

/// What is asked in one call: of each descriptor the key, the value and the hits.
type Call = Vec<(&'static str, &'static str, u64)>;
/// The hits that were let through, by key and value.
type Admitted = BTreeMap<(&'static str, &'static str), u64>;

#[test]
fn hits_of_one_are_let_through_up_to_the_limit() {
    let (redis, replicas) = start(&by_algorithm(&[("2000", "1000d"), ("8000", "3000d")]));
    let admitted = drive(&replicas, |n| (n < 9_000).then(|| vec![(algorithm(n), "one", 1)]));
    for algorithm in ALGORITHMS {
        assert_eq!(admitted[&(algorithm, "one")], 2_000, "{algorithm}");
        assert_eq!(left_everywhere(&replicas, algorithm, "one"), 0, "{algorithm}");
    }
    // Two windows of each algorithm.
    assert_eq!(redis.keys().len(), 6);
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
    let rules = "- {key: plan, limits: [{rate: 4000/1000d, algorithm: sliding_window}]}\n\
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

/// A rule for each algorithm, named by it, with these windows.
fn by_algorithm(windows: &[(&str, &str)]) -> String {
    let rule = |algorithm: &str| {
        let limit = |(count, window): &(&str, &str)| format!("{{rate: {count}/{window}, algorithm: {algorithm}}}");
        let limits: Vec<String> = windows.iter().map(limit).collect();
        format!("- {{key: {algorithm}, limits: [{}]}}\n", limits.join(", "))
    };
    ALGORITHMS.map(rule).concat()
}

fn algorithm(n: u64) -> &'static str {
    ALGORITHMS[usize::try_from(n % 3).unwrap()]
}

/// Three replicas with these rules, on a Redis of their own. They wait for it as long as they may, so that a busy
/// machine makes none of them count by itself.
fn start(rules: &str) -> (RedisServer, [Service; 3]) {
    let redis = RedisServer::start();
    let replicas = [(); 3].map(|()| {
        let folder = Folder::with(&[("shop.yaml", &format!("domain: shop\ndescriptors:\n{rules}"))]);
        let arguments = ["--store", &redis.url(), "--store-deadline", "1s", "--replicas", "3", "--cores", "2"];
        let service = Service::start(&folder, &arguments);
        service.until_ready();
        service
    });
    (redis, replicas)
}

/// Makes the calls that `call` names by their numbers, from 0 until it names none, to all replicas alike, and adds up
/// what is let through.
fn drive(replicas: &[Service; 3], call: impl Fn(u64) -> Option<Call> + Send + Sync + 'static) -> Admitted {
    let (call, number) = (Arc::new(call), Arc::new(AtomicU64::new(0)));
    let connect = |service| (0..CONNECTIONS).map(move |_| Service::connect(service));
    let connections: Vec<Channel> = replicas.iter().flat_map(connect).collect();
    replicas[0].block_on(async move {
        let mut callers = JoinSet::new();
        for connection in connections {
            for _ in 0..OUTSTANDING {
                let (call, number) = (Arc::clone(&call), Arc::clone(&number));
                callers.spawn(make_calls(connection.clone(), move || call(number.fetch_add(1, Relaxed))));
            }
        }
        let mut admitted = Admitted::new();
        for (counter, hits) in callers.join_all().await.into_iter().flatten() {
            *admitted.entry(counter).or_default() += hits;
        }
        admitted
    })
}

/// Makes one call after the other. Every one must be answered.
async fn make_calls(connection: Channel, next: impl Fn() -> Option<Call>) -> Admitted {
    let mut client = RateLimitServiceClient::new(connection);
    let mut admitted = Admitted::new();
    while let Some(call) = next() {
        let descriptors = call.iter().map(|&(key, value, hits)| asking(key, value, hits)).collect();
        let answer = client.should_rate_limit(request(descriptors)).await.unwrap().into_inner();
        let let_through = answer.overall_code() == Code::Ok;
        for (key, value, hits) in call {
            *admitted.entry((key, value)).or_default() += if let_through { hits } else { 0 };
        }
    }
    admitted
}

/// What is left of a counter, by a look: the same whoever is asked, when what was kept of refusals has passed.
fn left_everywhere(replicas: &[Service; 3], key: &str, value: &str) -> u64 {
    let left = |service: &Service| -> u64 {
        service.call(request(vec![asking(key, value, 0)])).unwrap().statuses[0].limit_remaining.into()
    };
    let mut told = [0; 3];
    eventually("all replicas tell the same", || {
        told = replicas.each_ref().map(left);
        told == [told[0]; 3]
    });
    told[0]
}

fn asking(key: &str, value: &str, hits: u64) -> RateLimitDescriptor {
    RateLimitDescriptor { hits_addend: Some(hits), ..descriptor(key, value) }
}
