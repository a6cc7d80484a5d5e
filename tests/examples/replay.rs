//! An example as it runs for a person, but on free ports and by a clock that stands still between the commands.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::get,
    process::{Process, eventually, free_ports},
    programs::{Service, start_envoy},
    servers::{RedisServer, over_redis},
    transcript::{Step, matches, side_by_side, steps},
};

/// When every transcript begins: with a minute, an hour and half a day.
const START: &str = "2026-01-05T12:00:00Z";

/// How long one command may take; the longest sends some thousand requests, on a busy machine.
const COMMAND_SECS: &str = "120";

/// What a command gets for `sleep SECONDS`: the time passes at once.
const SLEEP: &str = r#"#!/usr/bin/env python3
import socket, sys
clock = socket.socket(socket.AF_UNIX)
clock.connect("$CLOCK")
clock.sendall(f"advance {sys.argv[1]}s\n".encode())
sys.exit(clock.recv(100)[:3] != b"ok ")
"#;

/// Where a README and an Envoy configuration say that things listen, by the names in `# port: NAME`.
const PORTS: [(&str, u16); 5] =
    [("listener", 10000), ("upstream", 10001), ("grpc", 8081), ("http", 8080), ("admin", 6070)];

/// Everything that runs for one example. Fields are dropped in order: Envoy before whom it asks.
struct Replay {
    _envoy: Process,
    _service: Process,
    /// Where this run is the one over Redis.
    _redis: Option<RedisServer>,
    _upstream: Process,
    /// A copy of the example's directory, in which commands run and may change what they like.
    copy: PathBuf,
    ports: [u16; PORTS.len()],
    clock: PathBuf,
    dir: TempDir,
}

/// Does what the README of the example says, and panics if anything else comes out of it.
pub fn replay(name: &str) {
    let example = examples().join(name);
    let page = fs::read_to_string(example.join("README.md")).expect("the example has a README");
    let steps = steps(&page);
    assert!(!steps.is_empty(), "the README of {name} shows no command");
    let replay = Replay::start(&example);
    replay.tell_clock(&format!("set {START}"));
    let surprises: Vec<String> = steps.iter().filter_map(|step| replay.surprise(name, step)).collect();
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n"));
}

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy")
}

impl Replay {
    fn start(example: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let ports = free_ports();
        let [listener, upstream, grpc, http, admin] = ports;
        let copy = dir.path().join("example");
        copy_files(example, &copy);
        fs::write(dir.path().join(".curlrc"), "silent\n").expect("the directory is ours");
        let clock = dir.path().join("clock.sock");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("the directory is ours");
        write_program(&bin.join("sleep"), &SLEEP.replace("$CLOCK", &clock.display().to_string()));

        let mut command = Command::new("python3");
        command.arg("-B").arg(examples().join("upstream.py")).arg(upstream.to_string());
        let mut upstream_process = Process::start("upstream", dir.path(), &mut command);
        upstream_process.wait_until(|| TcpStream::connect(("127.0.0.1", upstream)).is_ok());

        let redis = over_redis().then(RedisServer::start);
        let store = redis.as_ref().map(RedisServer::url);
        let store = store.as_deref();
        let grpc = format!("127.0.0.1:{grpc}");
        let rules = &copy.join("rules.yaml");
        let service = Service { grpc: &grpc, http, admin, rules, clock: Some(&clock), store, arguments: &[] };
        let service = service.start(dir.path());
        let bootstrap = fs::read_to_string(copy.join("envoy.yaml")).expect("the example has an envoy.yaml");
        let envoy = start_envoy(dir.path(), &patient(&on_ports(&bootstrap, ports)), listener);
        Self { _envoy: envoy, _service: service, _redis: redis, _upstream: upstream_process, copy, ports, clock, dir }
    }

    /// What came instead of what the README says, if anything did.
    fn surprise(&self, name: &str, step: &Step) -> Option<String> {
        for time in &step.later {
            self.tell_clock(&format!("advance {time}"));
        }
        let actual = self.run(&step.command);
        if matches(&step.expected, &actual) {
            return None;
        }
        let compared = side_by_side(&step.expected, &actual);
        Some(format!("examples/envoy/{name}/README.md:{}\n$ {}\n{compared}", step.line, step.command))
    }

