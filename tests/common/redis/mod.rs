//! Real Redis servers for tests: one alone, a master and its replica under sentinels, a cluster; and a proxy that
//! makes the way to one of them bad.
//!
//! Everything listens on loopback, keeps its files in a directory of its own, and ends with the test, also with one that
//! fails.

#![allow(unused_imports, reason = "each of those who share it takes what it needs")]

#[path = "../certificates.rs"]
#[allow(clippy::duplicate_mod, reason = "shared with the tests of TLS")]
mod certificates;
mod cluster;
mod ports;
#[path = "../../envoy/process.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "shared with the tests behind Envoy, some of which have both")]
mod process;
mod proxy;
mod second_run;
mod sentinels;
mod server;
#[path = "../standstill.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "shared with the tests behind Envoy")]
mod standstill;
mod tls;

pub use certificates::{Authority, Certificate};
pub use cluster::Cluster;
pub use ports::free_port;
pub use process::{eventually, within};
pub use proxy::{Direction, Proxy, Weather};
pub use second_run::{over_redis, run_again_over_redis};
pub use sentinels::Sentinels;
pub use server::RedisServer;
pub use standstill::again_if_the_machine_stood_still;
pub use tls::TlsServer;
