//! One tallygate, one Envoy in front of an upstream: what a test plays on.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{
    client::{Request, Response, get},
    process::{Process, free_ports},
    programs::{Service, start_envoy},
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
    /// What else the service is told.
    pub arguments: &'a [&'a str],
    /// More fields of the cluster of the service, in YAML.
    pub cluster: &'a str,
}

/// For every request one descriptor: its API key.
pub const BY_API_KEY: &str = "
- match: {prefix: /}
  route:
    cluster: upstream
    timeout: 60s
    rate_limits:
      - actions: [{request_headers: {header_name: x-api-key, descriptor_key: api_key}}]
";

impl Default for Plan<'_> {
    fn default() -> Self {
        // A call that fails is to be seen, not to pass for an accepted one.
        Self {
            rules: "",
            routes: BY_API_KEY,
            filter: "",
            failure_mode_deny: true,
            unix_socket: false,
            arguments: &[],
            cluster: "",
        }
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
        let arguments = self.arguments;
        let service = Service { grpc: &grpc_flag, http, admin, rules: &rules, clock: None, store: None, arguments };
        let service = service.start(dir.path());
        let bootstrap = self.bootstrap(port, &[grpc_address], upstream.port);
        let envoy = start_envoy(dir.path(), &bootstrap, port);
        Stage { envoy, service, upstream, port, http, rules, _dir: dir }
    }

    /// Envoy's configuration, with these addresses of replicas.
    pub fn bootstrap(&self, port: u16, replicas: &[String], upstream: u16) -> String {
        let endpoints = replicas.iter().map(|address| format!("{{endpoint: {{address: {{{address}}}}}}}"));
        include_str!("bootstrap.yaml")
            .replace("$LISTENER", &tcp(port))
            .replace("$GRPC", &endpoints.collect::<Vec<_>>().join(", "))
            .replace("$UPSTREAM", &tcp(upstream))
            .replace("$FAILURE_MODE_DENY", if self.failure_mode_deny { "true" } else { "false" })
            .replace("$ACCESS_LOG", &indented(access_log_of_the_manual(), 16))
            .replace("$CLUSTER", &indented(self.cluster, 6))
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

/// An address in Envoy's words.
pub fn tcp(port: u16) -> String {
    format!("socket_address: {{address: 127.0.0.1, port_value: {port}}}")
}

/// What the manual says to copy: every test behind Envoy logs by it.
fn access_log_of_the_manual() -> &'static str {
    let manual = include_str!("../../docs/envoy.md");
    let block = manual.split("```yaml access-log\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("docs/envoy.md has a block `yaml access-log`")
}

fn indented(text: &str, columns: usize) -> String {
    let indent = " ".repeat(columns);
    text.trim_matches('\n').lines().map(|line| indent.clone() + line + "\n").collect()
}
