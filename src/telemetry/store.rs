//! What the store beyond this process does, as metrics and log lines.

use std::{fmt, sync::Arc};

use metrics::{Counter, Gauge};
use tracing::{info, warn};

use super::{
    Telemetry,
    metrics::{STORE_ANSWERS, STORE_AVAILABLE, STORE_CALLS},
};
use crate::units::Nanos;

/// Cells made once: each decision counts in one or two of them.
#[derive(Debug)]
pub struct StoreEvents {
    telemetry: Arc<Telemetry>,
    calls_ok: Counter,
    by_store: Counter,
    cached: Counter,
    local: Counter,
    available: Gauge,
}

impl StoreEvents {
    pub fn new(telemetry: &Arc<Telemetry>) -> Self {
        let answers = |source| telemetry.counter(&STORE_ANSWERS, &[("source", source)]);
        let available = telemetry.gauge(&STORE_AVAILABLE, &[]);
        available.set(1.0);
        Self {
            calls_ok: telemetry.counter(&STORE_CALLS, &[("result", "ok")]),
            by_store: answers("store"),
            cached: answers("cached"),
            local: answers("local"),
            available,
            telemetry: Arc::clone(telemetry),
        }
    }

    /// The store decided.
    pub fn answered(&self) {
        self.calls_ok.increment(1);
        self.by_store.increment(1);
    }

    /// A refusal of the last second was repeated without a call.
    pub fn repeated(&self) {
        self.cached.increment(1);
    }

    /// A request was decided without the store.
    pub fn decided_alone(&self) {
        self.local.increment(1);
    }

    /// A call to the store failed, for a reason of one word.
    pub fn failed(&self, reason: &'static str) {
        self.telemetry.counter(&STORE_CALLS, &[("result", reason)]).increment(1);
    }

    /// No calls are made until a probe succeeds.
    pub fn went_away(&self, why: &dyn fmt::Display) {
        self.available.set(0.0);
        warn!(%why, "the store is away: rules decide by their `on_store_error` until it is back");
    }

    /// The store makes place for new counters by forgetting others, and with them who is over a limit.
    pub fn forgets(&self, policy: &str) {
        warn!(policy, "Redis forgets counters when it is full: `maxmemory-policy` should be `noeviction`");
    }

    /// The store answers again.
    pub fn came_back(&self, after: Nanos) {
        self.available.set(1.0);
        info!(?after, "the store is back");
    }
}
