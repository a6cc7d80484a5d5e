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

    /// Somebody wants calls even while there are no rules to decide them by.
    pub fn needs_no_rules(&self) {
        self.rules_loaded();
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
        self.latches.borrow().why_not_ready()
    }

    /// Readiness as it changes from now on.
    pub fn watch(&self) -> Readiness {
        let mut latches = self.latches.subscribe();
        latches.mark_changed();
        Readiness { latches }
    }
}

impl Latches {
    fn why_not_ready(self) -> Option<&'static str> {
        match self {
            Self { draining: true, .. } => Some("draining"),
            Self { rules_loaded: false, .. } => Some("no rules were ever loaded"),
            Self { .. } => None,
        }
    }
}

/// Readiness, for who must pass it on.
#[derive(Debug)]
pub struct Readiness {
    latches: watch::Receiver<Latches>,
}

impl Readiness {
    /// Whether we are ready: at once when first asked, then whenever a latch turns; None when nothing will change any
    /// more.
    pub async fn next(&mut self) -> Option<bool> {
        self.latches.changed().await.ok()?;
        Some(self.latches.borrow_and_update().why_not_ready().is_none())
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

    #[tokio::test]
    async fn who_watches_is_told_at_once_and_at_every_change() {
        let health = Health::default();
        let mut readiness = health.watch();
        assert_eq!(readiness.next().await, Some(false));
        health.rules_loaded();
        assert_eq!(readiness.next().await, Some(true));
        health.rules_loaded();
        health.draining();
        assert_eq!(readiness.next().await, Some(false));
        drop(health);
        assert_eq!(readiness.next().await, None);
    }
}
