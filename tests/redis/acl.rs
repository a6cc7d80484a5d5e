//! The ACL user of the manual can do all that is needed.

use std::{fs, time::Duration};

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service, command},
    servers::{Cluster, RedisServer, within},
};

/// What is refused without Redis passes with it.
const RULES: &str = "domain: shop
descriptors:
  - {key: k, limits: [3/3650d, {rate: 9/h, algorithm: sliding_window}], on_exceed: {block_for: 1h}, on_store_error: deny}
";

/// The line of the manual that makes the user, word for word, with `password`.
pub fn acl_of_the_manual(password: &str) -> Vec<String> {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md")).unwrap();
    let line = manual.lines().find(|line| line.trim_start().starts_with("ACL SETUSER")).expect("it stands there");
    line.split_whitespace().map(|word| word.replace("PASSWORD", password)).collect()
}

#[test]
fn every_command_of_the_scripts_stands_in_the_manual() {
    let acl = acl_of_the_manual("secret");
    let scripts = [
        include_str!("../../src/store/redis/charge.lua"),
        include_str!("../../src/store/redis/give_back.lua"),
        include_str!("../../src/store/redis/reset.lua"),
        include_str!("../../src/store/redis/orders.lua"),
        include_str!("../../src/store/redis/replicas.lua"),
    ];
    for script in scripts {
        let calls = script.split("call('").skip(1).map(|rest| rest.split('\'').next().unwrap());
        let missing: Vec<_> = calls.filter(|name| !acl.contains(&format!("+{}", name.to_lowercase()))).collect();
        assert_eq!(missing, [""; 0]);
    }
}

#[test]
fn the_user_of_the_manual_suffices_for_everything() {
    suffices("tallygate:");
}

#[test]
fn it_suffices_for_keys_that_begin_with_something_else() {
    suffices("a_tallygate:");
}

fn suffices(prefix: &str) {
    let redis = RedisServer::start();
    let ours = |word: String| if word == "~tallygate:*" { format!("~{prefix}*") } else { word };
    let acl: Vec<String> = acl_of_the_manual("secret").into_iter().map(ours).collect();
    redis.ask::<()>(&acl.iter().map(String::as_str).collect::<Vec<_>>());
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.ask::<()>(&["ACL", "SETUSER", "default", "-@all", "+ping", "+acl", "+script|flush", "+keys"]);
    let folder = Folder::with(&[("shop.yaml", RULES), ("password", "secret\n")]);
    let (url, password) = (format!("redis://tallygate@127.0.0.1:{}/1", redis.port()), folder.path("password"));
    let arguments = ["--store", &url, "--store-deadline", "1s", "--store-password-file", password.to_str().unwrap()];
    let service = Service::start(&folder, &[&arguments[..], &["--store-key-prefix", prefix]].concat());
    service.until_ready();
    let ask = |value: &str| service.ask("k", value).unwrap().overall_code();

    assert_eq!([(); 4].map(|()| ask("v")), [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit]);
    redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(ask("w"), Code::Ok);
    let admin = format!("127.0.0.1:{}", service.admin_port());
    let reset = command(&folder).args(["reset", "shop", "k=v", "--admin", &admin]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&reset.stdout), "reset: 2 counter(s), 1 block(s) lifted\n");
    within(Duration::from_secs(2), "the reset shows", || ask("v") == Code::Ok);
    let orders: [&[&str]; 4] = [
        &["override", "set", "shop", "k=v", "--limit", "9/h", "--expires-in", "1h"],
        &["override", "delete", "shop", "k=v"],
        &["block", "set", "shop", "k=v", "--expires-in", "1h"],
        &["reset", "shop", "k=v", "--prefix"],
    ];
    for order in orders {
        let output = command(&folder).args(order).args(["--json", "--admin", &admin]).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["everywhere"], true, "{order:?}: {answer}");
    }
    within(Duration::from_secs(2), "eviction is warned of", || service.log().contains("maxmemory-policy"));
    within(Duration::from_secs(3), "it counts itself", || service.status()["replicas_counted"] == 1);
    assert!(!service.log().contains("replicas cannot be counted"), "{}", service.log());
    assert!(!service.metrics().contains("result=\"denied\""), "{}", service.metrics());
}

#[test]
fn it_suffices_in_a_cluster_whose_slots_move() {
    let cluster = Cluster::start();
    let acl = acl_of_the_manual("secret");
    for master in &cluster.masters {
        master.ask::<()>(&acl.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let rules = "domain: shop\ndescriptors:\n  - {key: k, limits: [3/3650d], on_store_error: deny}\n";
    let folder = Folder::with(&[("shop.yaml", rules), ("password", "secret\n")]);
    let (url, password) = (cluster.url().replace("://", "://tallygate@"), folder.path("password"));
    let arguments = ["--store", &url, "--store-deadline", "1s", "--store-password-file", password.to_str().unwrap()];
    let service = Service::start(&folder, &arguments);
    service.until_ready();
    let ask = |value: &str| service.ask("k", value).unwrap().overall_code();
    within(Duration::from_secs(2), "it counts", || ask("early") == Code::Ok);

    // A new key is asked for where the slot goes.
    let slot = cluster.slot("{shop}");
    cluster.begin_to_move(slot, 2);
    assert_eq!([(); 4].map(|()| ask("v")), [Code::Ok, Code::Ok, Code::Ok, Code::OverLimit]);
    assert_eq!(cluster.masters[2].counters().len(), 1);
    cluster.move_slot(slot, 2);
    assert_eq!(ask("w"), Code::Ok);
    assert!(!service.metrics().contains("result=\"denied\""), "{}", service.metrics());
}
