//! Which store, and how it is asked. An enum chooses: the charge is too hot for trait objects, and there will be few of
//! them.

use std::time::Duration;

use super::{guard, memory, redis};
use crate::{
    charge::{Charges, CounterKey, Verdicts},
    rules::{Domain, OnStoreError, Slots},
    units::Timestamp,
};

/// A store of counters.
#[derive(Debug)]
pub enum Store {
    /// In this process; needs nothing else.
    Memory(memory::Memory),
    /// In Redis, shared by all replicas.
    Redis(Box<guard::Guard>),
}

/// One request's charges, and what a store needs to know beside them.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a, 'p> {
    pub now: Timestamp,
    pub keyspace: Keyspace<'a>,
    pub charges: &'a Charges<'p>,
    /// What the rule of each descriptor does where the store is away; of those that are missing, the default.
    pub on_store_error: &'a [OnStoreError],
    /// The core this runs on, from 0; None: none of those that serve.
    pub core: Option<usize>,
    /// Whoever asks waits no longer than this.
    pub within: Option<Duration>,
}

/// Whose counters they are, and how a store that several servers make up shares them out among those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keyspace<'a> {
    /// The name of the domain.
    pub domain: &'a str,
    pub slots: Slots,
}

impl<'a> From<&'a Domain> for Keyspace<'a> {
    fn from(domain: &'a Domain) -> Self {
        Self { domain: &domain.name, slots: domain.slots }
    }
}

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    pub verdicts: Verdicts,
    /// The time they hold for, by the store's clock.
    pub now: Timestamp,
    pub source: Source,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Memory,
    Redis,
    /// Redis, within the last second: a refusal that was repeated.
    Cached,
    /// This process alone, while Redis is away.
    Local,
}

impl Source {
    /// What metadata calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Cached => "cached",
            Self::Local => "local",
        }
    }
}

impl Store {
    /// Decides all charges of one request in one atomic step. Where nothing is waited for, a request's life
    /// goes to the store's own `charge` instead: see `decide`.
    pub async fn charge(&self, asking: &Asking<'_, '_>) -> Charged {
        match self {
            Self::Memory(memory) => {
                let verdicts = memory.charge(asking.now, asking.charges);
                Charged { verdicts, now: asking.now, source: Source::Memory }
            }
            Self::Redis(guard) => guard.charge(asking).await,
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn reset(
        &self,
        now: Timestamp,
        keyspace: Keyspace<'_>,
        charges: &Charges<'_>,
    ) -> Result<memory::Emptied, redis::Away> {
        match self {
            Self::Memory(memory) => Ok(memory.reset(now, charges)),
            Self::Redis(guard) => guard.reset(now, keyspace, charges).await,
        }
    }

    /// Lifts a block; whether there was one.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done.
    pub async fn lift(&self, now: Timestamp, keyspace: Keyspace<'_>, key: CounterKey) -> Result<bool, redis::Away> {
        match self {
            Self::Memory(memory) => Ok(memory.lift(key, now)),
            Self::Redis(guard) => guard.lift(now, keyspace, key).await,
        }
    }

    /// What the replicas share beside counters; None where there is only this one.
    pub fn shared(&self) -> Option<&guard::Guard> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(guard) => Some(guard),
        }
    }

    /// The counters in this process: all of them, or those that count while the store beyond it is away.
    pub fn in_process(&self) -> &memory::Memory {
        match self {
            Self::Memory(memory) => memory,
            Self::Redis(guard) => guard.local(),
        }
    }

    /// Those that share a store beyond this process.
    pub fn replicas(&self) -> Option<&guard::replicas::Replicas> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(guard) => Some(guard.replicas()),
        }
    }

    /// Tells the metrics what nothing that happens tells them.
    pub fn tell(&self) {
        if let Self::Redis(guard) = self {
            guard.tell();
        }
    }

    /// Whether counters are found where they live; otherwise rules decide by their `on_store_error`.
    pub fn is_available(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(guard) => !guard.is_any_away(),
        }
    }

    /// What the log and `/v1/status` call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }
}
