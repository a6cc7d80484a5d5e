//! From matches to charges.

/// TODO
pub fn plan() {}
