//! Readiness as latches: what has to happen before we serve, and what ends it.

use tokio::sync::watch;

/// Whether this process should get traffic. Each latch turns once and never back.
#[derive(Debug)]
pub struct Health {
    latches: watch::Sender<Latches>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Latches {
    rules_loaded: bool,
    draining: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self { latches: watch::Sender::new(Latches::default()) }
    }
}

impl Health {
    /// The first rule set is live.
    pub fn rules_loaded(&self) {
        self.turn(|latches| &mut latches.rules_loaded);
    }

    /// We are on our way out: no new traffic, please.
    pub fn draining(&self) {
        self.turn(|latches| &mut latches.draining);
    }

    fn turn(&self, latch: impl Fn(&mut Latches) -> &mut bool) {
        self.latches.send_if_modified(|latches| !std::mem::replace(latch(latches), true));
    }

    /// Rules are loaded and we are not on our way out.
    pub fn ready(&self) -> bool {
        self.why_not_ready().is_none()
    }

    /// For the probe's answer and the log.
    pub fn why_not_ready(&self) -> Option<&'static str> {
        match *self.latches.borrow() {
            Latches { draining: true, .. } => Some("draining"),
            Latches { rules_loaded: false, .. } => Some("no rules were ever loaded"),
            Latches { .. } => None,
        }
    }

    /// Tells `ready` now and whenever a latch turns, until we are on our way out.
    pub async fn announce(&self, mut ready: impl AsyncFnMut(bool)) {
        let mut latches = self.latches.subscribe();
        loop {
            let now = *latches.borrow_and_update();
            ready(self.ready()).await;
            if now.draining || latches.changed().await.is_err() {
                return;
            }
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
