//! Where counters live. An enum chooses: the charge is too hot for trait objects, and there will be few of them.

pub mod memory;
#[cfg(feature = "serve")]
pub mod redis;

use crate::{
    charge::{Charges, CounterKey, Verdicts},
    units::Timestamp,
};

/// A store of counters.
#[derive(Debug)]
pub enum Store {
    /// In this process; needs nothing else.
    Memory(memory::Memory),
}

impl Store {
    /// Decides all charges of one request in one atomic step. Where nothing is waited for, a request's life
    /// goes to the store's own `charge` instead: see `grpc::service`.
    #[expect(clippy::unused_async, reason = "stores beyond this process will wait for the network")]
    pub async fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        match self {
            Self::Memory(memory) => memory.charge(now, charges),
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way.
    #[expect(clippy::unused_async, reason = "stores beyond this process will wait for the network")]
    pub async fn reset(&self, now: Timestamp, charges: &Charges<'_>) -> memory::Emptied {
        match self {
            Self::Memory(memory) => memory.reset(now, charges),
        }
    }

    /// Lifts a block; whether there was one.
    #[expect(clippy::unused_async, reason = "stores beyond this process will wait for the network")]
    pub async fn lift(&self, now: Timestamp, key: CounterKey) -> bool {
        match self {
            Self::Memory(memory) => memory.lift(key, now),
        }
    }

    /// What metadata and `/v1/status` call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
        }
    }
}
