//! The ACL user of the manual can do all that is needed.

use std::{fs, time::Duration};

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service, command},
    servers::{RedisServer, within},
};

/// What is refused without Redis passes with it.
const RULES: &str = "domain: shop
descriptors:
  - {key: k, limits: [3/3650d, {rate: 9/h, algorithm: sliding_window}], on_exceed: {block_for: 1h}, on_store_error: deny}
";

/// The line of the manual that makes the user, word for word, with `password`.
fn acl_of_the_manual(password: &str) -> Vec<String> {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md")).unwrap();
    let line = manual.lines().find(|line| line.trim_start().starts_with("ACL SETUSER")).expect("it stands there");
    line.split_whitespace().map(|word| word.replace("PASSWORD", password)).collect()
}

#[test]
fn the_user_of_the_manual_suffices_for_everything() {
    let redis = RedisServer::start();
    let acl = acl_of_the_manual("secret");
    redis.ask::<()>(&acl.iter().map(String::as_str).collect::<Vec<_>>());
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.ask::<()>(&["ACL", "SETUSER", "default", "-@all", "+ping", "+acl", "+script|flush", "+keys"]);
    let folder = Folder::with(&[("shop.yaml", RULES), ("password", "secret\n")]);
    let (url, password) = (format!("redis://tallygate@127.0.0.1:{}/1", redis.port()), folder.path("password"));
    let arguments = ["--store", &url, "--store-deadline", "1s", "--store-password-file", password.to_str().unwrap()];
    let service = Service::start(&folder, &arguments);
    service.until_ready();
    let ask = |value: &str| service.ask("k", value).unwrap().overall_code();

    assert_eq!([(); 4].map(|()| ask("v")), [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit]);
    redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(ask("w"), Code::Ok);
    let admin = format!("127.0.0.1:{}", service.admin_port());
    let reset = command(&folder).args(["reset", "shop", "k=v", "--admin", &admin]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&reset.stdout), "reset: 2 counter(s), 1 block(s) lifted\n");
    within(Duration::from_secs(2), "the reset shows", || ask("v") == Code::Ok);
    within(Duration::from_secs(2), "eviction is warned of", || service.log().contains("maxmemory-policy"));
    assert!(!service.metrics().contains("result=\"denied\""), "{}", service.metrics());
}
