//! Where counters live: in this process, or in Redis for all replicas together.

#[cfg(feature = "serve")]
pub mod breaker;
#[cfg(feature = "serve")]
mod choice;
#[cfg(feature = "serve")]
pub mod guard;
pub mod memory;
#[cfg(feature = "serve")]
pub mod redis;

#[cfg(feature = "serve")]
pub use choice::{Asking, Charged, Keyspace, Source, Store};
