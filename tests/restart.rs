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
    time::{Duration, Instant},
};

use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tempfile::TempDir;

/// How long anything may take that should take milliseconds: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests a year: no window ends while the test runs, but once a year.
const RULES: &str = "domain: test\ndescriptors:\n  - {key: api_key, limits: [5/year]}\n";

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
        let mut client = RateLimitServiceClient::connect(format!("http://127.0.0.1:{}", self.grpc)).await.unwrap();
        let entry = Entry { key: "api_key".into(), value: "acme".into() };
        let request = RateLimitRequest {
            domain: "test".into(),
            descriptors: vec![RateLimitDescriptor { entries: vec![entry], ..Default::default() }],
            hits_addend: hits,
        };
        client.should_rate_limit(request).await.unwrap().into_inner().overall_code()
    }

    /// The value of one series; 0 while there is none.
    fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().unwrap())
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
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
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
