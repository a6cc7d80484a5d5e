//! Starts the two programs that tests with a real Envoy need, and waits until they serve.

use std::{
    env, fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{client::get, process::Process};

/// A tallygate to be started.
pub struct Service<'a> {
    /// `HOST:PORT` or `unix:PATH`.
    pub grpc: &'a str,
    pub http: u16,
    pub admin: u16,
    /// A file or a directory.
    pub rules: &'a Path,
    /// Where it is told the time; none: it has the machine's.
    pub clock: Option<&'a Path>,
    /// The Redis where it counts; none: in its memory.
    pub store: Option<&'a str>,
    /// What else it is told.
    pub arguments: &'a [&'a str],
}

impl Service<'_> {
    /// Starts it with `dir` for its state and logs.
    #[expect(clippy::assertions_on_constants, reason = "it is for those who build without the feature")]
    pub fn start(&self, dir: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallygate"));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TALLYGATE_")) {
            command.env_remove(name);
        }
        if let Some(clock) = self.clock {
            assert!(cfg!(feature = "test-clock"), "no test clock: make test builds with --features test-clock");
            command.env("TALLYGATE_TEST_CLOCK", clock);
        }
        fs::create_dir_all(dir.join("state")).expect("the directory is ours");
        command.current_dir(dir).args(["serve", "--log-format", "json", "--grpc", self.grpc]);
        command.args(["--http", &format!("127.0.0.1:{}", self.http)]);
        command.args(["--admin", &format!("127.0.0.1:{}", self.admin)]);
        command.arg("--rules").arg(self.rules).arg("--state").arg(dir.join("state"));
        if let Some(store) = self.store {
            // A busy machine must not make a call late.
            command.args(["--store", store, "--store-deadline", "1s"]);
        }
        command.args(self.arguments);
        let mut service = Process::start("tallygate", dir, &mut command);
        service.wait_until(|| get("/readyz").try_send(self.http).is_ok_and(|answer| answer.status == 200));
        service
    }
}

/// Starts Envoy, whose configuration makes it listen on `port`, with `dir` for its logs.
pub fn start_envoy(dir: &Path, bootstrap: &str, port: u16) -> Process {
    let config = dir.join("envoy-on-free-ports.yaml");
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
