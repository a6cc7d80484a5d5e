//! Counters over a restart: the program itself, ended the hard way and the soft way.
//!
//! The tests wait with their thread, so the clients have others to close their connections on.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]
#![expect(clippy::disallowed_methods, reason = "a test of real processes waits in real time")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tempfile::TempDir;
use tonic::transport::Channel;

/// How long anything may take that should take milliseconds: the machine may be busy with other tests, or stand
/// still for a while.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests a year: no window ends while the test runs, but once a year.
const RULES: &str = "domain: test\ndescriptors:\n  - {key: api_key, limits: [5/year]}\n";

/// Everything that was charged by then is on the disk, in seconds since 1970.
const KEPT_UNTIL: &str = "tallygate_snapshot_last_success_timestamp_seconds";
const WALK_SECONDS: &str = "tallygate_snapshot_walk_seconds";
const WRITTEN: &str = "tallygate_snapshot_segments_total{result=\"success\"}";

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_counters_go_on() {
    let place = place();
    let mut service = Service::start(place.path(), &[]);
    let before = service.metric(WRITTEN);
    assert_eq!(service.charge(3).await, Code::Ok);
    service.wait_until("the counter is written", |service| service.metric(WRITTEN) > before);
    service.kill();

    let service = Service::start(place.path(), &[]);
    assert!(service.metric("tallygate_snapshot_restored_counters") >= 1);
    assert_eq!(service.charge(3).await, Code::OverLimit);
    assert_eq!(service.charge(2).await, Code::Ok);
}

/// The walks that keep counters begin so long after each other, in seconds.
const WALK_EVERY: f64 = 1.0;
/// How late a busy machine may wake who sleeps, write what is small, and answer who asks, in seconds.
const LATE: f64 = 1.0;
/// Keys that are charged a second, each once: some for every moment of a walk, and they take no core from the service.
const CHARGES_A_SECOND: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_forgets_a_second_and_one_walk_at_most() {
    let place = place();
    let mut service = Service::start(place.path(), &[]);
    let load = tokio::spawn(charge_one_after_the_other(service.client().await));

    // Whenever a kill came, it would forget what was answered since the snapshot was as the counters were.
    let mut bound = WALK_EVERY + LATE;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(5) {
        bound = bound.max(WALK_EVERY + LATE + service.figure(WALK_SECONDS));
        let age = now() - service.figure(KEPT_UNTIL);
        assert!(age < bound, "the snapshot is {age} s old: more than {bound}");
        thread::sleep(Duration::from_millis(20));
    }
    // The worst moment: when the next walk is due.
    service.wait_until("the snapshot is old", |service| now() - service.figure(KEPT_UNTIL) > 0.9 * WALK_EVERY);
    let kept_until = service.figure(KEPT_UNTIL);
    service.kill();
    let killed = now();

    let charged = load.await.unwrap();
    let service = Service::start(place.path(), &[]);
    let forgotten = service.forgotten(charged.iter().map(|(key, _)| &**key).collect()).await;
    let (mut old, mut lost) = (0, 0);
    for ((key, at), forgotten) in charged.iter().zip(forgotten) {
        assert!(!forgotten || *at >= kept_until, "{key} of {at} is forgotten, and all was kept until {kept_until}");
        let age = killed - at;
        assert!(!forgotten || age < bound, "{key}, charged {age} s before the kill, is forgotten: more than {bound}");
        old += u32::from(age >= bound);
        lost += u32::from(forgotten);
    }
    println!("{} keys were charged, {old} of them {bound} s before the kill; {lost} were forgotten", charged.len());
    assert!(old > CHARGES_A_SECOND, "too few charges were old enough to tell");
}

