//! What the store beyond this process does, as metrics and log lines.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use metrics::{Counter, Gauge};
use tracing::{info, warn};

use super::{
    Telemetry,
    metrics::{
        REPLICAS, REPLICAS_COUNTED, STORE_ANSWERS, STORE_AVAILABLE, STORE_CALLS, STORE_CALLS_UNDER_WAY, STORE_OUTAGES,
    },
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
    calls_under_way: Gauge,
    available: Gauge,
    outages: Counter,
    replicas: Gauge,
    replicas_counted: Gauge,
    /// That they may not be counted was told.
    told_uncounted: AtomicBool,
}

impl StoreEvents {
    /// `replicas` are those that limits are shared by at first.
    pub fn new(telemetry: &Arc<Telemetry>, replicas: u32) -> Self {
        let answers = |source| telemetry.counter(&STORE_ANSWERS, &[("source", source)]);
        let available = telemetry.gauge(&STORE_AVAILABLE, &[]);
        available.set(1.0);
        // So that its series are there before the first call.
        telemetry.store_latency();
        let sharing = telemetry.gauge(&REPLICAS, &[]);
        sharing.set(replicas);
        Self {
            calls_ok: telemetry.counter(&STORE_CALLS, &[("result", "ok")]),
            by_store: answers("store"),
            cached: answers("cached"),
            local: answers("local"),
            calls_under_way: telemetry.gauge(&STORE_CALLS_UNDER_WAY, &[]),
            available,
            outages: telemetry.counter(&STORE_OUTAGES, &[]),
            replicas: sharing,
            replicas_counted: telemetry.gauge(&REPLICAS_COUNTED, &[]),
            told_uncounted: AtomicBool::new(false),
            telemetry: Arc::clone(telemetry),
        }
    }

    /// A call that was made on `core` took so long, until it was answered or given up.
    pub fn called(&self, core: Option<usize>, took: Nanos) {
        // Those of no core that decides are few.
        self.telemetry.store_latency().record(core.unwrap_or(0), took);
    }

    /// So many calls are under way.
    pub fn under_way(&self, calls: usize) {
        self.calls_under_way.set(calls as f64);
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

    /// No calls are made to `server` until a probe succeeds.
    pub fn went_away(&self, server: &str, why: &dyn fmt::Display) {
        self.available.set(0.0);
        self.outages.increment(1);
        warn!(server, %why, "the store is away: rules decide by their `on_store_error` until it is back");
    }

    /// `server` makes place for new counters by forgetting others, and with them who is over a limit.
    pub fn forgets(&self, server: &str, policy: &str) {
        warn!(server, policy, "Redis forgets counters when it is full: `maxmemory-policy` should be `noeviction`");
    }

    /// Replicas were counted: so many are there, and by so many a limit is shared.
    pub fn counted_replicas(&self, sharing: u32, counted: u32) {
        self.replicas.set(sharing);
        self.replicas_counted.set(counted);
        self.told_uncounted.store(false, Relaxed);
    }

    /// The store does not let us count replicas, and may let us charge all the same.
    pub fn may_not_count_replicas(&self, why: &dyn fmt::Display) {
        if !self.told_uncounted.swap(true, Relaxed) {
            warn!(%why, "replicas cannot be counted: see the ACL user in docs/redis.md, or set `replicas`");
        }
    }

    /// `server` answers again.
    pub fn came_back(&self, server: &str, after: Nanos) {
        info!(server, ?after, "the store is back");
    }

    /// What `server` had is with others now.
    pub fn replaced(&self, server: &str, after: Nanos) {
        info!(server, ?after, "the store is back: other servers have what was there");
    }

    /// Whether every server is asked.
    pub fn all_available(&self, all: bool) {
        self.available.set(if all { 1.0 } else { 0.0 });
    }
}