    /// What a command prints. One that edits the rules is done when they are in force.
    fn run(&self, command: &str) -> String {
        let (before, generation) = (self.rules(), self.generation());
        let output = Command::new("timeout")
            .args([COMMAND_SECS, "bash", "-c", &format!("exec 2>&1\n{}", self.with_our_ports(command))])
            .current_dir(&self.copy)
            .env("PATH", self.path())
            // On a terminal an answer is shown without a progress meter; and nobody's own settings count.
            .env("CURL_HOME", self.dir.path())
            .env("TALLYGATE_ADMIN", format!("127.0.0.1:{}", self.port("admin")))
            .stdin(Stdio::null())
            .output()
            .expect("bash and coreutils are there");
        if self.rules() != before {
            eventually("the edited rules are in force", || self.generation() > generation);
        }
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn rules(&self) -> Vec<u8> {
        fs::read(self.copy.join("rules.yaml")).expect("no command takes the rules away")
    }

    fn generation(&self) -> u64 {
        let status: Value = serde_json::from_slice(&get("/v1/status").send(self.port("admin")).body).expect("JSON");
        status["rules"]["generation"].as_u64().expect("rules are loaded")
    }

    fn tell_clock(&self, command: &str) {
        let mut stream = UnixStream::connect(&self.clock).expect("the clock listens");
        writeln!(stream, "{command}").expect("the clock listens");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("the clock answers");
        assert!(answer.starts_with("ok "), "the clock was told `{command}`, and said `{}`", answer.trim());
    }

    fn port(&self, name: &str) -> u16 {
        port(name, self.ports)
    }

    /// Where commands are looked for: our `sleep`, the tallygate that was built, the machine's.
    fn path(&self) -> OsString {
        let tallygate = Path::new(env!("CARGO_BIN_EXE_tallygate")).parent().expect("a program lies in a directory");
        let machine = env::var_os("PATH").unwrap_or_default();
        let all = [self.dir.path().join("bin"), tallygate.to_owned()].into_iter().chain(env::split_paths(&machine));
        env::join_paths(all).expect("they came from a PATH")
    }

    /// A command as the README has it, sent to where things listen here.
    fn with_our_ports(&self, command: &str) -> String {
        let usual = PORTS.iter().zip(self.ports);
        usual.fold(command.to_owned(), |command, ((_, usual), ours)| {
            command.replace(&format!("localhost:{usual}"), &format!("127.0.0.1:{ours}"))
        })
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the directory is ours");
    for entry in fs::read_dir(from).expect("the example is a directory") {
        let path = entry.expect("it can be listed").path();
        fs::copy(&path, to.join(path.file_name().expect("a listed file has a name"))).expect("files can be copied");
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("the directory is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

fn port(name: &str, ports: [u16; PORTS.len()]) -> u16 {
    let place = PORTS.iter().position(|(own, _)| *own == name);
    ports[place.unwrap_or_else(|| panic!("`# port: {name}`: there is no such port"))]
}

/// `port_value: 10000} # port: listener` with our port instead.
fn on_ports(bootstrap: &str, ports: [u16; PORTS.len()]) -> String {
    let line = |line: &str| match line.split_once("# port: ") {
        None => line.to_owned() + "\n",
        Some((before, name)) => {
            let (start, end) = before.split_once("port_value: ").expect("a port stands before its name");
            let end = end.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{start}port_value: {}{end}# port: {name}\n", port(name, ports))
        }
    };
    bootstrap.lines().map(line).collect()
}

/// A decision that comes late is let through, so that a limiter in trouble takes nothing else down. Here the machine is
/// busy with other tests, and what is asked is what is decided.
fn patient(bootstrap: &str) -> String {
    let usual = "timeout: 0.02s";
    assert!(bootstrap.contains(usual), "envoy.yaml does not say `{usual}`");
    bootstrap.replace(usual, "timeout: 60s")
}
