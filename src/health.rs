//! Readiness as latches: what has to happen before we serve, and what ends it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process should get traffic. Each latch turns once and never back.
#[derive(Debug, Default)]
pub struct Health {
    rules_loaded: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// The first rule set is live.
    pub fn rules_loaded(&self) {
        self.rules_loaded.store(true, Ordering::Release);
    }

    /// We are on our way out: no new traffic, please.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Rules are loaded and we are not on our way out.
    pub fn ready(&self) -> bool {
        self.why_not_ready().is_none()
    }

    /// For the probe's answer and the log.
    pub fn why_not_ready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            Some("draining")
        } else if !self.rules_loaded.load(Ordering::Acquire) {
            Some("no rules were ever loaded")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_after_the_first_rules_and_before_the_drain() {
        let health = Health::default();
        assert_eq!(health.why_not_ready(), Some("no rules were ever loaded"));
        health.rules_loaded();
        assert!(health.ready());
        health.draining();
        assert_eq!(health.why_not_ready(), Some("draining"));
    }
}
