//! What happens to the counters that are kept over a restart.

use std::{fmt::Display, io};

use ::metrics::{Counter, Gauge};
use tracing::{info, warn};

use super::{Telemetry, metrics};
use crate::units::{Nanos, Timestamp};

/// Files of which one restore tells in the log; the rest is counted.
const TOLD_DAMAGED: usize = 4;

/// The cells of the snapshot, and the log lines that go with them.
#[derive(Debug)]
pub struct SnapshotEvents {
    written: Counter,
    failed: Counter,
    bytes: Counter,
    time: Gauge,
    walk_seconds: Gauge,
    damaged: Counter,
    restored: Gauge,
}

impl SnapshotEvents {
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            written: telemetry.counter(&metrics::SNAPSHOT_SEGMENTS, &[("result", "success")]),
            failed: telemetry.counter(&metrics::SNAPSHOT_SEGMENTS, &[("result", "failure")]),
            bytes: telemetry.counter(&metrics::SNAPSHOT_BYTES, &[]),
            time: telemetry.gauge(&metrics::SNAPSHOT_TIME, &[]),
            walk_seconds: telemetry.gauge(&metrics::SNAPSHOT_WALK_SECONDS, &[]),
            damaged: telemetry.counter(&metrics::SNAPSHOT_DAMAGED, &[]),
            restored: telemetry.gauge(&metrics::SNAPSHOT_RESTORED, &[]),
        }
    }

    /// Counters were read back. `behind` is how far the clock lies behind the snapshot.
    pub fn restored(&self, counters: u64, segments: usize, took: Nanos, behind: Nanos) {
        self.restored.set(counters as f64);
        if segments > 0 {
            info!(counters, segments, ?took, "counters of before are back");
        }
        if behind > Nanos::ZERO {
            warn!(?behind, "the clock is behind the kept counters; windows that end far in the future start afresh");
        }
    }

    /// Files were set aside, each for its reason.
    pub fn damaged<N: Display, R: Display>(&self, files: &[(N, R)]) {
        self.damaged.increment(files.len() as u64);
        for (file, reason) in files.iter().take(TOLD_DAMAGED) {
            warn!(%file, %reason, "a part of the snapshot cannot be used and was set aside");
        }
        if files.len() > TOLD_DAMAGED {
            warn!(files = files.len(), "so many parts of the snapshot in all");
        }
    }

    /// The key that counters are named with was damaged.
    pub fn key_damaged(&self) {
        self.damaged.increment(1);
        warn!("the hash key of the kept counters is damaged and was set aside: counters start afresh");
    }

    /// The snapshot is as the counters were at `now`, and the walk for it `took` so long; a segment of so many bytes was
    /// written for it, if any.
    pub fn up_to_date(&self, now: Timestamp, took: Nanos, bytes: Option<u64>) {
        // To the fraction: what was charged since would be forgotten, so not a moment later may be claimed.
        self.time.set(seconds(now.0));
        self.walk_seconds.set(seconds(took.0));
        if let Some(bytes) = bytes {
            self.bytes.increment(bytes);
            self.written.increment(1);
        }
    }

    /// A segment could not be written; said in the log where `told`.
    pub fn failed(&self, error: &io::Error, told: bool) {
        self.failed.increment(1);
        if told {
            warn!(%error, "counters cannot be kept at the moment; what was kept before stays, and decisions go on");
        }
    }

    /// After failures, a segment was written.
    pub fn mended(&self) {
        info!("counters are kept again");
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / Nanos::SECOND.0 as f64
}
