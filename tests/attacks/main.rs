//! Attacks on a real service, by a client that writes HTTP/2 frame by frame: what the attacker gets, and that nobody else
//! notices. `docs/attacks.md` has them all in a table.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
mod floods;
#[allow(dead_code, reason = "a vocabulary: not every test says every word")]
mod frames;
mod handles;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
mod slow;
mod stage;
