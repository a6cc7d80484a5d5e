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

use tallygate::grpc::proto::{
    RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tonic::transport::Channel;

use crate::{
    harness::{Service, descriptor, request},
    servers::eventually,
};

/// 400 calls a second over four connections: enough for a breaker to see, and little of a machine with other work. As many
/// that need no Redis are made beside them, at the same times: these tests run beside builds and each other, and what both
/// kinds wait for is the machine.
const CONNECTIONS: usize = 4;
pub const CALLS_A_SECOND: usize = 400;
const EVERY: Duration = Duration::from_millis(10);
/// Clients that take turns on each connection.
const CLIENTS: usize = 64;

/// A key that no rule knows.
const WITHOUT_REDIS: &str = "nobody";

/// How much longer than those that need no Redis so many of a hundred calls may take.
#[derive(Clone, Copy)]
pub struct Longer {
    percent: usize,
    by: Duration,
}

/// As soon as it is known that Redis is away.
pub const AWAY: Longer = Longer { percent: 90, by: Duration::from_millis(5) };
/// Until then: by the deadline of a call to Redis, and half of that. Those are forty calls, four at a time; where several
/// builds run the caller stands still now and then, and finds some answered when he goes on.
pub const FINDING_OUT: Longer = Longer { percent: 50, by: Duration::from_millis(15) };
/// So long may it stand still: ninety-nine of a hundred may take so much longer.
const STILL: Duration = Duration::from_millis(100);
/// How often a call with Redis waits for a core, where one without waits once: ours, Redis', ours again. What a busy machine
/// makes the one wait it makes the other wait so many times.
const WAITS: u32 = 3;
/// No call may take so much longer: the next deadline above a store call's 10 ms is a connection's.
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
    under_load_in(service, "shop", key, during)
}

/// The same for a key of another domain.
pub fn under_load_in(service: &Service, domain: &'static str, key: &'static str, during: impl FnOnce(&Load)) -> Calls {
    let load = Arc::new(Load { going: AtomicBool::new(true), answered: AtomicUsize::new(0) });
    let connections: Vec<Channel> = (0..CONNECTIONS).map(|_| service.connect()).collect();
    thread::scope(|scope| {
        let end = EndOf(Arc::clone(&load));
        let of_callers = Arc::clone(&load);
        let calling = scope.spawn(move || {
            service.block_on(async {
                let mut callers = JoinSet::new();
                for connection in connections {
                    callers.spawn(call_steadily(connection, domain, key, Arc::clone(&of_callers)));
                }
                callers.join_all().await
            })
        });
        during(&load);
        drop(end);
        Calls(calling.join().unwrap().into_iter().flatten().collect())
    })
}

async fn call_steadily(connection: Channel, domain: &'static str, key: &'static str, load: Arc<Load>) -> Vec<Call> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        if !load.going.load(Relaxed) {
            break;
        }
        let value = format!("load-{}", number % CLIENTS);
        calls.spawn(call(connection.clone(), domain, WITHOUT_REDIS, value.clone()));
        let (load, asked) = (Arc::clone(&load), call(connection.clone(), domain, key, value));
        calls.spawn(async move {
            let call = asked.await;
            load.answered.fetch_add(1, Relaxed);
            call
        });
    }
    calls.join_all().await
}

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures real time")]
async fn call(connection: Channel, domain: &'static str, key: &'static str, value: String) -> Call {
    let began = Instant::now();
    let mut client = RateLimitServiceClient::new(connection);
    let asked = RateLimitRequest { domain: domain.into(), ..request(vec![descriptor(key, &value)]) };
    let answer = client.should_rate_limit(asked).await;
    let outcome = match answer.map(|answer| answer.into_inner().overall_code()) {
        Ok(Code::Ok) => Ok(()),
        Ok(code) => Err(format!("{value}: {code:?}")),
        Err(status) => Err(format!("{value}: {status}")),
    };
    Call { key, began, took: began.elapsed(), outcome }
}

/// What became of one call.
struct Call {
    key: &'static str,
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

    /// The calls that began within `time` took no longer than those that need no Redis, as often as they wait, and `longer`.
    pub fn assert_quick(&self, what: &str, time: &Range<Instant>, longer: Longer) {
        let took = |without_redis| {
            let of_kind = self.0.iter().filter(|call| (call.key == WITHOUT_REDIS) == without_redis);
            let mut took: Vec<Duration> =
                of_kind.filter(|call| time.contains(&call.began)).map(|call| call.took).collect();
            took.sort_unstable();
            assert!(!took.is_empty(), "{what}: there were no calls");
            [50, longer.percent, 99, 100].map(|percent| took[(took.len() - 1) * percent / 100])
        };
        let (with, without) = (took(false), took(true));
        let percent = longer.percent;
        let told = format!("{what}: median, p{percent}, p99 and longest {with:?}, without Redis {without:?}");
        println!("{told}");
        let [_, most, p99, longest] = with;
        let most_allowed = without[1] * WAITS + longer.by;
        let longest_allowed = without[3] * WAITS + LONGEST;
        assert!(most <= most_allowed && p99 <= without[2] * WAITS + STILL && longest <= longest_allowed, "{told}");
    }
}