/// Charges a key of its own each time, until nobody answers: the keys, and when each was answered.
async fn charge_one_after_the_other(mut client: RateLimitServiceClient<Channel>) -> Vec<(String, f64)> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CHARGES_A_SECOND);
    let mut charged = Vec::new();
    loop {
        ticks.tick().await;
        let key = format!("key-{}", charged.len());
        let Ok(answer) = client.should_rate_limit(request(&[&key], 1)).await else { return charged };
        assert_eq!(answer.into_inner().overall_code(), Code::Ok);
        charged.push((key, now()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_the_last_charge_is_kept() {
    let place = place();
    let mut service = Service::start(place.path(), &[]);
    assert_eq!(service.charge(5).await, Code::Ok);
    service.terminate();

    let service = Service::start(place.path(), &[]);
    assert_eq!(service.charge(1).await, Code::OverLimit);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_snapshot_none_every_start_is_the_first() {
    let place = place();
    let mut service = Service::start(place.path(), &["--snapshot", "none"]);
    assert_eq!(service.charge(5).await, Code::Ok);
    service.terminate();
    assert!(!place.path().join("state/snapshot").exists());

    let service = Service::start(place.path(), &["--snapshot", "none"]);
    assert_eq!(service.charge(1).await, Code::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_state_directory_leaves_the_first_alone() {
    let place = place();
    let mut first = Service::start(place.path(), &[]);
    assert_eq!(first.charge(5).await, Code::Ok);
    let mut second = Service::start(place.path(), &[]);
    assert_eq!(second.charge(1).await, Code::Ok);
    second.terminate();
    first.terminate();

    let service = Service::start(place.path(), &[]);
    assert_eq!(service.charge(1).await, Code::OverLimit);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_damaged_hash_key_counters_start_afresh_and_the_service_serves() {
    let place = place();
    let mut service = Service::start(place.path(), &[]);
    assert_eq!(service.charge(5).await, Code::Ok);
    service.terminate();
    fs::write(place.path().join("state/hash-key"), "not a key").unwrap();

    let service = Service::start(place.path(), &[]);
    // The key, and at least the segment that was written under it.
    assert!(service.metric("tallygate_snapshot_damaged_total") >= 2);
    assert_eq!(service.charge(5).await, Code::Ok);
}

fn request(keys: &[&str], hits_addend: u32) -> RateLimitRequest {
    let descriptor = |key: &&str| RateLimitDescriptor {
        entries: vec![Entry { key: "api_key".into(), value: (*key).into() }],
        ..Default::default()
    };
    RateLimitRequest { domain: "test".into(), descriptors: keys.iter().map(descriptor).collect(), hits_addend }
}

/// In seconds since 1970, as metrics tell times.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// A directory with rules, where the state directory will be too.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("rules.yaml"), RULES).unwrap();
    place
}

/// The program; it ends with the test.
struct Service {
    child: Child,
    grpc: u16,
    http: u16,
}

impl Service {
    fn start(place: &Path, more: &[&str]) -> Self {
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports @ [grpc, http, admin] = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(held);
        assert!(ports.iter().all(|&port| port != 0));
        let child = Command::new(env!("CARGO_BIN_EXE_tallygate"))
            .args(["--grpc", &format!("127.0.0.1:{grpc}"), "--http", &format!("127.0.0.1:{http}")])
            .args(["--admin", &format!("127.0.0.1:{admin}"), "--drain-delay", "0s", "--cores", "1"])
            .args(["--rules".as_ref(), place.join("rules.yaml").as_os_str()])
            .args(["--state".as_ref(), place.join("state").as_os_str()])
            .args(more)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut service = Self { child, grpc, http };
        service.wait_until("ready", |service| service.get("/readyz").is_some_and(|answer| answer.contains(" 200 ")));
        service
    }

    /// The code of one request for so many hits.
    async fn charge(&self, hits: u32) -> Code {
        let answer = self.client().await.should_rate_limit(request(&["acme"], hits)).await;
        answer.unwrap().into_inner().overall_code()
    }

    async fn client(&self) -> RateLimitServiceClient<Channel> {
        RateLimitServiceClient::connect(format!("http://127.0.0.1:{}", self.grpc)).await.unwrap()
    }

    /// Of keys that were charged once, which are as if they had not been; by a look.
    async fn forgotten(&self, keys: Vec<&str>) -> Vec<bool> {
        let mut look = request(&keys, 1);
        for descriptor in &mut look.descriptors {
            descriptor.hits_addend = Some(0);
        }
        let answer = self.client().await.should_rate_limit(look).await.unwrap().into_inner();
        answer.statuses.iter().map(|status| status.limit_remaining == 5).collect()
    }

    /// The value of one series; 0 while there is none.
    fn metric(&self, series: &str) -> u64 {
        self.series(series).map_or(0, |value| value.parse().unwrap())
    }

    /// The same where it may be a fraction.
    fn figure(&self, series: &str) -> f64 {
        self.series(series).map_or(0.0, |value| value.parse().unwrap())
    }

    fn series(&self, series: &str) -> Option<String> {
        let text = self.get("/metrics").unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.trim().to_owned())
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            assert!(self.child.try_wait().unwrap().is_none(), "the service ended before: {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it as a power cut would.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as Kubernetes would, and waits for it.
    fn terminate(&mut self) {
        // The shell's own: a small machine has no program of that name.
        let sent = Command::new("sh").args(["-c", &format!("kill {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "SIGTERM did not end it within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}
