//! What every process tells Prometheus of itself, by the names that every dashboard knows.

#[cfg(target_os = "linux")]
use std::fmt::Write as _;

#[cfg(target_os = "linux")]
use metrics_process::collector::{Metrics, collect};

use super::metrics::table;

table! {
    CPU_SECONDS = Counter "process_cpu_seconds_total" []
        "Time that this process had of processors, in seconds.";
    RESIDENT_BYTES = Gauge "process_resident_memory_bytes" []
        "Memory of this process that is in the machine's, in bytes.";
    OPEN_FDS = Gauge "process_open_fds" []
        "Handles that are open: files, sockets.";
    MAX_FDS = Gauge "process_max_fds" []
        "Handles that may be open.";
    START_TIME = Gauge "process_start_time_seconds" []
        "When this process started, in seconds since 1970.";
}

/// Linux alone tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn render(_: &mut String) {}

/// Appends them in Prometheus' text format; what the system does not tell is left out.
#[cfg(target_os = "linux")]
pub(super) fn render(text: &mut String) {
    let Metrics { cpu_seconds_total, resident_memory_bytes, open_fds, max_fds, start_time_seconds, .. } = collect();
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (metric, value) in [
        (&CPU_SECONDS, cpu_seconds_total),
        (&RESIDENT_BYTES, whole(resident_memory_bytes)),
        (&OPEN_FDS, whole(open_fds)),
        (&MAX_FDS, whole(max_fds)),
        (&START_TIME, whole(start_time_seconds)),
    ] {
        let Some(value) = value else { continue };
        metric.head(text);
        write!(text, "{} {value}\n\n", metric.name).expect("a String can be written to");
    }
}
