//! A wall clock that stands still until a test moves it, in builds with the feature `test-clock`.
//!
//! Where the environment variable `TALLYGATE_TEST_CLOCK` names a path, the clock stands at [`START_SECS`], and a Unix
//! socket at that path takes one command a line:
//!
//! | command | does |
//! |---|---|
//! | `set 2026-01-05T12:00:28Z` | moves the clock there, also back |
//! | `advance 32s` | moves it on; any duration as `1h 5m` or `250ms` |
//! | `now` | nothing |
//!
//! Each is answered `ok NANOS`, the nanoseconds since 1970 at which the clock now stands, or `error: …`. What is answered
//! `ok` holds for every decision from then on. Only the wall clock stands still: the stopwatch and timers run.

use std::{
    env, fs, io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::units::Timestamp;

/// The environment variable that names the socket.
pub const VARIABLE: &str = "TALLYGATE_TEST_CLOCK";

/// 2026-01-05T00:00:00Z, a Monday: minutes, hours, days and weeks begin there.
pub const START_SECS: u64 = 1_767_571_200;

/// What the clock shows, in nanoseconds since 1970; [`RUNNING`] while it is the machine's.
static TOLD: AtomicU64 = AtomicU64::new(RUNNING);

/// The year 2554: no test goes there.
const RUNNING: u64 = u64::MAX;

/// The time that the clock stands at, if it stands.
pub(super) fn told() -> Option<Timestamp> {
    match TOLD.load(Ordering::Relaxed) {
        RUNNING => None,
        nanos => Some(Timestamp(nanos)),
    }
}

/// Stops the clock if the environment asks for it.
///
/// # Errors
///
/// The socket cannot be made.
pub fn stop() -> anyhow::Result<Option<Hands>> {
    let Some(path) = env::var_os(VARIABLE) else { return Ok(None) };
    let listener = listen(path.as_ref()).with_context(|| format!("{VARIABLE} is {}", path.display()))?;
    TOLD.store(Timestamp::from_secs(START_SECS).0, Ordering::SeqCst);
    Ok(Some(Hands(listener)))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// What moves a clock that was stopped.
#[derive(Debug)]
pub struct Hands(UnixListener);

impl Hands {
    /// Does as the socket says, as long as the process lives. One connection at a time: there is one time to set.
    pub async fn turn(self) {
        while let Ok((stream, _)) = self.0.accept().await {
            // Who hangs up has had enough.
            let _ = obey(stream).await;
        }
    }
}

async fn obey(mut stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let now = told().unwrap_or(Timestamp::from_secs(START_SECS));
        let answer = match moved(now, &line) {
            Ok(then) => {
                TOLD.store(then.0, Ordering::SeqCst);
                format!("ok {}\n", then.0)
            }
            Err(error) => format!("error: {error:#}\n"),
        };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Where a clock that stands at `now` stands after `command`.
fn moved(now: Timestamp, command: &str) -> anyhow::Result<Timestamp> {
    let nanos = match command.trim().split_once(' ') {
        None if command.trim() == "now" => i128::from(now.0),
        Some(("set", time)) => time.parse::<jiff::Timestamp>()?.as_nanosecond(),
        Some(("advance", duration)) => i128::from(now.0) + duration.parse::<jiff::SignedDuration>()?.as_nanos(),
        _ => bail!("`{command}` is none of `set TIME`, `advance DURATION`, `now`"),
    };
    match u64::try_from(nanos) {
        Ok(nanos) if nanos != RUNNING => Ok(Timestamp(nanos)),
        _ => bail!("`{command}` leads out of the years 1970 to 2554"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_moves_the_clock_as_it_says() {
        let start = Timestamp::from_secs(START_SECS);
        let noon = Timestamp::from_secs(START_SECS + 12 * 3600);
        for (command, then) in [
            ("now", Ok(start)),
            ("set 2026-01-05T12:00:00Z", Ok(noon)),
            ("set 2026-01-05T00:00:00Z", Ok(start)),
            ("advance 12h", Ok(noon)),
            ("advance 11h 59m 60s", Ok(noon)),
            ("advance 1500ms", Ok(Timestamp(start.0 + 1_500_000_000))),
            ("advance 9000000h", Err("out of the years")),
            ("set 1969-12-31T23:59:59Z", Err("out of the years")),
            ("set tomorrow", Err("year")),
            ("advance", Err("is none of")),
            ("later", Err("`later` is none of")),
        ] {
            match (moved(start, command), then) {
                (Ok(moved), Ok(then)) => assert_eq!(moved, then, "{command}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{command}: {error}"),
                (moved, then) => panic!("{command}: {moved:?} instead of {then:?}"),
            }
        }
    }
}
