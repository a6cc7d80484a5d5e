//! Calls that go on at a steady pace whatever happens to Redis, and what became of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::harness::{Service, descriptor, request};

/// 400 calls a second over four connections: enough for a breaker to see, and little of a machine with other work.
const CONNECTIONS: usize = 4;
const EVERY: Duration = Duration::from_millis(10);
/// Clients that take turns.
const CLIENTS: usize = 64;

/// Ninety-nine of a hundred calls must be answered within so long. The aim is 5 ms (15 in the first 50 after a fault);
/// that is measured on a machine of our own, while these tests run beside builds and each other.
const P99: Duration = Duration::from_millis(100);
/// No call may take longer: the next deadline above a store call's 10 ms would be a connection's.
const LONGEST: Duration = Duration::from_secs(1);

/// What became of the calls of one run.
pub struct Calls {
    /// How long each took.
    took: Vec<Duration>,
    /// All that were not let through, and why.
    failed: Vec<String>,
}

/// Asks for `key`, of which there is always enough, all the while that `during` runs. Calls do not wait for each other.
pub fn under_load(service: &Service, key: &'static str, during: impl FnOnce()) -> Calls {
    let going = Arc::new(AtomicBool::new(true));
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| service.connect()).collect();
    thread::scope(|scope| {
        let _end = EndOf(Arc::clone(&going));
        let callers = connections
            .into_iter()
            .map(|connection| call_steadily(RateLimitServiceClient::new(connection), key, Arc::clone(&going)));
        let callers: Vec<_> = callers.collect();
        let load = scope.spawn(move || {
            service.block_on(async {
                let mut running = JoinSet::new();
                for caller in callers {
                    running.spawn(caller);
                }
                running.join_all().await
            })
        });
        during();
        going.store(false, Relaxed);
        let calls: Vec<_> = load.join().unwrap().into_iter().flatten().collect();
        let took = calls.iter().map(|(took, _)| *took).collect();
        Calls { took, failed: calls.into_iter().filter_map(|(_, outcome)| outcome.err()).collect() }
    })
}

type Call = (Duration, Result<(), String>);

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
async fn call_steadily(
    client: RateLimitServiceClient<tonic::transport::Channel>,
    key: &'static str,
    going: Arc<AtomicBool>,
) -> Vec<Call> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        if !going.load(Relaxed) {
            break;
        }
        let (mut client, value) = (client.clone(), format!("load-{}", number % CLIENTS));
        calls.spawn(async move {
            let began = Instant::now();
            let answer = client.should_rate_limit(request(vec![descriptor(key, &value)])).await;
            let outcome = match answer.map(|answer| answer.into_inner().overall_code()) {
                Ok(Code::Ok) => Ok(()),
                Ok(code) => Err(format!("{value}: {code:?}")),
                Err(status) => Err(format!("{value}: {status}")),
            };
            (began.elapsed(), outcome)
        });
    }
    calls.join_all().await
}

impl Calls {
    /// Every call was let through, and none was late; `what` happened meanwhile.
    pub fn assert_good(mut self, what: &str) {
        assert!(self.failed.is_empty(), "{what}: {} calls failed: {:?}", self.failed.len(), &self.failed[..1]);
        assert!(!self.took.is_empty(), "{what}: there was no load");
        self.took.sort_unstable();
        let (calls, longest) = (self.took.len(), self.took[self.took.len() - 1]);
        let [median, p99] = [50, 99].map(|percent| self.took[(calls - 1) * percent / 100]);
        println!("{what}: {calls} calls, median {median:?}, p99 {p99:?}, longest {longest:?}");
        assert!(p99 <= P99 && longest <= LONGEST, "{what}: p99 {p99:?}, longest {longest:?}");
    }
}

/// Ends the load whatever becomes of the test: one that fails must end.
struct EndOf(Arc<AtomicBool>);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
