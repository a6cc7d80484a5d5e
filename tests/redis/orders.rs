//! Overrides, blocks and resets of beginnings that are written on one replica hold on all within a second, whatever
//! Redis does meanwhile, and whichever of them lives on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitResponse, rate_limit_descriptor::Entry, rate_limit_response::Code,
};

use crate::{
    client::exchange,
    harness::{Folder, Service, command, request},
    servers::{Proxy, RedisServer, Weather, eventually, within},
};

/// Windows that do not end while a test runs.
const RULES: &str = "domain: shop
descriptors:
  - key: k
    name: per-k
    limits: [2/3650d]
    descriptors: [{key: path, limits: [2/3650d]}]
";

/// What holds within a second; a busy machine may take a few more.
const SOON: Duration = Duration::from_secs(5);

/// Where the book stands, as the manual says.
const BOOK: &str = "tallygate:{@house}:book";
/// Beside the orders, the numbers of the first and of the last change stand there.
const NUMBERS: u64 = 2;

/// A replica with a folder of its own, and so with a state directory of its own.
struct Replica {
    service: Service,
    folder: Folder,
    url: String,
}

impl Replica {
    fn start(url: &str) -> Self {
        Self::start_in(Folder::with(&[("shop.yaml", RULES)]), url)
    }

    fn start_in(folder: Folder, url: &str) -> Self {
        // So that a busy machine does not make a call late.
        let service = Service::start(&folder, &["--store", url, "--store-deadline", "1s"]);
        service.until_ready();
        Self { service, folder, url: url.to_owned() }
    }

    /// It ends the hard way and comes back, with its state directory or without.
    fn restart(self, keeps_state: bool) -> Self {
        let Self { service, folder, url } = self;
        drop(service);
        if !keeps_state {
            std::fs::remove_dir_all(folder.path(".state")).unwrap();
        }
        Self::start_in(folder, &url)
    }

