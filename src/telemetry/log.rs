//! Log lines on their way to standard error. Whoever reads them may fall behind, and no decision waits for him: a line that
//! finds no room is dropped, and counted.

use std::{
    io::{self, Stderr, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Where lines are written, and how many were not.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lost: Arc<AtomicU64>,
}

/// A line to standard error.
#[derive(Debug)]
pub struct Line {
    log: Log,
}

/// A pipe that can be written to takes so many bytes at once, of POSIX' own (`PIPE_BUF` on Linux).
const AT_ONCE_BYTES: usize = 4_096;

impl Log {
    /// For a subscriber, which writes each line at once.
    pub fn line(&self) -> Line {
        Line { log: self.clone() }
    }

    /// Lines that were dropped.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Held over all of it: somebody else's line would else take the room that was just seen.
        let mut out = io::stderr().lock();
        for part in line.chunks(AT_ONCE_BYTES) {
            if !has_room(&io::stderr()) || out.write_all(part).is_err() {
                self.log.lost.fetch_add(1, Relaxed);
                break;
            }
        }
        // To the subscriber it is written: there is nobody to tell.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn has_room(out: &Stderr) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut wanted = [PollFd::new(out, PollFlags::OUT)];
    poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

#[cfg(not(unix))]
fn has_room(_: &Stderr) -> bool {
    true
}
