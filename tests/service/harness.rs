//! A service that a test starts in a folder of its own, on ports that the system chooses, and what is asked of it.

#[path = "../common/redis/mod.rs"]
#[allow(dead_code, reason = "more than one test's servers")]
pub mod servers;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tallygate::grpc::proto::{
    RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
    rate_limit_descriptor::{Entry, RateLimitOverride},
    rate_limit_service_client::RateLimitServiceClient,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::client::{Request, Response, get};
use servers::{RedisServer, over_redis};

/// How long anything may take that should take milliseconds: the machine may be busy with other tests, or stand
/// still for a while.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with rule files, and what belongs to them. A service that was started on it holds it too.
#[derive(Clone)]
pub struct Folder(Arc<Place>);

struct Place {
    dir: TempDir,
    /// What services started on it count in, one after the other, where this run is the one over Redis.
    redis: OnceLock<RedisServer>,
}

impl Folder {
    pub fn with(files: &[(&str, &str)]) -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap(), redis: OnceLock::new() };
        let folder = Self(Arc::new(place));
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

/// The program, with the folder's rules and nothing of this machine's environment.
pub fn command(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
    let state = folder.path(".state");
    command.env_clear().current_dir(folder.0.dir.path()).stdin(Stdio::null());
    command.env("TALLYGATE_RULES", folder.0.dir.path()).env("TALLYGATE_STATE", state);
    command
}

/// A service that ends with the test.
pub struct Service {
    running: Running,
    runtime: Runtime,
    endpoint: Endpoint,
    channel: Channel,
    http: u16,
    admin: u16,
    _folder: Folder,
    /// Holds the log, and outlives the service.
    _scratch: TempDir,
}

impl Service {
    /// Starts it and waits until it has said where it listens.
    pub fn start(folder: &Folder, arguments: &[&str]) -> Self {
        Self::start_by(command(folder), folder, arguments)
    }

    /// Starts it with a [`command`] that knows more than the folder.
    pub fn start_by(mut serve: Command, folder: &Folder, arguments: &[&str]) -> Self {
        for [flag, value] in [
            ["--grpc", "127.0.0.1:0"],
            ["--http", "127.0.0.1:0"],
            ["--admin", "127.0.0.1:0"],
            ["--drain-delay", "0s"],
            ["--cores", "1"],
        ] {
            if !arguments.contains(&flag) {
                serve.args([flag, value]);
            }
        }
        if over_redis() && !arguments.contains(&"--store") {
            let redis = folder.0.redis.get_or_init(RedisServer::start);
            // A busy machine must not make a call late.
            serve.args(["--store", &redis.url(), "--store-deadline", "1s"]);
        }
        serve.args(arguments);
        Self::start_as_it_is(serve, folder)
    }

