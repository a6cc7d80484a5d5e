//! Holds what is in `deploy/` against the program, against each other, and against the tools of those who read it: Envoy
//! and systemd. What needs more than a fresh machine has (Helm, the schemas of Kubernetes) is `make deploy-check`.

#![cfg(feature = "serve")]

mod chart;
#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
mod dependencies;
mod envoys;
mod files;
mod image;
mod kubernetes;
#[path = "../envoy/process.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod process;
mod systemd;