    /// Asks the admin API: the status, and the answer.
    fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        let head = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = exchange(self.service.admin_port(), &[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// Does what must be done, and says whether all replicas know of it.
    fn order(&self, method: &str, path: &str, body: &Value) -> bool {
        let (status, answer) = self.admin(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["everywhere"].as_bool().unwrap_or_else(|| panic!("{answer}"))
    }

    fn instead(&self, value: &str, limit: &str) -> bool {
        self.order("PUT", "/v1/overrides", &with(value, &json!({"limits": [limit], "expires_in": "1h"})))
    }

    fn block(&self, value: &str) -> bool {
        self.order("PUT", "/v1/blocks", &with(value, &json!({"expires_in": "1h"})))
    }

    fn lift(&self, value: &str) -> bool {
        self.order("DELETE", "/v1/blocks", &with(value, &json!({})))
    }

    /// The values about which orders are listed.
    fn listed(&self, kind: &str) -> Vec<String> {
        let (_, answer) = self.admin("GET", &format!("/v1/{kind}"), &Value::Null);
        let list = answer[kind].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        list.map(|order| order["descriptor"][0]["value"].as_str().unwrap().to_owned()).collect()
    }

    /// Counts a hit, if it is let through.
    fn counts(&self, value: &str) -> bool {
        self.service.ask("k", value).unwrap().overall_code() == Code::Ok
    }

    /// Whether a hit would be let through.
    fn passes(&self, value: &str) -> bool {
        self.look(value).overall_code() == Code::Ok
    }

    /// The limit in force.
    fn limit(&self, value: &str) -> u32 {
        self.look(value).statuses[0].current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit)
    }

    fn look(&self, value: &str) -> RateLimitResponse {
        let entry = Entry { key: "k".into(), value: value.into() };
        let hits_addend = Some(0);
        let look = RateLimitDescriptor { entries: vec![entry], hits_addend, ..RateLimitDescriptor::default() };
        self.service.call(request(vec![look])).unwrap()
    }
}

/// About everything that begins with this value.
fn with(value: &str, more: &Value) -> Value {
    let mut body = json!({"domain": "shop", "descriptor": [{"key": "k", "value": value}], "prefix": true});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn two(url: &str) -> [Replica; 2] {
    [Replica::start(url), Replica::start(url)]
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
fn what_one_replica_is_told_shows_on_the_other_within_a_second() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    let mut took = Vec::new();
    let mut shows = |what: &str, ordered: bool, condition: &mut dyn FnMut() -> bool| {
        let since = Instant::now();
        assert!(ordered, "{what}: all know it");
        within(SOON, what, condition);
        took.push(since.elapsed());
    };
    for round in 0..5 {
        let value = format!("acme-{round}");
        let (a, b) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        shows("a block", a.block(&value), &mut || !b.passes(&value));
        assert_eq!((b.listed("blocks"), a.listed("blocks")), (vec![value.clone()], vec![value.clone()]));
        shows("it is lifted", a.lift(&value), &mut || b.passes(&value));
        assert_eq!(a.listed("blocks"), [""; 0]);

        shows("an override", b.instead(&value, "4/3650d"), &mut || a.limit(&value) == 4);
        // The refusal is repeated by the one, and by the other, for a second.
        assert_eq!([(); 5].map(|()| b.counts(&value)), [true, true, true, true, false]);
        assert!(!a.passes(&value));
        let reset = a.order("POST", "/v1/reset", &with(&value, &json!({})));
        shows("everything that begins so is counted from nothing", reset, &mut || b.passes(&value) && a.passes(&value));
        shows("another override", b.instead(&value, "9/3650d"), &mut || a.limit(&value) == 9);
        shows("it is taken back", a.order("DELETE", "/v1/overrides", &with(&value, &json!({}))), &mut || {
            b.limit(&value) == 2
        });
        assert_eq!((b.listed("overrides"), a.listed("overrides")), (vec![], vec![]));
    }
    took.sort_unstable();
    println!("an order shows after {:?} in the middle, {:?} at the most", took[took.len() / 2], took[took.len() - 1]);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn an_order_can_be_taken_back_at_once_by_a_replica_that_was_not_told_yet() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    for round in 0..10 {
        let value = format!("acme-{round}");
        a.block(&value);
        b.lift(&value);
        a.instead(&value, "4/3650d");
        b.order("DELETE", "/v1/overrides", &with(&value, &json!({})));
    }
    assert_eq!((b.listed("blocks"), b.listed("overrides")), (vec![], vec![]));
    within(SOON, "the other knows", || a.listed("blocks").is_empty() && a.listed("overrides").is_empty());
}

#[test]
fn of_two_orders_about_the_same_at_once_one_wins_on_both() {
    let redis = RedisServer::start();
    let replicas = two(&redis.url());
    for round in 0..10 {
        std::thread::scope(|scope| {
            for (number, replica) in replicas.iter().enumerate() {
                scope.spawn(move || replica.instead("acme", &format!("{}/3650d", 10 + 2 * round + number)));
            }
        });
        let limits = || replicas.each_ref().map(|replica| replica.limit("acme"));
        let expected = [10 + 2 * round, 11 + 2 * round].map(|limit| u32::try_from(limit).unwrap());
        within(SOON, "both agree", || limits()[0] == limits()[1] && expected.contains(&limits()[0]));
    }
}

#[test]
fn an_order_that_came_while_redis_was_away_holds_here_at_once_and_everywhere_when_it_is_back() {
    let mut redis = RedisServer::start();
    let proxy = Proxy::to(redis.port());
    let [a, b] = two(&proxy.url());
    a.block("before");
    within(SOON, "both know", || b.listed("blocks") == ["before"]);
    redis.kill();
    assert!(!a.block("acme"), "nobody else knows");
    assert!(!b.block("beta"), "nobody else knows");
    assert!(!a.order("POST", "/v1/reset", &with("gamma", &json!({}))), "nobody else knows");
    assert_eq!((a.passes("acme"), a.passes("beta"), b.passes("beta")), (false, true, false));
    let shared = |told| a.service.metric("tallygate_orders_shared") == told;
    within(SOON, "the metrics say so", || shared("0"));
    let admin = format!("127.0.0.1:{}", a.service.admin_port());
    let arguments = ["block", "set", "shop", "k=acme", "--prefix", "--expires-in", "1h", "--admin", &admin];
    let told = command(&a.folder).args(arguments).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&told).contains("\non this replica alone until Redis"), "{}", told.escape_ascii());
    assert!(a.service.log().contains("result=\"done\" everywhere=false"));
    // It has forgotten everything.
    redis.restart();
    let all = |replica: &Replica| {
        let mut listed = replica.listed("blocks");
        listed.sort_unstable();
        listed == ["acme", "before", "beta"]
    };
    within(SOON, "all know all", || all(&a) && all(&b) && !b.passes("acme") && !a.passes("beta"));
    within(SOON, "the metrics say so", || shared("1"));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);

