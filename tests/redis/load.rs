//! Calls that go on at a steady pace whatever happens to Redis, and what became of each.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tonic::transport::Channel;

use crate::{
    harness::{Service, descriptor, request},
    servers::eventually,
};

/// 400 calls a second over four connections: enough for a breaker to see, and little of a machine with other work.
const CONNECTIONS: usize = 4;
const EVERY: Duration = Duration::from_millis(10);
/// Clients that take turns on each connection.
const CLIENTS: usize = 64;

/// Half of the calls must be answered within what is the aim for ninety-nine of a hundred: who waits for a Redis that
/// does not answer takes 10 ms.
const MEDIAN: Duration = Duration::from_millis(5);
/// Ninety-nine of a hundred must be answered within so long. The aim is measured on a machine of our own, while these
/// tests run beside builds and each other.
const P99: Duration = Duration::from_millis(100);
/// No call may take longer: the next deadline above a store call's 10 ms is a connection's.
const LONGEST: Duration = Duration::from_secs(1);

/// Calls that are being made.
pub struct Load {
    going: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Waits until so many more were answered.
    pub fn goes_on_for(&self, calls: usize) {
        let until = self.answered.load(Relaxed) + calls;
        eventually("calls are answered", || self.answered.load(Relaxed) >= until);
    }
}

/// Ends the load whatever becomes of the test: one that fails must end.
struct EndOf(Arc<Load>);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.going.store(false, Relaxed);
    }
}

/// Asks for `key`, of which there is always enough, all the while that `during` runs. Calls do not wait for each other.
pub fn under_load(service: &Service, key: &'static str, during: impl FnOnce(&Load)) -> Calls {
    let load = Arc::new(Load { going: AtomicBool::new(true), answered: AtomicUsize::new(0) });
    let connections: Vec<Channel> = (0..CONNECTIONS).map(|_| service.connect()).collect();
    thread::scope(|scope| {
        let end = EndOf(Arc::clone(&load));
        let of_callers = Arc::clone(&load);
        let calling = scope.spawn(move || {
            service.block_on(async {
                let mut callers = JoinSet::new();
                for connection in connections {
                    callers.spawn(call_steadily(connection, key, Arc::clone(&of_callers)));
                }
                callers.join_all().await
            })
        });
        during(&load);
        drop(end);
        Calls(calling.join().unwrap().into_iter().flatten().collect())
    })
}

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
async fn call_steadily(connection: Channel, key: &'static str, load: Arc<Load>) -> Vec<Call> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        if !load.going.load(Relaxed) {
            break;
        }
        let mut client = RateLimitServiceClient::new(connection.clone());
        let (load, value) = (Arc::clone(&load), format!("load-{}", number % CLIENTS));
        calls.spawn(async move {
            let began = Instant::now();
            let answer = client.should_rate_limit(request(vec![descriptor(key, &value)])).await;
            let outcome = match answer.map(|answer| answer.into_inner().overall_code()) {
                Ok(Code::Ok) => Ok(()),
                Ok(code) => Err(format!("{value}: {code:?}")),
                Err(status) => Err(format!("{value}: {status}")),
            };
            load.answered.fetch_add(1, Relaxed);
            Call { began, took: began.elapsed(), outcome }
        });
    }
    calls.join_all().await
}

/// What became of one call.
struct Call {
    began: Instant,
    took: Duration,
    outcome: Result<(), String>,
}

/// What became of the calls of one run.
pub struct Calls(Vec<Call>);

impl Calls {
    /// Every call was let through; `what` happened meanwhile.
    pub fn assert_let_through(&self, what: &str) {
        let failed: Vec<&String> = self.0.iter().filter_map(|call| call.outcome.as_ref().err()).collect();
        assert!(failed.is_empty(), "{what}: {} of {} calls failed: {}", failed.len(), self.0.len(), failed[0]);
    }

    /// None of the calls that began within `time` was late.
    pub fn assert_quick(&self, what: &str, time: &Range<Instant>) {
        let began_then = self.0.iter().filter(|call| time.contains(&call.began));
        let mut took: Vec<Duration> = began_then.map(|call| call.took).collect();
        took.sort_unstable();
        assert!(!took.is_empty(), "{what}: there were no calls");
        let [median, p99, longest] = [50, 99, 100].map(|percent| took[(took.len() - 1) * percent / 100]);
        println!("{what}: {} calls, median {median:?}, p99 {p99:?}, longest {longest:?}", took.len());
        assert!(
            median <= MEDIAN && p99 <= P99 && longest <= LONGEST,
            "{what}: median {median:?}, p99 {p99:?}, longest {longest:?}"
        );
    }
}