    /// Starts it with nothing but what the command says; that must be ports that the system chooses.
    pub fn start_as_it_is(mut serve: Command, folder: &Folder) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let log = scratch.path().join("log");
        let child = serve.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut running = Running { child, log };
        let mut told = None;
        eventually("it says where it listens", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended instead: {ended:?}");
            told = addresses(&running.log());
            told.is_some()
        });
        let [grpc, http, admin] = told.unwrap();
        let port = |address: String| address.rsplit_once(':').unwrap().1.parse().unwrap();
        let address = if grpc.starts_with("unix:") { grpc } else { format!("http://{grpc}") };
        let endpoint = Endpoint::from_shared(address).unwrap().timeout(PATIENCE);
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        let (http, admin, folder) = (port(http), port(admin), folder.clone());
        Self { running, runtime, endpoint, channel, http, admin, _folder: folder, _scratch: scratch }
    }

    /// A connection of its own, beside the one that everything else here is asked over.
    pub fn connect(&self) -> Channel {
        self.block_on(async { self.endpoint.connect_lazy() })
    }

    /// Runs a client of several connections.
    pub fn block_on<F: Future>(&self, client: F) -> F::Output {
        self.runtime.block_on(client)
    }

    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    pub fn signal(&self, name: &str) {
        // The shell's own: a small machine has no program of that name.
        let kill = format!("kill -s {name} {}", self.running.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut ended = None;
        eventually("it ends", || {
            ended = self.running.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }

    pub fn try_get(&self, path: &str) -> Option<Response> {
        get(path).try_send(self.http).ok()
    }

    pub fn get(&self, path: &str) -> Response {
        get(path).send(self.http)
    }

    /// Sends a request that is more than a path to the same port.
    pub fn send(&self, request: &Request) -> Response {
        request.send(self.http)
    }

    /// Its memory that is in use, as the system sees it.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    pub fn until_ready(&self) {
        eventually("it is ready", || self.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    }

    pub fn metrics(&self) -> String {
        self.get("/metrics").text().to_owned()
    }

    /// The value of one series: its name, with its labels if it has any.
    pub fn metric(&self, series: &str) -> String {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{series} is missing in\n{metrics}")).to_owned()
    }

    /// How often it was decided so, by any source: the labels of `tallygate_decisions_total` up to the last.
    pub fn decided(&self, labels: &str) -> u64 {
        let series = format!("tallygate_decisions_total{{{labels},source=");
        let metrics = self.metrics();
        let of_source = |line: &str| line.strip_prefix(&series)?.rsplit_once(' ')?.1.parse::<u64>().ok();
        metrics.lines().filter_map(of_source).sum()
    }

    /// Where Envoy would ask, as `HOST:PORT`.
    pub fn grpc_address(&self) -> String {
        let address = self.endpoint.uri().authority().expect("it does not listen on a path");
        address.to_string()
    }

    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// Where it says that it listens for what a setting asked for, if it does.
    pub fn port_of(&self, setting: &str) -> Option<u16> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(" listening "))?;
        let address = line.split_whitespace().find_map(|word| word.strip_prefix(setting)?.strip_prefix('='))?;
        address.rsplit_once(':')?.1.parse().ok()
    }

    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    pub fn status(&self) -> Value {
        serde_json::from_slice(&get("/v1/status").send(self.admin).body).unwrap()
    }

    pub fn hash(&self) -> String {
        self.status()["rules"]["hash"].as_str().unwrap().to_owned()
    }

    /// What gRPC's health service says of the rate-limit service.
    pub fn health(&self) -> &'static str {
        let service = "envoy.service.ratelimit.v3.RateLimitService".to_owned();
        let mut client = HealthClient::new(self.channel.clone());
        let answer = self.runtime.block_on(client.check(HealthCheckRequest { service }));
        answer.map_or("no answer", |answer| ServingStatus::as_str_name(&answer.into_inner().status()))
    }

    pub fn call(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let mut client = RateLimitServiceClient::new(self.channel.clone());
        self.runtime.block_on(client.should_rate_limit(request)).map(tonic::Response::into_inner)
    }

    /// Asks with one descriptor of one entry.
    pub fn ask(&self, key: &str, value: &str) -> Result<RateLimitResponse, Status> {
        self.call(request(vec![descriptor(key, value)]))
    }

    /// The limit that is in force for `(k=v)`, by a look.
    pub fn limit(&self) -> u32 {
        let mut look = request(vec![descriptor("k", "v")]);
        look.descriptors[0].hits_addend = Some(0);
        let Ok(answer) = self.call(look) else { return 0 };
        answer.statuses[0].current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit)
    }

    pub fn until_limit(&self, limit: u32) {
        eventually(&format!("the limit is {limit}"), || self.limit() == limit);
    }
}

/// The process; what it logged is shown where the test fails.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- its log\n{}", self.log());
        }
    }
}

/// What the line about listening says: gRPC, HTTP, admin.
fn addresses(log: &str) -> Option<[String; 3]> {
    let line = log.split_inclusive('\n').find(|line| line.contains(" listening ") && line.ends_with('\n'))?;
    let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    Some([field("grpc=")?, field("http=")?, field("admin=")?])
}

pub fn request(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: b"shop".to_vec(), descriptors, hits_addend: 0 }
}

pub fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: key.into(), value: value.into() };
    RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() }
}

/// A limit that comes with the request: so many a day.
pub fn limit(requests_per_unit: u32) -> RateLimitOverride {
    RateLimitOverride { requests_per_unit, unit: 4, unit_multiplier: None }
}

/// Asks until `true`; fails the test with `what` when patience is at its end.
#[expect(clippy::disallowed_methods, reason = "a test of real processes waits in real time")]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
