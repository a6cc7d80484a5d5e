//! What becomes of spans, as metrics and log lines.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ::metrics::Counter;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Telemetry, metrics::SPANS, rarely::Rarely};
use crate::bounds::TRACE_FAILURES_TOLD_APART;

/// The cells of spans, and the log lines that go with them.
#[derive(Debug)]
pub struct SpanEvents {
    exported: Counter,
    dropped: Counter,
    failed: Counter,
    told: Mutex<Rarely>,
    /// It was told that the collector takes nothing, and not that it does again.
    fails: AtomicBool,
}

impl SpanEvents {
    pub fn new(telemetry: &Telemetry) -> Self {
        let cell = |result| telemetry.counter(&SPANS, &[("result", result)]);
        let [exported, dropped, failed] = ["exported", "dropped", "failed"].map(cell);
        Self { exported, dropped, failed, told: Mutex::default(), fails: AtomicBool::new(false) }
    }

    /// So many decisions were told, but for the spans that the collector did not want.
    pub fn exported(&self, decisions: usize, unwanted: u64) {
        let unwanted = unwanted.min(decisions as u64);
        self.exported.increment(decisions as u64 - unwanted);
        self.failed.increment(unwanted);
        if self.fails.swap(false, Relaxed) {
            info!("spans are exported again");
        }
    }

    /// So many found no place.
    pub fn dropped(&self, decisions: u64) {
        self.dropped.increment(decisions);
    }

    /// So many were tried to be sent, and are given up.
    pub fn failed(&self, decisions: usize) {
        self.failed.increment(decisions as u64);
    }

    /// A try failed; said in the log once in a while.
    pub fn cannot_export(&self, why: &str) {
        if self.told.lock().untold_at(Instant::now(), TRACE_FAILURES_TOLD_APART).is_some() {
            self.fails.store(true, Relaxed);
            // Some of it a collector may have said.
            let why = why.escape_debug().to_string();
            warn!(why, "spans cannot be exported; decisions go on");
        }
    }

    /// So many were not sent when the process ended.
    pub fn left_behind(&self, decisions: usize) {
        self.failed(decisions);
        warn!(decisions, "spans could not be exported in time, and are gone");
    }
}
