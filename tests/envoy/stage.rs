//! One tallygate, one Envoy in front of an upstream: what a test plays on.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    client::{Request, Response, get},
    process::{Process, free_ports},
    upstream::Upstream,
};

/// Everything that runs for one test, and ends with it. Fields are dropped in order: Envoy before whom it asks.
pub struct Stage {
    pub envoy: Process,
    pub service: Process,
    pub upstream: Upstream,
    /// Where Envoy listens.
    pub port: u16,
    /// The service's HTTP port.
    pub http: u16,
    rules: PathBuf,
    _dir: TempDir,
}

/// What differs from test to test.
pub struct Plan<'a> {
    /// The rule file of the domain `test`.
    pub rules: &'a str,
    /// Envoy's routes, in YAML; clusters are `upstream` and `tallygate`.
    pub routes: &'a str,
    /// More fields of the rate-limit filter: `name: value` lines.
    pub filter: &'a str,
    pub failure_mode_deny: bool,
    pub unix_socket: bool,
}

/// For every request one descriptor: its API key.
pub const BY_API_KEY: &str = "
- match: {prefix: /}
  route:
    cluster: upstream
    rate_limits:
      - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
";

impl Default for Plan<'_> {
    fn default() -> Self {
        // A call that fails is to be seen, not to pass for an accepted one.
        Self { rules: "", routes: BY_API_KEY, filter: "", failure_mode_deny: true, unix_socket: false }
    }
}

impl Plan<'_> {
    pub fn start(&self) -> Stage {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let [port, grpc, http, admin] = free_ports();
        let upstream = Upstream::start();
        let rules = dir.path().join("rules");
        fs::create_dir(&rules).expect("the directory is ours");
        fs::write(rules.join("test.yaml"), self.rules).expect("the directory is ours");

        let socket = dir.path().join("grpc.sock");
        let (grpc_flag, grpc_address) = if self.unix_socket {
            (format!("unix:{}", socket.display()), format!("pipe: {{path: {}}}", socket.display()))
        } else {
            (format!("127.0.0.1:{grpc}"), tcp(grpc))
        };
        let service = start_service(dir.path(), &grpc_flag, http, admin, &rules);
        let bootstrap = self.bootstrap(port, &grpc_address, upstream.port);
        let envoy = start_envoy(dir.path(), &bootstrap, port);
        Stage { envoy, service, upstream, port, http, rules, _dir: dir }
    }

    fn bootstrap(&self, port: u16, grpc_address: &str, upstream: u16) -> String {
        include_str!("bootstrap.yaml")
            .replace("$LISTENER", &tcp(port))
            .replace("$GRPC", grpc_address)
            .replace("$UPSTREAM", &tcp(upstream))
            .replace("$FAILURE_MODE_DENY", if self.failure_mode_deny { "true" } else { "false" })
            .replace("$FILTER", &indented(self.filter, 22))
            .replace("$ROUTES", &indented(self.routes, 24))
    }
}

impl Stage {
    pub fn send(&self, request: &Request) -> Response {
        request.send(self.port)
    }

    /// `GET path` with this API key.
    pub fn get(&self, path: &str, api_key: &str) -> Response {
        self.send(&get(path).header("x-api-key", api_key))
    }

    /// Replaces the rule file as an editor does: a new file, renamed over the old one.
    pub fn edit_rules(&self, text: &str) {
        let new = self.rules.join(".test.yaml.new");
        fs::write(&new, text).expect("the directory is ours");
        fs::rename(&new, self.rules.join("test.yaml")).expect("the directory is ours");
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = get("/metrics").try_send(self.http).ok()?;
        let line = page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }
}

fn start_service(dir: &Path, grpc: &str, http: u16, admin: u16, rules: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TALLYGATE_")) {
        command.env_remove(name);
    }
    fs::create_dir(dir.join("state")).expect("the directory is ours");
    command.current_dir(dir).args(["serve", "--log-format", "json", "--grpc", grpc]);
    command.args(["--http", &format!("127.0.0.1:{http}"), "--admin", &format!("127.0.0.1:{admin}")]);
    command.arg("--rules").arg(rules).arg("--state").arg(dir.join("state"));
    let mut service = Process::start("tallygate", dir, &mut command);
    service.wait_until(|| get("/readyz").try_send(http).is_ok_and(|answer| answer.status == 200));
    service
}

fn start_envoy(dir: &Path, bootstrap: &str, port: u16) -> Process {
    let config = dir.join("envoy.yaml");
    fs::write(&config, bootstrap).expect("the directory is ours");
    let mut command = Command::new(find_envoy());
    command.arg("-c").arg(config).args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warn"]);
    // It holds its access log back for ten seconds otherwise.
    command.args(["--file-flush-interval-msec", "10"]);
    let mut envoy = Process::start("envoy", dir, &mut command);
    envoy.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    envoy
}

fn find_envoy() -> PathBuf {
    let installed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/envoy/envoy-1.40.0");
    let envoy = env::var_os("TALLYGATE_TEST_ENVOY").map_or_else(installed, PathBuf::from);
    assert!(
        envoy.exists(),
        "there is no Envoy at {}: `make test` installs one (or examples/envoy/find_envoy.py --installed), or let \
         TALLYGATE_TEST_ENVOY name an Envoy 1.40",
        envoy.display()
    );
    envoy
}

fn tcp(port: u16) -> String {
    format!("socket_address: {{address: 127.0.0.1, port_value: {port}}}")
}

fn indented(text: &str, columns: usize) -> String {
    let indent = " ".repeat(columns);
    text.trim_matches('\n').lines().map(|line| indent.clone() + line + "\n").collect()
}
