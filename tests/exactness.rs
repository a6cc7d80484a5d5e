//! Exactly the limit over the wire: the real process, eight connections with a hundred calls outstanding on each, one
//! and several windows, every algorithm; and the same while the rules are edited under load.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "common/both_stores.rs"]
mod both_stores;
#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/drive.rs"]
mod drive;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use drive::{ALGORITHMS, Admitted, Call, algorithm, by_algorithm, left};
use harness::{Folder, Service, eventually, servers};

/// As many as several Envoys of some threads each keep open.
const CONNECTIONS: usize = 8;
/// Far more than a core decides between two looks at its sockets, so that calls meet on every lock.
const OUTSTANDING: usize = 100;

#[test]
fn hits_of_one_are_let_through_up_to_the_limit_and_every_window_counts_each_once() {
    let folder = Folder::with(&[("shop.yaml", &by_algorithm(&[("6000", "1000d"), ("20000", "3000d")]))]);
    let service = start(&folder);
    let admitted = drive(&service, |n| (n < 24_000).then(|| vec![(algorithm(n), "one", 1)]));
    for algorithm in ALGORITHMS {
        assert_eq!(admitted[&(algorithm, "one")], 6_000, "{algorithm}");
    }

    // The wider window, alone: it has counted what was let through, and nothing of what the narrower one refused.
    folder.write("shop.yaml", &by_algorithm(&[("20000", "3000d")]));
    eventually("the wider window is alone", || ALGORITHMS.iter().all(|key| left(&service, key, "one") == 14_000));
}

#[test]
fn mixed_costs_leave_less_than_the_smallest_and_hits_of_one_fill_that_too() {
    const LIMIT: u64 = 12_011;
    let service = start(&Folder::with(&[("shop.yaml", &by_algorithm(&[("12011", "1000d"), ("12012", "3000d")]))]));
    // Costs from 2 to 9, 33,000 hits of each algorithm.
    let mut admitted = drive(&service, |n| (n < 18_000).then(|| vec![(algorithm(n), "mixed", 2 + n / 3 % 8)]));
    for algorithm in ALGORITHMS {
        let sum = admitted[&(algorithm, "mixed")];
        assert!((LIMIT - 1..=LIMIT).contains(&sum), "{algorithm}: {sum}");
        assert_eq!(left(&service, algorithm, "mixed"), LIMIT - sum, "{algorithm}");
    }
    for (counter, hits) in drive(&service, |n| (n < 3_000).then(|| vec![(algorithm(n), "mixed", 1)])) {
        *admitted.get_mut(&counter).unwrap() += hits;
    }
    assert!(admitted.values().all(|&sum| sum == LIMIT), "{admitted:?}");
}

#[test]
fn of_two_descriptors_both_are_charged_or_none() {
    const USERS: [&str; 4] = ["ann", "bob", "cyd", "dan"];
    let rules = "domain: shop\ndescriptors:\n\
        - {key: plan, limits: [{rate: 12000/1000d, algorithm: sliding_window}]}\n\
        - {key: user, limits: [2000/1000d, {rate: 2001/3000d, algorithm: token_bucket}]}\n";
    let service = start(&Folder::with(&[("shop.yaml", rules)]));
    // The users may come 8,000 times, the plan has room for 6,000. Some name the plan first: neither may wait for the
    // other's lock.
    let admitted = drive(&service, |n| {
        let mut call = vec![("user", USERS[usize::try_from(n % 4).unwrap()], 1), ("plan", "basic", 2)];
        if n % 3 == 0 {
            call.reverse();
        }
        (n < 18_000).then_some(call)
    });
    assert_eq!(admitted[&("plan", "basic")], 12_000);
    assert_eq!(left(&service, "plan", "basic"), 0);
    let of_users = USERS.map(|user| admitted[&("user", user)]);
    assert_eq!(of_users.iter().sum::<u64>(), 6_000);
    assert_eq!(of_users, USERS.map(|user| 2_000 - left(&service, "user", user)));
}

#[test]
fn no_edit_under_load_loses_a_hit_or_counts_one_twice() {
    /// Up and down; the last is the largest.
    const LIMITS: [u32; 8] = [500, 3_000, 1_000, 5_000, 4_999, 7_000, 1, 9_000];
    /// Never reached: what counts here is let through the whole time.
    const ROOMY: u64 = 1_000_000_000;

    let shop = |limit: u32| {
        let narrow = by_algorithm(&[(&limit.to_string(), "1000d"), ("20000", "3000d")]);
        format!(
            "{narrow}- {{key: k, limits: [{limit}/1000d]}}\n- {{key: roomy, limits: [{}/1000d]}}\n",
            ROOMY + u64::from(limit)
        )
    };
    let other = |version: u32| format!("domain: other\ndescriptors: [{{key: k, limits: [{}/minute]}}]\n", version + 1);
    let folder = Folder::with(&[("shop.yaml", &shop(100)), ("other.yaml", &other(0))]);
    let service = start(&folder);

    let going = Arc::new(AtomicBool::new(true));
    let admitted = thread::scope(|scope| {
        let edits = scope.spawn(|| {
            let _end = EndOf(Arc::clone(&going));
            for (version, limit) in (1..).zip(LIMITS) {
                for edit in 0..3 {
                    folder.write("other.yaml", &other(3 * version + edit));
                    service.signal("HUP");
                    pause();
                }
                folder.write("shop.yaml", &shop(limit));
                service.signal("HUP");
                service.until_limit(limit);
            }
            // The load goes on until it has found all the room there is.
            eventually("it is full", || ALGORITHMS.iter().all(|algorithm| left(&service, algorithm, "edited") == 0));
        });
        let load = Arc::clone(&going);
        let admitted = drive(&service, move |n| {
            let call = match n % 4 {
                3 => ("roomy", "edited", 1 + n / 4 % 7),
                _ => (algorithm(n % 4), "edited", 1),
            };
            load.load(Relaxed).then(|| vec![call])
        });
        edits.join().unwrap();
        admitted
    });

    for algorithm in ALGORITHMS {
        assert_eq!(admitted[&(algorithm, "edited")], 9_000, "{algorithm}");
    }
    let roomy = admitted[&("roomy", "edited")];
    assert_eq!(left(&service, "roomy", "edited"), ROOMY + 9_000 - roomy);
    let generation = service.status()["rules"]["generation"].as_u64().unwrap();
    assert!(generation > LIMITS.len() as u64, "only {generation} generations");
    assert!(!service.metrics().contains("tallygate_config_reloads_total{result=\"failure\"}"), "no half file was read");

    // The window that no edit touched has counted the same.
    folder.write("shop.yaml", &by_algorithm(&[("20000", "3000d")]));
    eventually("it is alone", || ALGORITHMS.iter().all(|key| left(&service, key, "edited") == 11_000));
}

/// On two cores, so that decisions do meet.
fn start(folder: &Folder) -> Service {
    let service = Service::start(folder, &["--cores", "2"]);
    service.until_ready();
    service
}

/// Makes the calls that `call` names, on all connections: see [`drive::drive`].
fn drive(service: &Service, call: impl Fn(u64) -> Option<Call> + Send + Sync + 'static) -> Admitted {
    let connections = (0..CONNECTIONS).map(|_| service.connect()).collect();
    drive::drive(service, connections, OUTSTANDING, call)
}

/// Ends the load whatever becomes of the edits: a test that fails must end.
struct EndOf(Arc<AtomicBool>);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// Between two edits: less than the service waits for files to settle, so that some are seen half-way.
fn pause() {
    thread::sleep(Duration::from_millis(50));
}
