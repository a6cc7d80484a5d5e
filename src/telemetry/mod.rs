//! What we tell the world: metrics, and the log lines that go with them.
//!
//! [`metrics`] is the table of every metric; [`decisions`] counts what was decided, [`latency`] how long it took;
//! [`events`] writes the log line and the counter of a thing that happened together, so that they cannot disagree.
//! [`snapshot`] does so for the counters that are kept over a restart, [`store`] for a store beyond this process.
//! Labels come from rule files, never from requests.

mod cells;
pub mod decisions;
pub mod events;
pub mod latency;
pub mod metrics;
pub mod snapshot;
pub mod store;

use std::{fmt::Write as _, sync::Arc};

use ::metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use parking_lot::Mutex;

use self::{latency::Latency, metrics::Metric};

/// All metrics of one process. Nothing here is global: a test has its own.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    latency: Latency,
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
        let recorder = PrometheusBuilder::new().build_recorder();
        let telemetry = Self { recorder, latency: Latency::new(cores), rules_hash: Mutex::default() };
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

    /// How long decisions took.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = self.recorder.handle().render();
        self.latency.render(&mut text);
        if let Some(hash) = &*self.rules_hash.lock() {
            let Metric { name, help, .. } = metrics::CONFIG_INFO;
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{hash=\"{hash}\"}} 1")
                .expect("a String can be written to");
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