    proxy.set_both(Weather::Lost);
    assert!(!a.block("delta"), "nobody answers");
    proxy.set_both(Weather::Clear);
    within(SOON, "all know", || !b.passes("delta"));
    for replica in [&a, &b] {
        let told = replica.service.log().matches("orders are not shared").count();
        assert!(told <= 2, "told {told} times of two outages");
    }
}

#[test]
fn a_lift_that_fails_can_be_tried_again_by_the_name_of_the_block() {
    let mut redis = RedisServer::start();
    let rules = "domain: shop\ndescriptors: [{key: k, limits: [1/3650d], on_exceed: {block_for: 1h}}]\n";
    let a = Replica::start_in(Folder::with(&[("shop.yaml", rules)]), &redis.url());
    assert_eq!([(); 2].map(|()| a.counts("acme")), [true, false]);
    assert_eq!(a.listed("blocks"), ["acme"]);
    redis.kill();
    let acme = json!({"domain": "shop", "descriptor": [{"key": "k", "value": "acme"}]});
    let (status, answer) = a.admin("DELETE", "/v1/blocks", &acme);
    assert_eq!((status, answer["error"]["code"].as_str()), (502, Some("store_away")), "{answer}");
    assert_eq!(a.listed("blocks"), ["acme"]);
}

#[test]
fn redis_forgets_everything_and_no_order_is_lost() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    for number in 0..300 {
        a.block(&format!("acme-{number}"));
    }
    b.instead("beta", "7/3650d");
    within(SOON, "both know", || a.limit("beta") == 7 && b.listed("blocks").len() == 300);
    redis.ask::<()>(&["FLUSHALL"]);
    // Whoever writes first after that: the others' come back all the same.
    a.block("late");
    within(SOON, "it stands there again", || redis.ask::<u64>(&["HLEN", BOOK]) == NUMBERS + 302);
    let c = Replica::start(&redis.url());
    assert_eq!((c.listed("blocks").len(), c.limit("beta"), c.passes("acme-299")), (301, 7, false));
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
    // Half of it, as where keys are evicted.
    redis.ask::<()>(&["DEL", "tallygate:{@house}:changes"]);
    let d = Replica::start(&redis.url());
    within(SOON, "the others have told it", || d.listed("blocks").len() == 301 && d.limit("beta") == 7);
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
}

#[test]
fn an_order_is_not_lost_where_another_replica_begins_a_new_book_before_it_knew_of_it() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    for round in 1..=5 {
        a.block(&format!("one-{round}"));
        redis.ask::<()>(&["FLUSHALL"]);
        // The numbers of its changes are later than those that the first replica has seen.
        b.block(&format!("other-{round}"));
        within(SOON, "both know all", || [&a, &b].map(|replica| replica.listed("blocks").len()) == [2 * round; 2]);
    }
}

#[test]
fn a_replica_that_comes_back_knows_what_was_ordered_and_taken_back_meanwhile() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    a.block("stays");
    a.block("goes");
    a.instead("acme", "4/3650d");
    within(SOON, "both know", || b.listed("blocks").len() == 2 && b.limit("acme") == 4);
    let Replica { service, folder, url } = b;
    drop(service);
    a.lift("goes");
    a.instead("acme", "5/3650d");
    a.block("new");
    let mut b = Replica::start_in(folder, &url);
    for keeps_state in [true, false] {
        assert_eq!((b.listed("blocks"), b.limit("acme")), (vec!["stays".to_owned(), "new".to_owned()], 5));
        assert!(b.passes("goes") && !b.passes("stays"));
        b = b.restart(keeps_state);
    }
    // Nor does it bring back what Redis has forgotten with everything else.
    drop(a);
    redis.ask::<()>(&["FLUSHALL"]);
    let c = Replica::start(&redis.url());
    within(SOON, "the new one knows", || c.listed("blocks") == ["stays", "new"] && c.limit("acme") == 5);
}

