//! Real Redis servers for tests: one alone, a master and its replica under sentinels, a cluster; and a proxy that
//! makes the way to one of them bad.
//!
//! Everything listens on loopback, keeps its files in a directory of its own, and ends with the test, also with one that
//! fails.

#![allow(unused_imports, reason = "each of those who share it takes what it needs")]

mod cluster;
mod ports;
#[path = "../../envoy/process.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod process;
mod proxy;
mod sentinels;
mod server;

pub use cluster::Cluster;
pub use ports::free_port;
pub use process::{eventually, within};
pub use proxy::{Direction, Proxy, Weather};
pub use sentinels::Sentinels;
pub use server::RedisServer;
