//! The scripts, and how they are sent.

use redis::{Cmd, Script};

use super::{
    key::{self, Group, Names},
    spread::{Taken, TakenOf},
    usual::Usual,
};
use crate::{charge::CounterKey, units::Timestamp};

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

    /// Gives back: see `give_back.lua`.
    pub fn give_back() -> Self {
        Self::new(include_str!("give_back.lua"))
    }

    /// Forgets: see `reset.lua`.
    pub fn reset() -> Self {
        Self::new(include_str!("reset.lua"))
    }

    /// Exchanges entries with other replicas: see `orders.lua`.
    pub fn orders() -> Self {
        Self::new(include_str!("orders.lua"))
    }

    /// Counts those who share the server: see `replicas.lua`.
    pub fn replicas() -> Self {
        Self::new(include_str!("replicas.lua"))
    }

    /// Begins a call of it.
    pub fn command(&self, how: How) -> Cmd {
        let (name, script) = match how {
            How::Hash => ("EVALSHA", self.hash.as_str()),
            How::Text => ("EVAL", self.text),
        };
        let mut command = redis::cmd(name);
        command.arg(script);
        command
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
    pub names: &'c Names,
    pub group: Group<'c>,
    pub keys: &'c [CounterKey],
    pub arguments: Arguments<'c>,
}

/// What a script is told beside its keys.
#[derive(Clone, Copy)]
pub(super) enum Arguments<'c> {
    /// Of `charge.lua`: see `ask`.
    AtLength(&'c [u8]),
    /// Of the same.
    Usual(&'c Usual),
    /// Of `reset.lua`; the time, None: the server's own.
    Reset(Option<Timestamp>),
    /// Of `give_back.lua`; likewise.
    GiveBack { time: Option<Timestamp>, taken: &'c [Taken] },
}

/// By what the server is told which script.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Hash,
    /// Makes it known, too.
    Text,
}

impl Call<'_> {
    pub fn command(&self, how: How) -> Cmd {
        let mut command = self.script.command(how);
        command.arg(self.keys.len());
        let mut name = self.names.begin(self.group);
        let prefix = name.len();
        for &counter in self.keys {
            name.truncate(prefix);
            key::write(counter, &mut name);
            command.arg(name.as_slice());
        }
        match self.arguments {
            Arguments::AtLength(ask) => {
                command.arg(ask);
            }
            Arguments::Usual(usual) => usual.write(&mut command),
            Arguments::Reset(time) => write_time(time, &mut command),
            Arguments::GiveBack { time, taken } => {
                write_time(time, &mut command);
                for Taken { hits, of, .. } in taken {
                    let [time, length, count] = match *of {
                        TakenOf::Window { end } => [end.0 / 1_000, 0, 0],
                        TakenOf::Bucket { at, length_us, count } => [at.0 / 1_000, length_us, count],
                    };
                    command.arg(*hits).arg(time).arg(length).arg(count);
                }
            }
        }
        command
    }
}

fn write_time(time: Option<Timestamp>, command: &mut Cmd) {
    match time {
        Some(time) => command.arg(time.0 / 1_000),
        None => command.arg(""),
    };
}
