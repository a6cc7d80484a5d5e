//! The names of counters: an injective encoding of a descriptor as its rule counts it, hashed with a secret key.

/// The secret that counters' names are hashed with: clients who could predict hashes could aim at each other.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u8; 16]);

/// What tells the counters of one descriptor apart: see [`RuleLimit::salt`](super::RuleLimit::salt).
pub fn window_salt(limit: &crate::limit::Limit, shadow: bool) -> u64 {
    let _ = (limit, shadow);
    todo!("window_salt")
}
pub fn counter_name(descriptor: u128, salt: u64) -> u128 {
    let _ = (descriptor, salt);
    todo!()
}
