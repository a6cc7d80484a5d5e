//! The scripts, and how they are sent.

use redis::{Cmd, Script};

use super::{Time, ask::Seats, key};
use crate::units::Timestamp;

/// A script that runs on the server: known there by the hash of its text, once it was loaded.
#[derive(Debug)]
pub(super) struct Runnable {
    text: &'static str,
    hash: String,
}

impl Runnable {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// Decides and charges: see `charge.lua`.
    pub fn charge() -> Self {
        Self::new(include_str!("charge.lua"))
    }

    /// Forgets: see `reset.lua`.
    pub fn reset() -> Self {
        Self::new(include_str!("reset.lua"))
    }

    /// Makes the server know it.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.text);
        command
    }
}

/// One call of a script.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub script: &'c Runnable,
    pub domain: &'c str,
    pub seats: &'c Seats,
    pub now: Timestamp,
    pub ask: &'c [u8],
}

/// By what the server is told which script.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Hash,
    /// Makes it known, too.
    Text,
}

impl Call<'_> {
    pub fn command(&self, how: How, time: Time) -> Cmd {
        let (name, script) = match how {
            How::Hash => ("EVALSHA", self.script.hash.as_str()),
            How::Text => ("EVAL", self.script.text),
        };
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.seats.keys.len());
        let mut name = key::prefix(self.domain);
        let prefix = name.len();
        for &counter in &self.seats.keys {
            name.truncate(prefix);
            key::write(counter, &mut name);
            command.arg(name.as_slice());
        }
        match time {
            Time::Servers => command.arg(""),
            Time::Calls => command.arg(self.now.0 / 1_000),
        };
        command.arg(self.ask);
        command
    }
}
