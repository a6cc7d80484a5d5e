//! In the place of envoyproxy/ratelimit: its answers to the letter, its files, its environment, and every deliberate
//! difference that `docs/migrating.md` lists.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

mod book;
mod differences;
mod files;
mod here;
mod letter;
mod manual;
mod swap;
