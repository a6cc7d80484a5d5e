//! How long decisions and calls to the store take: histograms in cells of their own for each core.
//!
//! The exporter's histograms keep every sample until they are folded, at 17 bytes each: at 300,000 decisions a second
//! that is 5 MB a second. Here a sample is two additions to cells that no other core writes.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    compat::metrics::RESPONSE_TIME,
    metrics::{DECISION_SECONDS, Metric, STORE_CALL_SECONDS},
};
use crate::units::Nanos;

/// So many, with what lies above them and the sum, fill two cache lines, which processors fetch together.
const BOUNDS: usize = 14;
/// Upper bounds of the buckets in microseconds.
type BoundsUs = [u64; BOUNDS];
/// From a decision in cache to Envoy's default timeout of 20 ms and past it.
const DECISIONS_US: BoundsUs = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 20_000, 100_000];
/// From a Redis on the same machine to the default deadline of 10 ms, finely, as it is there that calls begin to fail; calls
/// given up at that deadline lie in the next bucket. Then Envoy's 20 ms, and the longest deadline there is.
const STORE_CALLS_US: BoundsUs =
    [100, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 7_500, 10_000, 20_000, 100_000, 1_000_000];
/// Those that envoyproxy/ratelimit has, which other people's queries name; and three below its first, where calls end.
const COMPAT_CALLS_US: BoundsUs = [
    100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram of how long something takes.
#[derive(Debug)]
pub struct Latency {
    metric: &'static Metric,
    /// As Prometheus' text format has them, without braces.
    labels: &'static str,
    bounds_us: &'static BoundsUs,
    cores: Box<[Cells]>,
}

/// One core's cells, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells {
    /// One a bound, and one for what lies above all.
    buckets: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl Latency {
    /// Of decisions.
    pub(super) fn of_decisions(cores: usize) -> Self {
        Self::new(&DECISION_SECONDS, "", &DECISIONS_US, cores)
    }

    /// Of calls to a store beyond this process.
    pub(super) fn of_store_calls(cores: usize) -> Self {
        Self::new(&STORE_CALL_SECONDS, "", &STORE_CALLS_US, cores)
    }

    /// Of calls, by the name that envoyproxy/ratelimit has for it.
    pub(super) fn of_compat_calls(cores: usize) -> Self {
        Self::new(&RESPONSE_TIME, "grpc_method=\"ShouldRateLimit\"", &COMPAT_CALLS_US, cores)
    }

    fn new(metric: &'static Metric, labels: &'static str, bounds_us: &'static BoundsUs, cores: usize) -> Self {
        Self { metric, labels, bounds_us, cores: (0..cores.max(1)).map(|_| Cells::default()).collect() }
    }

    /// How many cores have cells.
    pub(super) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Counts one that was made on `core`.
    pub fn record(&self, core: usize, took: Nanos) {
        let cells = &self.cores[core % self.cores.len()];
        let bucket = self.bounds_us.iter().position(|bound| took.0 <= bound * 1_000).unwrap_or(BOUNDS);
        cells.buckets[bucket].fetch_add(1, Relaxed);
        cells.sum_ns.fetch_add(took.0, Relaxed);
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.counts().map(|(_, count)| count).sum()
    }

    /// How many took up to each bound, in microseconds, and how many longer than all (None).
    pub fn counts(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        (0..=BOUNDS).map(|bucket| {
            let count = self.cores.iter().map(|cells| cells.buckets[bucket].load(Relaxed)).sum();
            (self.bounds_us.get(bucket).copied(), count)
        })
    }

    /// Appends the histogram in Prometheus' text format.
    pub(super) fn render(&self, text: &mut String) {
        let (name, labels) = (self.metric.name, self.labels);
        let (among, alone) = if labels.is_empty() {
            (String::new(), String::new())
        } else {
            (format!("{labels},"), format!("{{{labels}}}"))
        };
        self.metric.head(text);
        let mut write = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a String can be written to");
        let mut count = 0;
        for (bound_us, took) in self.counts() {
            count += took;
            match bound_us {
                Some(bound) => write(format_args!("{name}_bucket{{{among}le=\"{}\"}} {count}\n", bound as f64 / 1e6)),
                None => write(format_args!("{name}_bucket{{{among}le=\"+Inf\"}} {count}\n")),
            }
        }
        let sum_ns = self.cores.iter().map(|cells| cells.sum_ns.load(Relaxed)).fold(0, u64::wrapping_add);
        let seconds = sum_ns as f64 / 1e9;
        write(format_args!("{name}_sum{alone} {seconds}\n{name}_count{alone} {count}\n\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_cores_add_up() {
        let latency = Latency::of_decisions(2);
        for (core, micros) in [(0, 1), (1, 3), (0, 20_000), (1, 200_000)] {
            latency.record(core, Nanos(micros * 1_000));
        }
        let mut text = String::new();
        latency.render(&mut text);
        for line in [
            "tallygate_decision_seconds_bucket{le=\"0.000001\"} 1\n",
            "tallygate_decision_seconds_bucket{le=\"0.000005\"} 2\n",
            "tallygate_decision_seconds_bucket{le=\"0.02\"} 3\n",
            "tallygate_decision_seconds_bucket{le=\"+Inf\"} 4\n",
            "tallygate_decision_seconds_sum 0.220004\n",
            "tallygate_decision_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