#[test]
fn what_somebody_else_writes_into_the_book_is_passed_over_and_told() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    a.block("acme");
    within(SOON, "both know", || !b.passes("acme"));
    assert!(a.block("beta"));
    within(SOON, "orders go on", || !b.passes("beta"));
    // An order that was spoilt is mended by whoever knows it when all is compared, or when the next replica starts.
    for wrong in ["x", "99999999999999999999 1 {}", ""] {
        let fields: Vec<String> = redis.ask(&["HKEYS", BOOK]);
        let mut command = vec!["HSET", BOOK];
        fields.iter().filter(|field| field.len() == 32).for_each(|field| command.extend([field.as_str(), wrong]));
        redis.ask::<()>(&command);
        let again = Replica::start(&redis.url());
        assert_eq!(again.listed("blocks"), [""; 0]);
        assert!(again.service.log().contains("orders of other replicas make no sense to this program count=2"));
        assert!(a.block("acme"));
        within(SOON, "what is ordered anew is known", || !again.passes("acme"));
    }
    // An entry more, and a key that is something else: the book is written anew.
    let breaks: [&[&[&str]]; 2] =
        [&[&["HSET", BOOK, "by hand", "nonsense"]], &[&["DEL", BOOK], &["SET", BOOK, "mine"]]];
    for commands in breaks {
        for command in commands {
            redis.ask::<()>(command);
        }
        within(SOON, "it is a book again", || {
            redis.try_ask::<u64>(&["HLEN", BOOK]).is_ok_and(|fields| fields == NUMBERS + 2)
        });
        let again = Replica::start(&redis.url());
        within(SOON, "and is read", || [again.passes("acme"), again.passes("beta")] == [false; 2]);
    }
    // The number of the last change, of more changes than one call returns: nobody asks for ever.
    for number in 0..110 {
        a.block(&format!("one-of-many-{number}"));
    }
    within(SOON, "both know", || b.listed("blocks").len() == 112);
    for version in ["", "0", "1", "x", "inf", "1e30", "nan", "-5"] {
        if version.is_empty() {
            redis.ask::<()>(&["HDEL", BOOK, "version"]);
        } else {
            redis.ask::<()>(&["HSET", BOOK, "version", version]);
        }
        within(SOON, "it is a book again", || {
            redis.ask::<Option<String>>(&["HGET", BOOK, "version"]).is_some_and(|now| now.len() > 10)
        });
        within(SOON, "with all that was in it", || redis.ask::<u64>(&["HLEN", BOOK]) == NUMBERS + 112);
        assert!(a.block("acme"), "{version}");
    }
    assert!(!a.service.log().contains("orders are not shared"), "{}", a.service.log());
    assert_eq!(redis.keys_without_expiry(), [""; 0]);
    assert_eq!([&a, &b].map(|replica| replica.service.metric("tallygate_panics_total")), ["0", "0"]);
}

#[test]
fn orders_of_a_domain_that_a_replica_has_no_rules_of_are_carried_until_it_has() {
    let redis = RedisServer::start();
    let [a, b] = two(&redis.url());
    b.folder.write("shop.yaml", "domain: other\ndescriptors: [{key: k}]\n");
    eventually("the rules are others", || b.service.ask("k", "v").unwrap().statuses[0].current_limit.is_none());
    assert!(a.block("acme"));
    within(SOON, "it is listed", || b.listed("blocks") == ["acme"]);
    redis.ask::<()>(&["FLUSHALL"]);
    drop(a);
    within(SOON, "it stands there again", || redis.ask::<u64>(&["HLEN", BOOK]) == NUMBERS + 1);
    b.folder.write("shop.yaml", RULES);
    eventually("the rules are back", || !b.passes("acme"));
}
