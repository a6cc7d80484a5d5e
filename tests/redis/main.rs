//! Replicas that share their counters in real Redis servers, and what becomes of decisions when Redis fails.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod acl;
#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
mod cluster;
mod counted;
#[path = "../service/drive.rs"]
mod drive;
mod exchanges;
mod faults;
mod fixtures;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
mod load;
mod orders;
mod replicas;
mod sentinels;
mod spread;
mod strange_keys;
mod timeouts;
mod tls;

use harness::servers;
