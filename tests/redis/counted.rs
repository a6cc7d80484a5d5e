//! Replicas find out how many they are, so that each counts its part of a limit while Redis is away.

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service, eventually},
    servers::RedisServer,
};

const RULES: &str = "domain: shop\ndescriptors:\n  - {key: k, limits: [12/3650d]}\n";
/// Where signs of life stand.
const KEY: &str = "tallygate:{@house}:replicas";

fn start(redis: &RedisServer, arguments: &[&str]) -> Service {
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let service = Service::start(&folder, &[&["--store", &redis.url()], arguments].concat());
    service.until_ready();
    service
}

fn until_all_count(services: &[Service], replicas: u32) {
    eventually(&format!("all count {replicas}"), || {
        services.iter().all(|service| service.status()["replicas_counted"] == replicas)
    });
}

/// Of a new client's requests, those that a service lets through by itself.
fn part(service: &Service) -> usize {
    (0..13).filter(|_| service.ask("k", "v").unwrap().overall_code() == Code::Ok).count()
}

#[test]
fn three_processes_know_of_three_and_of_two_when_one_is_killed() {
    let mut redis = RedisServer::start();
    let mut services = vec![start(&redis, &[])];
    until_all_count(&services, 1);
    services.extend([start(&redis, &[]), start(&redis, &[])]);
    until_all_count(&services, 3);
    assert_eq!(services[0].metric("tallygate_replicas"), "3");
    assert_eq!(redis.keys_without_expiry(), [""; 0]);

    drop(services.pop());
    until_all_count(&services, 2);
    assert_eq!((&services[0].status()["replicas"], services[1].metric("tallygate_replicas")), (&2.into(), "2".into()));

    // The last number holds while Redis is away, and says what each lets through.
    redis.kill();
    assert_eq!(services.iter().map(part).collect::<Vec<_>>(), [6, 6]);
    redis.restart();
    until_all_count(&services, 2);
}

#[test]
fn a_full_redis_makes_nobody_feel_alone() {
    let redis = RedisServer::start();
    let services = [start(&redis, &[]), start(&redis, &[])];
    until_all_count(&services, 2);
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    // Nobody can write there, so what is there expires; the last number holds.
    eventually("no sign is left", || redis.ask::<u64>(&["EXISTS", KEY]) == 0);
    assert!(services.iter().all(|service| service.status()["replicas_counted"] == 2));
}

#[test]
fn a_number_that_people_give_holds_and_what_is_counted_is_told_beside_it() {
    let mut redis = RedisServer::start();
    let service = start(&redis, &["--replicas", "4"]);
    until_all_count(std::slice::from_ref(&service), 1);
    assert_eq!(
        (service.metric("tallygate_replicas"), service.metric("tallygate_replicas_counted")),
        ("4".into(), "1".into())
    );
    assert_eq!(service.status()["replicas"], 4);
    redis.kill();
    assert_eq!(part(&service), 3);
}

#[test]
fn a_service_that_starts_without_redis_is_alone_until_it_can_count() {
    let mut redis = RedisServer::start();
    redis.kill();
    let service = start(&redis, &[]);
    let status = service.status();
    assert_eq!((&status["replicas"], &status["replicas_counted"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(part(&service), 12);
    redis.restart();
    until_all_count(&[service, start(&redis, &[])], 2);
}

#[test]
fn what_others_wrote_where_signs_of_life_stand_is_replaced_bounded_or_forgotten() {
    let redis = RedisServer::start();
    let services = [start(&redis, &[])];
    until_all_count(&services, 1);
    redis.ask::<()>(&["DEL", KEY]);
    redis.ask::<()>(&["SET", KEY, "nonsense"]);
    eventually("it is replaced", || redis.ask::<String>(&["TYPE", KEY]) == "zset");
    // Of a clock that was ahead.
    redis.ask::<()>(&["ZADD", KEY, "9007199254740991", "tomorrow"]);
    eventually("it is forgotten", || redis.ask::<i64>(&["ZCARD", KEY]) == 1);

    let [seconds, _]: [u64; 2] = redis.ask::<Vec<u64>>(&["TIME"]).try_into().unwrap();
    let score = (seconds * 1_000_000).to_string();
    let names: Vec<String> = (0..10_500).map(|number| format!("name-{number}")).collect();
    let pairs = names.iter().flat_map(|name| [score.as_str(), name]);
    redis.ask::<()>(&["ZADD", KEY].into_iter().chain(pairs).collect::<Vec<_>>());
    until_all_count(&services, 10_000);
    until_all_count(&services, 1);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}
