//! What we tell the world: metrics, and the log lines that go with them.
//!
//! [`metrics`] is the table of every metric; [`decisions`] counts what was decided and [`tally`] keeps the series about it,
//! [`latency`] how long it took;
//! [`events`] writes the log line and the counter of a thing that happened together, so that they cannot disagree.
//! [`unmatched`] and [`refused`] keep names of requests, bounded, which no metric does.
//! [`snapshot`] does so for the counters that are kept over a restart, [`store`] for a store beyond this process, [`tls`]
//! for certificates and handshakes, [`spans`] for those that are sent to a collector; [`process`] tells of the process,
//! [`refusals`] writes a line about refusals now and then, and [`log`] all lines, without making anybody wait.
//! Labels come from rule files, never from requests; but for those of [`compat`], which are asked for, and bounded.

mod cells;
pub mod compat;
pub mod decisions;
pub mod events;
pub mod frequent;
pub mod latency;
pub mod log;
pub mod metrics;
pub mod process;
mod rarely;
pub mod refusals;
pub mod refused;
pub mod snapshot;
pub mod spans;
pub mod store;
pub mod tally;
pub mod tls;
pub mod unmatched;

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use ::metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use parking_lot::{Mutex, MutexGuard};

use self::{
    compat::Compat,
    latency::Latency,
    log::Log,
    metrics::Metric,
    refused::Refused,
    tally::{Sums, Tally},
    unmatched::Unmatched,
};

/// All metrics of one process. Nothing here is global: a test has its own.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    latency: Latency,
    unmatched: Unmatched,
    refused: Refused,
    /// None unless asked for.
    compat: OnceLock<Compat>,
    /// None without a store beyond this process.
    store_latency: OnceLock<Latency>,
    tally: Mutex<Tally>,
    refusal_lines: refusals::Lines,
    log: Log,
    /// The hash of the live rules. Not in the recorder, which would keep a series for every hash there ever was.
    rules_hash: Mutex<Option<String>>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Metrics for a service of `cores` cores, every metric described.
    pub fn new(cores: usize) -> Arc<Self> {
        Self::with_log(cores, Log::default())
    }

    /// The same where lines are logged by `log`, to tell how many were lost.
    pub fn with_log(cores: usize, log: Log) -> Arc<Self> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let telemetry = Self {
            recorder,
            latency: Latency::of_decisions(cores),
            unmatched: Unmatched::new(cores),
            refused: Refused::new(cores),
            compat: OnceLock::new(),
            store_latency: OnceLock::new(),
            tally: Mutex::new(Tally::new()),
            refusal_lines: refusals::Lines::default(),
            log,
            rules_hash: Mutex::default(),
        };
        for metric in metrics::ALL {
            telemetry.describe(metric);
        }
        Arc::new(telemetry)
    }

    fn describe(&self, metric: &Metric) {
        let help = metric.help.into();
        match metric.kind {
            metrics::Kind::Counter => self.recorder.describe_counter(metric.name.into(), None, help),
            metrics::Kind::Gauge => self.recorder.describe_gauge(metric.name.into(), None, help),
            metrics::Kind::Histogram | metrics::Kind::Info => {}
        }
    }

    /// Speaks the names of envoyproxy/ratelimit, too, from now on. Hits are near a limit from this part of it on, from 0
    /// to 1.
    pub fn speak_compat(&self, near_limit_ratio: f32) {
        for metric in compat::metrics::ALL {
            self.describe(metric);
        }
        self.compat.get_or_init(|| Compat::new(self, near_limit_ratio));
    }

    /// What is counted by the names of envoyproxy/ratelimit, where they are spoken.
    #[inline]
    pub fn compat(&self) -> Option<&Compat> {
        self.compat.get()
    }

    /// How many cores decide.
    fn cores(&self) -> usize {
        self.latency.cores()
    }

    /// The cell of one series; the same labels always give the same cell.
    pub fn counter(&self, metric: &Metric, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    /// The cell of one series.
    pub fn gauge(&self, metric: &Metric, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(metric, labels), &METADATA)
    }

    /// What was decided since the start, as far as it was told: see [`Decisions::tell`](decisions::Decisions::tell).
    pub fn sums(&self) -> Sums {
        self.tally.lock().sums()
    }

    /// The series about decisions, to add to.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    /// How long decisions took.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// What no rule is about.
    pub fn unmatched(&self) -> &Unmatched {
        &self.unmatched
    }

    /// Who is refused most.
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// How long calls to the store took.
    fn store_latency(&self) -> &Latency {
        self.store_latency.get_or_init(|| Latency::of_store_calls(self.cores()))
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        if let Some(compat) = self.compat() {
            compat.tell(self);
        }
        self.counter(&metrics::LOG_LINES_LOST, &[]).absolute(self.log.lost());
        let mut text = self.recorder.handle().render();
        self.tally.lock().render(&mut text);
        [Some(&self.latency), self.store_latency.get(), self.compat().map(Compat::response_time)]
            .into_iter()
            .flatten()
            .for_each(|latency| latency.render(&mut text));
        process::render(&mut text);
        if let Some(hash) = &*self.rules_hash.lock() {
            metrics::CONFIG_INFO.head(&mut text);
            writeln!(text, "{}{{hash=\"{hash}\"}} 1", metrics::CONFIG_INFO.name).expect("a String can be written to");
        }
        text
    }
}

/// The exporter ignores levels and targets.
const METADATA: Metadata<'static> = Metadata::new("tallygate", Level::INFO, None);

fn key(metric: &Metric, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|&(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(metric.name, labels)
}
