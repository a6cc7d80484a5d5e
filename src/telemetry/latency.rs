//! How long decisions take: a histogram in cells of its own for each core.
//!
//! The exporter's histograms keep every sample until they are folded, at 17 bytes each: at 300,000 decisions a second
//! that is 5 MB a second. Here a sample is two additions to cells that no other core writes.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::metrics::DECISION_SECONDS;
use crate::units::Nanos;

/// Upper bounds of the buckets in microseconds: from a decision in cache to Envoy's default timeout of 20 ms and past it.
const BOUNDS_US: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 20_000, 100_000];

/// A histogram of decision times.
#[derive(Debug)]
pub struct Latency {
    cores: Box<[Cells]>,
}

/// One core's cells, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells {
    /// One a bound, and one for what lies above all.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Latency {
    pub(super) fn new(cores: usize) -> Self {
        Self { cores: (0..cores.max(1)).map(|_| Cells::default()).collect() }
    }

    /// How many cores have cells.
    pub(super) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// Counts one decision made on `core`.
    pub fn record(&self, core: usize, took: Nanos) {
        let cells = &self.cores[core % self.cores.len()];
        let bucket = BOUNDS_US.iter().position(|bound| took.0 <= bound * 1_000).unwrap_or(BOUNDS_US.len());
        cells.buckets[bucket].fetch_add(1, Relaxed);
        cells.sum_ns.fetch_add(took.0, Relaxed);
    }

    /// Appends the histogram in Prometheus' text format.
    pub(super) fn render(&self, text: &mut String) {
        let name = DECISION_SECONDS.name;
        let sum = |cell: &dyn Fn(&Cells) -> &AtomicU64| -> u64 {
            self.cores.iter().map(|cells| cell(cells).load(Relaxed)).fold(0, u64::wrapping_add)
        };
        let mut write = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a String can be written to");
        write(format_args!("# HELP {name} {}\n# TYPE {name} histogram\n", DECISION_SECONDS.help));
        let mut count = 0;
        for bucket in 0..=BOUNDS_US.len() {
            count += sum(&|cells| &cells.buckets[bucket]);
            match BOUNDS_US.get(bucket) {
                Some(&bound) => write(format_args!("{name}_bucket{{le=\"{}\"}} {count}\n", bound as f64 / 1e6)),
                None => write(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}\n")),
            }
        }
        let seconds = sum(&|cells| &cells.sum_ns) as f64 / 1e9;
        write(format_args!("{name}_sum {seconds}\n{name}_count {count}\n\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_all_cores_add_up() {
        let latency = Latency::new(2);
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
