//! Programs that a test starts, and waiting for what they do.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should take milliseconds: the machine may be busy with other tests, or stand
/// still for a while.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that ends with the test. What it writes is shown where the test fails.
pub struct Process {
    name: &'static str,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    pub fn start(name: &'static str, logs: &Path, command: &mut Command) -> Self {
        let (out, err) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.err")));
        let file = |path| File::create(path).expect("a log file can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&out))
            .stderr(file(&err))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display()));
        Self { name, child, out, err }
    }

    /// Everything that it has written to its standard output so far.
    pub fn output(&self) -> String {
        fs::read(&self.out).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `ready`; a program that ends instead fails the test at once.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool) {
        let name = self.name;
        eventually(&format!("{name} is ready"), || {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!("{name} ended: {status}");
            }
            ready()
        });
    }

    /// Sends it a signal by its name: `STOP`, `CONT`, `HUP`.
    #[allow(dead_code, reason = "for Redis servers; nobody stops an Envoy")]
    pub fn signal(&self, name: &str) {
        // The shell's own: a small machine has no program of that name.
        let kill = format!("kill -s {name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(sent.success(), "{} cannot be sent {name}", self.name);
    }

    /// Waits until it has ended by itself, and well.
    #[allow(dead_code, reason = "for who restarts it")]
    pub fn wait_for_its_end(&mut self) {
        let mut ended = None;
        eventually(&format!("{} ends", self.name), || {
            ended = self.child.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        assert!(ended.is_some_and(|status| status.success()), "{} ended: {ended:?}", self.name);
    }

    /// Ends it the hard way, as a crash would.
    pub fn kill(&mut self) {
        // An error says that it has ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let threads = if thread::panicking() { threads_of(self.child.id()) } else { String::new() };
        self.kill();
        if thread::panicking() {
            eprintln!("--- threads of {} as the test failed\n{threads}", self.name);
            eprintln!("{}", [&self.out, &self.err].map(|log| last_lines(log)).concat());
        }
    }
}

/// What each thread of a process does: its name, its state (`R` runs, `S` waits, `D` waits for a disk, `T` is stopped), where
/// in the kernel, and for how many milliseconds it has run.
fn threads_of(process: u32) -> String {
    let mut told = String::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        // The name stands in brackets, and may have any of its own.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.get(..1)).unwrap_or("?");
        let ran_ms = read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000_000;
        let _ = writeln!(told, "{} {state} {} {ran_ms} ms", read("comm").trim(), read("wchan"));
    }
    told
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = format!("--- {}\n", log.file_name().map_or_else(Default::default, OsStr::to_string_lossy));
    for line in &lines[lines.len().saturating_sub(30)..] {
        let _ = writeln!(shown, "{line}");
    }
    shown
}

/// Asks until `true`; fails the test with `what` when patience is at its end.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// Asks until `true`, for so long.
#[expect(clippy::disallowed_methods, reason = "a test of real processes waits in real time")]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// So many ports on which nobody listens; all different, because all are held until the last is found.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there is a free port"));
    held.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}
