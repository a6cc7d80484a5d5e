//! Addresses as they are written, and what is made of them.

use proptest::prelude::*;

use super::*;

fn redis(text: &str) -> RedisAddress {
    match StoreAddress::parse(text) {
        Ok(StoreAddress::Redis(redis)) => redis,
        other => panic!("{text}: {other:?}"),
    }
}

fn server(host: &str, port: u16) -> Server {
    Server { host: host.into(), port }
}

#[test]
fn addresses_in_full_are_what_the_short_ones_mean() {
    for (written, in_full) in [
        ("memory", "memory"),
        ("redis://localhost", "redis://localhost:6379"),
        ("REDIS://localhost/", "redis://localhost:6379"),
        ("redis://10.0.0.1:7000/0", "redis://10.0.0.1:7000"),
        ("redis://redis_1.internal/15", "redis://redis_1.internal:6379/15"),
        ("rediss://[2001:DB8::1]/2", "rediss://[2001:db8::1]:6379/2"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("redis://me@host", "redis://***@host:6379"),
        ("redis://:canary@host", "redis://***@host:6379"),
        ("redis://@host", "redis://host:6379"),
        ("redis-sentinel://a,b:1,[::1]/my-master.1", "redis-sentinel://a:26379,b:1,[::1]:26379/my-master.1"),
        ("rediss-sentinel://me@a/m/3", "rediss-sentinel://***@a:26379/m/3"),
        ("redis-cluster://a,b:7001", "redis-cluster://a:6379,b:7001"),
        ("rediss-cluster://me:canary@a/0", "rediss-cluster://***@a:6379"),
        ("unix:/run/redis.sock", "redis+unix:///run/redis.sock"),
        ("redis+unix:///run/@redis.sock", "redis+unix:///run/@redis.sock"),
        ("redis+unix://me:canary@/run/redis.sock", "redis+unix://***@/run/redis.sock"),
    ] {
        let address = StoreAddress::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(address.to_string(), in_full, "{written}");
    }
    assert_eq!(redis("unix:run/redis.sock").topology, Topology::Unix("run/redis.sock".into()));
}

#[test]
fn every_part_of_an_address_goes_to_its_place() {
    let address = redis("rediss-sentinel://me:canary@a,[::1]:7/m/3");
    let sentinels = vec![server("a", SENTINEL_PORT), server("::1", 7)];
    assert_eq!(address.topology, Topology::Sentinel { sentinels, master: "m".into() });
    assert_eq!((address.tls, address.user.as_deref(), address.database), (true, Some("me"), 3));
    assert_eq!(address.password.as_ref().map(Password::reveal), Some("canary"));
}

#[test]
fn users_and_passwords_may_hold_everything() {
    for (login, user, password) in [
        ("me", Some("me"), None),
        ("me:", Some("me"), None),
        (":secret", None, Some("secret")),
        ("me:a:b@c", Some("me"), Some("a:b@c")),
        ("m%65:%2F%3f%23%40%25", Some("me"), Some("/?#@%")),
        ("m%C3%BC:%e2%82%ac", Some("mü"), Some("€")),
        ("", None, None),
    ] {
        let address = redis(&format!("redis://{login}@host"));
        assert_eq!((address.user.as_deref(), address.password.as_ref().map(Password::reveal)), (user, password));
    }
}

#[test]
fn what_is_wrong_is_named_and_an_example_given() {
    let alone = "for example `redis://redis.internal:6379`";
    let sentinels = "for example `redis-sentinel://a:26379,b:26379/main`";
    let cluster = "for example `redis-cluster://a:6379,b:6379`";
    let socket = "for example `redis+unix:///run/redis/redis.sock`";
    for (written, said, example) in [
        ("", "it is neither `memory` nor a URL", alone),
        ("memroy", "it is neither `memory` nor a URL; did you mean `memory`?", alone),
        ("localhost:6379", "it is neither `memory` nor a URL", alone),
        (
            "reddis://a",
            "its scheme is none of `redis`, `rediss`, `redis-sentinel`, `rediss-sentinel`, `redis-cluster`, \
             `rediss-cluster`, `redis+unix`; did you mean `redis`?",
            alone,
        ),
        ("redis://", "the host is missing", alone),
        ("redis://me@:6379", "the host is missing", alone),
        ("redis://a:b", "`a:b` is no HOST:PORT: the port is no number from 1 to 65535", alone),
        ("redis://a:", "`a:` is no HOST:PORT: the port is no number from 1 to 65535", alone),
        ("redis://a:0", "`a:0` is no HOST:PORT: the port is no number from 1 to 65535", alone),
        ("redis://a:+1", "`a:+1` is no HOST:PORT: the port is no number from 1 to 65535", alone),
        ("redis://a:65536", "`a:65536` is no HOST:PORT: the port is no number from 1 to 65535", alone),
        ("redis://a b", "`a b` is no HOST:PORT: a host has letters, digits, `.`, `-` and `_`", alone),
        ("redis://::1", "`::1` is no HOST:PORT: an IPv6 address stands in brackets", alone),
        ("redis://[::1", "`[::1` is no HOST:PORT: the bracket is not closed", alone),
        ("redis://[a]", "`[a]` is no HOST:PORT: what stands in brackets is no IPv6 address", alone),
        ("redis://[::1]7", "`[::1]7` is no HOST:PORT: a `:` and the port follow the bracket", alone),
        ("redis://a,b", "these are several servers, and one is asked for: several are a cluster or sentinels", alone),
        ("redis://a/x", "`x` is no database: a number", alone),
        ("redis://a/-1", "`-1` is no database: a number", alone),
        ("redis://a/1/2", "`1/2` is no database: a number", alone),
        ("redis://a?db=1", "a URL has no parameters here: what else there is to say are settings of their own", alone),
        ("redis://me:can/ary@a", "in a user or password, `/`, `?` and `#` are written `%2F`, `%3F` and `%23`", alone),
        (
            "redis://me:50%@a",
            "in a user or password, `%` and two hexadecimal digits stand for a byte of UTF-8, `%25` for `%` itself",
            alone,
        ),
        ("redis-sentinel://a", "the name of the master is missing: it follows the sentinels", sentinels),
        (
            "redis-sentinel://a/my master",
            "`my master` is no name of a master: letters, digits, `.`, `-` and `_`",
            sentinels,
        ),
        ("redis-sentinel://a,/m", "the host is missing", sentinels),
        ("redis-cluster://a/1", "a cluster has no database but 0", cluster),
        ("redis+unix://run/redis.sock", "a socket has no host: its path follows three slashes", socket),
        ("redis+unix:///", "the path of the socket is missing", socket),
        ("unix:", "the path of the socket is missing", "for example `unix:/run/redis/redis.sock`"),
    ] {
        let error = StoreAddress::parse(written).expect_err(written).to_string();
        assert_eq!(error, format!("{said}; {example}"), "{written}");
    }
    let long = format!("unix:/{}", "x".repeat(107));
    assert_eq!(StoreAddress::parse(&long).expect_err("long").why, Why::LongPath);
}

#[test]
fn every_example_is_good() {
    for scheme in
        ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster", "redis+unix"]
    {
        let example = StoreAddress::parse(&format!("{scheme}://?")).expect_err("a parameter").example;
        assert!(example.starts_with(&format!("{scheme}://")), "{example}");
        assert!(StoreAddress::parse(example).is_ok(), "{example}");
    }
}

#[test]
fn no_password_is_shown() {
    for (scheme, rest) in
        [("redis", "a:1/2"), ("redis-sentinel", "a,b/m"), ("redis-cluster", "a,b"), ("redis+unix", "/s")]
    {
        for login in ["me:canary", ":canary", "canary", "canary:", "me:x@canary"] {
            let address = StoreAddress::parse(&format!("{scheme}://{login}@{rest}")).expect(login);
            let shown = format!("{address} {address:?} {address:#?}");
            assert!(!shown.contains("canary") && shown.contains("***@"), "{shown}");
        }
    }
    for mistyped in
        ["redis://:canary@a:b", "redis://:can%zzary@a", "redis://:canary/@a", "redis://:canary@", "rdis://:canary@a"]
    {
        let error = StoreAddress::parse(mistyped).expect_err(mistyped);
        assert!(!format!("{error} {error:?}").contains("can"), "{error:?}");
    }
}

#[test]
fn only_memory_counts_every_number_exactly() {
    assert_eq!(StoreAddress::Memory.count_max(), None);
    assert_eq!(StoreAddress::parse("redis://a").expect("good").count_max(), Some((1 << 53) - 1));
}

proptest! {
    #[test]
    fn an_address_in_full_means_what_it_came_from(
        scheme in prop::sample::select(vec!["redis", "rediss", "redis-cluster", "redis-sentinel", "redis+unix"]),
        rest in r"(a|b\.c|\[::1\])(:[0-9]{1,5})?(,d:[1-9])?(/[a-z0-9]{1,3}){0,2}|/[ -~]{1,20}",
    ) {
        if let Ok(address) = StoreAddress::parse(&format!("{scheme}://{rest}")) && !address.to_string().contains('*') {
            prop_assert_eq!(StoreAddress::parse(&address.to_string()).expect("its own form"), address);
        }
    }

    #[test]
    fn every_text_is_an_address_or_an_error(text in r"(redis|rediss-cluster|redis-sentinel|redis\+unix)?(://)?\PC{0,40}") {
        let _ = StoreAddress::parse(&text);
    }
}
