//! A real Prometheus, and `promtool`, which comes with it.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{client::exchange, harness::servers::free_port, process::Process, read, shipped};

/// A server that scrapes services and looks at the alerts, as `deploy/prometheus` says, but more often.
pub struct Prometheus {
    process: Process,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    pub fn scraping(services: [u16; 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let targets = services.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
        let config = read("deploy/prometheus/prometheus.yaml");
        assert!(config.contains("\"127.0.0.1:8080\"") && config.contains(" 15s"), "what is replaced here has changed");
        let config = config.replace("\"127.0.0.1:8080\"", &targets).replace(" 15s", " 200ms");
        fs::write(dir.path().join("prometheus.yaml"), config).unwrap();
        fs::copy(shipped("deploy/prometheus/alerts.yaml"), dir.path().join("alerts.yaml")).unwrap();

        let port = free_port();
        let mut command = program("prometheus");
        command.current_dir(dir.path()).args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]);
        command.args([&format!("--web.listen-address=127.0.0.1:{port}"), "--log.level=warn"]);
        // It is not alone on this machine.
        command.env("GOMAXPROCS", "1");
        Self { process: Process::start("prometheus", dir.path(), &mut command), port, _dir: dir }
    }

    pub fn wait_until_ready(&mut self) {
        let port = self.port;
        self.process.wait_until(|| exchange(port, b"GET /-/ready HTTP/1.0\r\n\r\n").is_ok_and(|it| it.status == 200));
    }

    /// What it says to a query now; one that is wrong fails the test.
    pub fn query(&self, expression: &str) -> Value {
        self.ask(&format!("/api/v1/query?query={}", encoded(expression)))
    }

    pub fn ask(&self, path: &str) -> Value {
        // HTTP/1.0, or the answer comes in chunks.
        let answer = exchange(self.port, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer:#}");
        answer
    }
}

/// As it stands in an address.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        encoded
    })
}

/// One of the two programs: the one that `make prometheus` unpacked, else the machine's.
fn program(name: &str) -> Command {
    let unpacked = shipped("target/prometheus/usr/bin").join(name);
    Command::new(if unpacked.exists() { unpacked } else { Path::new(name).to_owned() })
}

/// Runs `promtool` in `deploy/prometheus`; what it has to complain about fails the test.
fn promtool(arguments: &[&str], input: &str) {
    let mut promtool = program("promtool");
    promtool.args(arguments).current_dir(shipped("deploy/prometheus"));
    promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap_or_else(|error| panic!("{error}: make prometheus brings promtool"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "promtool {arguments:?}: {said}");
}

/// Has everything that a service tells looked at: names, types, help, and whether it can be read at all.
pub fn check_metrics(metrics: &str) {
    promtool(&["check", "metrics"], metrics);
}

#[test]
fn the_example_and_the_alerts_are_valid() {
    promtool(&["check", "config", "prometheus.yaml"], "");
    promtool(&["check", "rules", "alerts.yaml"], "");
}

#[test]
fn every_alert_fires_when_it_should_and_alone() {
    promtool(&["test", "rules", "alerts_test.yaml"], "");
}
