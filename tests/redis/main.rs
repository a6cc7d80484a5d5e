//! Replicas that share their counters in real Redis servers, and what becomes of decisions when Redis fails.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "../service/drive.rs"]
mod drive;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
#[path = "../common/redis/mod.rs"]
#[allow(dead_code, reason = "more than one test's servers")]
mod servers;

mod acl;
mod faults;
mod fixtures;
mod load;
mod replicas;
mod strange_keys;
