//! From verdicts to a decision.

/// TODO
pub fn decide() {}
