//! Replicas that share their counters in real Redis servers, and what becomes of decisions when Redis fails.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../common/redis/mod.rs"]
#[allow(dead_code, reason = "more than one test's servers")]
mod servers;

mod fixtures;
