//! One Redis server.

use std::{env, ffi::OsString, fs, path::Path, process::Command, time::Duration};

use redis::{Client, Connection, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisResult, Value};
use tempfile::TempDir;

use super::{ports::free_port, process::Process};

/// How long a server may take to answer a test: far longer than a busy machine needs, and not for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names another program that speaks as `redis-server` does, such as `valkey-server`.
const PROGRAM: &str = "TALLYGATE_TEST_REDIS_SERVER";

/// A Redis server that keeps nothing on the disk.
pub struct RedisServer {
    port: u16,
    /// After those that every server has.
    options: Vec<String>,
    password: Option<String>,
    process: Process,
    dir: TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more options: `["--maxmemory", "1mb"]`.
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self::run(free_port(), options, tempfile::tempdir().expect("a directory for the server"))
    }

    /// Starts a sentinel with this configuration, a file of its own, which it goes on to write in.
    pub(super) fn start_sentinel(configuration: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the sentinel");
        let file = dir.path().join("sentinel.conf");
        fs::write(&file, configuration).expect("the directory is ours");
        Self::run(free_port(), vec![file.display().to_string(), "--sentinel".to_owned()], dir)
    }

    fn run(port: u16, options: Vec<String>, dir: TempDir) -> Self {
        let process = spawn(port, &options, None, dir.path());
        let mut server = Self { port, options, password: None, process, dir };
        server.wait_until_it_answers();
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A directory of its own.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command, on a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Sends a command that may fail, as all do while the server is away.
    pub fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> RedisResult<T> {
        let answer: Value = words(command).query(&mut self.connect()?)?;
        Ok(T::from_redis_value(answer)?)
    }

    /// From now on it takes nobody in without this password, and those that are in are shown out.
    pub fn set_password(&mut self, password: &str) {
        self.ask::<()>(&["CONFIG", "SET", "requirepass", password]);
        self.password = Some(password.to_owned());
        self.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    /// It stops where it is: connections stay, nothing is answered.
    pub fn stop(&self) {
        self.process.signal("STOP");
    }

    /// It goes on after [`stop`](Self::stop).
    pub fn cont(&self) {
        self.process.signal("CONT");
    }

    /// It is gone at once, and what it held is forgotten.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// It comes back on the same port, empty, with the password that it had last.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.port, &self.options, self.password.as_deref(), self.dir.path());
        self.wait_until_it_answers();
    }

    /// It comes back with what it held, and loads that for about so many milliseconds, in which it answers no command but
    /// with `LOADING`. Afterwards it holds keys of ours too.
    pub fn restart_loading(&mut self, millis: u32) {
        let keys: Vec<String> = (0..millis).map(|number| format!("loaded-{number}")).collect();
        let pairs = keys.iter().flat_map(|key| [key.as_str(), "1"]);
        self.ask::<()>(&["MSET"].into_iter().chain(pairs).collect::<Vec<_>>());
        self.ask::<()>(&["SAVE"]);
        self.process.kill();
        // A millisecond for each key; and as often as it may, it looks who is asking.
        let slowly = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
        let options = [&self.options[..], &slowly.map(str::to_owned)].concat();
        self.process = spawn(self.port, &options, self.password.as_deref(), self.dir.path());
    }

    /// All keys of the database.
    pub fn keys(&self) -> Vec<String> {
        self.ask(&["KEYS", "*"])
    }

    /// Those of counters and blocks.
    pub fn counters(&self) -> Vec<String> {
        self.keys().into_iter().filter(|key| !key.starts_with("tallygate:{@")).collect()
    }

    /// The keys that would stay for ever.
    pub fn keys_without_expiry(&self) -> Vec<String> {
        let stays = |key: &String| self.ask::<i64>(&["PTTL", key]) == -1;
        self.keys().into_iter().filter(stays).collect()
    }

    fn wait_until_it_answers(&mut self) {
        let info = info(self.port, self.password.as_deref());
        let answers = || connect(info.clone()).and_then(|mut connection| words(&["PING"]).query::<()>(&mut connection));
        self.process.wait_until(|| answers().is_ok());
    }

    fn connect(&self) -> RedisResult<Connection> {
        connect(info(self.port, self.password.as_deref()))
    }
}

fn info(port: u16, password: Option<&str>) -> redis::ConnectionInfo {
    let address = ConnectionAddr::Tcp("127.0.0.1".to_owned(), port);
    let info = address.into_connection_info().expect("an address is enough");
    match password {
        Some(password) => {
            let settings = info.redis_settings().clone().set_password(password);
            info.set_redis_settings(settings)
        }
        None => info,
    }
}

fn connect(info: redis::ConnectionInfo) -> RedisResult<Connection> {
    let connection = Client::open(info)?.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn words(command: &[&str]) -> redis::Cmd {
    let mut words = redis::Cmd::new();
    words.arg(command);
    words
}

fn spawn(port: u16, options: &[String], password: Option<&str>, dir: &Path) -> Process {
    let program = env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("redis-server"));
    let found = Command::new(&program).arg("--version").output();
    assert!(
        found.is_ok(),
        "there is no {}: `make test` installs redis-server (or apt-get install redis-server)",
        program.display()
    );
    let mut command = Command::new(&program);
    // A configuration file must stand first.
    command.current_dir(dir).args(options).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    if !options.iter().any(|option| option == "--sentinel") {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    Process::start("redis-server", dir, &mut command)
}
