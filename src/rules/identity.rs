//! The names of counters: an injective encoding of a descriptor as its rule counts it, hashed with a secret key.

/// The secret that counters' names are hashed with: clients who could predict hashes could aim at each other.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u8; 16]);

/// What tells the counters of one descriptor apart: see [`RuleLimit::salt`](super::RuleLimit::salt).
pub fn window_salt(limit: &crate::limit::Limit, shadow: bool) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = siphasher::sip::SipHasher13::new();
    (limit.window.identity(), limit.algorithm, shadow).hash(&mut hasher);
    hasher.finish()
}
