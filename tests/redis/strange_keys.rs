//! Keys of ours that somebody else has written, cleared or kept: the next charge sets them right.

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service},
    servers::{RedisServer, within},
};

const RULES: &str = "domain: shop
descriptors:
  - {key: k, limits: [3/3650d], on_store_error: deny}
";

/// As long as a refusal may be kept by whoever gave it, and a few seconds more for a busy machine.
const FORGOTTEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// A service, its Redis, and the one key there.
fn start() -> (RedisServer, Service, String) {
    let redis = RedisServer::start();
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    // So that a busy machine does not make a call late.
    let service = Service::start(&folder, &["--store", &redis.url(), "--store-deadline", "1s"]);
    service.until_ready();
    assert_eq!(ask(&service), Code::Ok);
    let key = <[String; 1]>::try_from(redis.counters()).unwrap().concat();
    assert!(key.starts_with("tallygate:{shop}:"), "{key}");
    (redis, service, key)
}

fn ask(service: &Service) -> Code {
    service.ask("k", "v").unwrap().overall_code()
}

#[test]
fn a_key_of_another_form_is_taken_for_nothing_and_replaced() {
    let (redis, service, key) = start();
    let writes = [
        &["LPUSH", &key, "x"][..],
        &["SADD", &key, "x"],
        &["SET", &key, "nonsense"],
        &["SET", &key, ""],
        &["SET", &key, "1 0 9000000000000000"],
        &["SET", &key, "9223372036854775807"],
        &["SET", &key, "-5"],
    ];
    for write in writes {
        redis.ask::<()>(&["DEL", &key]);
        redis.ask::<()>(write);
        assert_eq!([(); 4].map(|()| ask(&service)), [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit], "{write:?}");
        assert_eq!(redis.ask::<String>(&["TYPE", &key]), "string");
        assert_eq!(redis.keys_without_expiry(), [""; 0]);
        // What was refused is known for a while: it must not be the answer to the next.
        redis.ask::<()>(&["DEL", &key]);
        within(FORGOTTEN_WITHIN, "there is room", || ask(&service) == Code::Ok);
    }
}

#[test]
fn a_key_that_somebody_keeps_for_ever_refuses_nobody_for_ever() {
    let (redis, service, key) = start();
    redis.ask::<()>(&["PERSIST", &key]);
    assert_eq!(redis.keys_without_expiry(), [key]);
    // Its window has no end any more: where it would refuse, another begins.
    assert_eq!([(); 5].map(|()| ask(&service)), [Code::Ok; 5]);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
    assert_eq!(ask(&service), Code::OverLimit);
}

#[test]
fn when_everything_is_flushed_counting_begins_anew_and_nobody_is_refused_for_longer_than_a_second() {
    let (redis, service, _) = start();
    assert_eq!([(); 3].map(|()| ask(&service)), [Code::Ok, Code::Ok, Code::OverLimit]);
    redis.ask::<()>(&["FLUSHALL"]);
    within(FORGOTTEN_WITHIN, "there is room", || ask(&service) == Code::Ok);
    assert_eq!([(); 3].map(|()| ask(&service)), [Code::Ok, Code::Ok, Code::OverLimit]);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}
