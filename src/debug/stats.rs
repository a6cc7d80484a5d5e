//! `/stats`: what runs here, `name: value` a line. The counters that grow are `/metrics`.

use std::{fmt::Write as _, fs};

use super::Debug;

/// The page.
pub(super) fn text(debug: &Debug) -> String {
    let Debug { decider, health, started, .. } = debug;
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name}: {value}").expect("a String can be written to");
    };
    line("version", &env!("CARGO_PKG_VERSION"));
    line("uptime_seconds", &(started.elapsed().0 / 1_000_000_000));
    line("ready", &health.why_not_ready().map_or("yes".to_owned(), |why| format!("no: {why}")));
    if let Some(bytes) = resident_bytes() {
        line("resident_bytes", &bytes);
    }
    if let Some(generation) = decider.live.snapshot().as_deref() {
        let (rules, limits) = generation.rules.given();
        line("generation", &generation.number);
        line("hash", &generation.hash);
        line("domains", &generation.rules.domains.len());
        line("rules", &rules);
        line("limits", &limits);
    }
    let fill = decider.store.in_process().fill();
    line("store", &decider.store.name());
    line("counters", &fill.counters);
    line("counters_max", &fill.max_counters);
    line("counters_bytes", &fill.bytes);
    line("counters_evicted", &fill.evicted);
    text
}

/// What this process has in memory, as Linux tells it.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    kib.parse::<u64>().ok().map(|kib| kib << 10)
}
