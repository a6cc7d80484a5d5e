//! How full the store is, as `/metrics` of a real process tells it: little place, and floods over gRPC.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::{fs, ops::Range};

use harness::{Folder, Service, command, descriptor, request};
use tallygate::grpc::proto::{rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient};
use tokio::task::JoinSet;

/// Place for so many: two or more in each of the 1,024 shards.
const PLACES: u64 = 4_096;
/// Limits at once that may be counted in a sketch (`SKETCHES_MAX`), and the least memory of one: four rows of 1,024 cells
/// of 24 bytes.
const SKETCHES: u64 = 8;
const SKETCH_BYTES: u64 = 4 * 1_024 * 24;
/// Calls under way at once: enough to keep a core busy.
const OUTSTANDING: usize = 32;

#[test]
fn a_flood_that_has_room_left_is_evicted_and_every_charge_is_accounted_for() {
    let service = start("- {key: k, limits: [5/3650d]}\n");
    let empty = Told::by(&service);
    assert_eq!(empty, Told { max: PLACES, bytes: empty.bytes, ..Told::default() });

    let few = flood(&service, "k", 0..1_000);
    let told = Told::by(&service);
    // Some shards are full already, as names fall.
    assert_eq!((few, told.counters + told.evicted, told.sketches), (1_000, 1_000, 0), "{told:?}");
    assert!(told.counters > 900, "{told:?}");
    // A page of 4 KiB for the first counter of a shard, and the directory that leads there.
    assert!(told.bytes > empty.bytes + 500 * 4_096 && told.bytes < empty.bytes + 1_024 * 5_000, "{told:?}");

    let all = few + flood(&service, "k", 1_000..9_000);
    let told = Told::by(&service);
    assert!(told.counters <= PLACES / 2, "one limit fills at most half: {told:?}");
    assert!(told.counters > PLACES / 3 && told.evicted > 3_000, "{told:?}");
    assert_eq!(told.counters + told.evicted + told.sketched, all, "{told:?}");
    assert_eq!((told.max, told.unplaced), (PLACES, 0));
}

#[test]
fn a_flood_of_the_refused_is_sketched_then_has_no_place_and_forgives_nobody() {
    /// Of each further limit: so many that hardly a shard with place is left for all of them.
    const CLIENTS: u64 = 300;
    let limits = SKETCHES + 1;
    let rules: Vec<String> = (0..limits).map(|n| format!("- {{key: k{n}, limits: [1/3650d]}}\n")).collect();
    let service = start(&(rules.concat() + "- {key: victim, limits: [1/3650d]}\n"));
    let ask_victim = || service.ask("victim", "acme").unwrap().overall_code();
    assert_eq!([ask_victim(), ask_victim()], [Code::Ok, Code::OverLimit]);

    // The first two fill half of the store each, but for shards that few names fall into, and more.
    let mut let_through = 1 + flood(&service, "k0", 0..3_000) + flood(&service, "k1", 0..3_000);
    let told = Told::by(&service);
    assert_eq!((told.sketches, told.unplaced, told.evicted), (2, 0, 0), "{told:?}");
    assert!(told.counters > PLACES * 3 / 4 && told.counters <= PLACES, "{told:?}");
    assert_eq!(told.counters + told.sketched, let_through, "{told:?}");

    for key in 2..limits {
        let_through += flood(&service, &format!("k{key}"), 0..CLIENTS);
    }
    let full = Told::by(&service);
    assert_eq!((full.sketches, full.evicted), (SKETCHES, 0), "{full:?}");
    assert!(full.unplaced > 0 && full.unplaced <= CLIENTS, "only the last limit has no sketch: {full:?}");
    assert_eq!(full.counters + full.sketched + full.unplaced, let_through, "{full:?}");
    assert!(full.bytes >= told.bytes + (SKETCHES - 2) * SKETCH_BYTES, "{full:?} after {told:?}");
    assert_eq!(ask_victim(), Code::OverLimit);
    assert_eq!(service.metric("tallygate_panics_total"), "0");
}

#[test]
fn the_place_that_memory_allows_is_told_by_settings_and_metrics_alike() {
    let folder = Folder::with(&[("shop.yaml", "domain: shop\ndescriptors: [{key: k, limits: [1/minute]}]\n")]);
    let output = command(&folder).arg("settings").output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let row = lines.lines().find_map(|line| line.strip_prefix("max_counters")).unwrap();
    let [said, number, source] = row.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((said, source), ("auto:", "default"));

    let service = Service::start(&folder, &[]);
    assert_eq!(service.metric("tallygate_counters_max"), number);
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap();
    // A quarter at 50 bytes each, of less than that where a control group says so; 100,000 in any case.
    assert!((100_000..=100_000.max(kib * 1_024 / 200)).contains(&number.parse().unwrap()), "{number} of {kib} KiB");
}

fn start(rules: &str) -> Service {
    let folder = Folder::with(&[("shop.yaml", &format!("domain: shop\ndescriptors:\n{rules}"))]);
    let service = Service::start(&folder, &["--max-counters", &PLACES.to_string()]);
    service.until_ready();
    service
}

/// Asks once for each of so many clients of one key; how many were let through.
fn flood(service: &Service, key: &str, clients: Range<u64>) -> u64 {
    let connection = service.connect();
    service.block_on(async move {
        let mut callers = JoinSet::new();
        for first in 0..OUTSTANDING {
            let mut client = RateLimitServiceClient::new(connection.clone());
            let (key, numbers) = (key.to_owned(), clients.clone().skip(first).step_by(OUTSTANDING));
            callers.spawn(async move {
                let mut let_through = 0;
                for number in numbers {
                    let asked = request(vec![descriptor(&key, &number.to_string())]);
                    let answer = client.should_rate_limit(asked).await.unwrap().into_inner();
                    let_through += u64::from(answer.overall_code() == Code::Ok);
                }
                let_through
            });
        }
        callers.join_all().await.into_iter().sum()
    })
}

/// The gauges and counters of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    counters: u64,
    max: u64,
    bytes: u64,
    evicted: u64,
    sketches: u64,
    sketched: u64,
    unplaced: u64,
}

impl Told {
    fn by(service: &Service) -> Self {
        let figure = |name: &str| service.metric(&format!("tallygate_{name}")).parse().unwrap();
        Self {
            counters: figure("counters"),
            max: figure("counters_max"),
            bytes: figure("counters_bytes"),
            evicted: figure("counters_evicted_total"),
            sketches: figure("sketches"),
            sketched: figure("counters_sketched_total"),
            unplaced: figure("counters_unplaced_total"),
        }
    }
}
