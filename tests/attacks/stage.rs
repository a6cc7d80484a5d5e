//! A real service on one core, honest clients who must not notice, and what the attack cost.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient};
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;

use crate::harness::{Folder, Service, descriptor, eventually, request};

/// So much more memory an attack may take: what is held for it is bounded, and no bound is near this.
const MEMORY_KIB: u64 = 32 << 10;
/// From one honest call to the next: enough of them come in the fraction of a second that an attack lasts, and they are
/// no load.
const CALL_EVERY: Duration = Duration::from_millis(2);
/// Honest calls before an attack, which those during it are held against.
const CALLS_BEFORE: usize = 30;
/// So much longer than before half of the honest calls may take at the most. The attacker, the service and its clients
/// share two cores with whatever else runs; a core that listens to the attacker alone makes them wait for far longer.
const LATER: Duration = Duration::from_millis(100);

const RULES: &str =
    "domain: shop\nresponse: {headers: ratelimit}\ndescriptors: [{key: k, limits: [1000000000/3650d]}]\n";

/// Attacks take all cores there are: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Stage {
    service: Service,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// One core: who attacks and who is honest meet there.
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let service = Service::start(&Folder::with(&[("shop.yaml", RULES)]), &["--cores", "1"]);
        service.until_ready();
        Self { service, _alone: alone }
    }

    /// Runs an attack on this address while honest calls are made on another connection, which was there before. All of them must be answered, and
    /// not late; the process must stay small, and have nothing to do once the attack is over.
    pub fn attacked<T>(&self, name: &str, attack: impl FnOnce(&str) -> T) -> T {
        let channel = self.service.connect();
        let before = self.calls(&channel, |calls| calls < CALLS_BEFORE);
        self.forget_peak();
        let small = self.memory_kib("VmRSS");
        let over = Arc::new(AtomicBool::new(false));
        let (outcome, during) = thread::scope(|scope| {
            // One more than none, however short the attack.
            let honest = scope.spawn(|| self.calls(&channel, |calls| calls == 0 || !over.load(Relaxed)));
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| attack(&self.service.grpc_address())));
            over.store(true, Relaxed); // whatever happens, they end
            (outcome, honest.join().expect("honest calls are answered"))
        });
        let outcome = outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
        let large = self.memory_kib("VmHWM");
        println!(
            "{name}: {} honest calls, half of them within {:?} and 99 % within {:?} ({:?} before); {} KiB more",
            during.0.len(),
            during.percentile(50),
            during.percentile(99),
            before.percentile(99),
            large.saturating_sub(small),
        );
        let bound = 10 * before.percentile(99) + LATER;
        assert!(during.percentile(50) < bound, "{name}: honest calls took {:?}", during.percentile(50));
        assert!(large < small + MEMORY_KIB, "{name}: {small} KiB became {large}");
        self.rests();
        assert_eq!(self.service.metric("tallygate_panics_total"), "0", "{name}");
        outcome
    }

    pub fn log(&self) -> String {
        self.service.log()
    }

    /// Honest calls on this connection, for as long as more are wanted than there were.
    fn calls(&self, channel: &Channel, more: impl Fn(usize) -> bool) -> Latencies {
        let channel = channel.clone();
        self.service.block_on(async move {
            let mut client = RateLimitServiceClient::new(channel);
            let mut ticks = tokio::time::interval(CALL_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut latencies = Vec::new();
            while more(latencies.len()) {
                ticks.tick().await;
                let began = now();
                let answer = client.should_rate_limit(request(vec![descriptor("k", "honest")])).await;
                latencies.push(began.elapsed());
                assert_eq!(answer.expect("an honest call is answered").into_inner().overall_code(), Code::Ok);
            }
            latencies.sort_unstable();
            Latencies(latencies)
        })
    }

    /// Waits until it has nothing to do: an attack that is over costs nothing.
    fn rests(&self) {
        eventually("the service rests", || {
            let (began, worked) = (now(), cpu_of(self.service.id()));
            pause(Duration::from_millis(20));
            cpu_of(self.service.id()).saturating_sub(worked) * 4 < began.elapsed()
        });
    }

    /// From here on, `VmHWM` is the most since now.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.service.id()), "5").expect("it is our own process");
    }

    /// `VmRSS`, what it has now, or `VmHWM`, the most it had.
    fn memory_kib(&self, name: &str) -> u64 {
        let told = fs::read_to_string(format!("/proc/{}/status", self.service.id())).expect("it runs");
        let told = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        told.and_then(|told| told.split_whitespace().next()?.parse().ok()).expect("in KiB")
    }
}

/// In order.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100) - 1]
    }
}

/// What all threads of a process have worked.
pub fn cpu_of(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let worked = tasks.flatten().filter_map(|task| {
        let told = fs::read_to_string(task.path().join("schedstat")).ok()?; // a thread may have ended meanwhile
        told.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(worked.sum())
}

#[expect(clippy::disallowed_methods, reason = "a test of real processes measures in real time")]
pub fn now() -> Instant {
    Instant::now()
}

pub fn pause(time: Duration) {
    thread::sleep(time);
}
