//! Every metric, in one table: its name, its labels, what it counts.

/// One metric.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence, for `# HELP` and the documentation.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A gauge that is always 1 and says something in its label.
    Info,
}

macro_rules! table {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// The table.
        pub const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

table! {
    DECISIONS = Counter "tallygate_decisions_total" ["domain", "rule", "limit", "outcome"]
        "Descriptors decided; outcome is accepted, refused, would-be-refused (shadow), exempt or unmatched.";
    BLOCKS_STARTED = Counter "tallygate_blocks_started_total" ["domain", "rule"]
        "Refusals that started a block, by the rule that asks for it.";
    DECISION_SECONDS = Histogram "tallygate_decision_seconds" []
        "Time from a whole message received to its answer written, in seconds.";
    RELOADS = Counter "tallygate_config_reloads_total" ["result"]
        "Rule sets that were loaded (success) or refused (failure).";
    LAST_RELOAD_SUCCESS = Gauge "tallygate_config_last_reload_success" []
        "1 if the rule files as they stand are live, 0 if they have errors and older rules serve.";
    CONFIG_INFO = Info "tallygate_config_info" ["hash"]
        "The hash of the rule set that is live: equal on replicas that decide alike.";
    CONFIG_GENERATION = Gauge "tallygate_config_generation" []
        "How many rule sets have gone live since the start.";
    RULES = Gauge "tallygate_rules" []
        "Rules of all domains that are live.";
    COUNTERS = Gauge "tallygate_counters" []
        "Counters in memory, expired ones that are not swept yet included.";
    COUNTERS_MAX = Gauge "tallygate_counters_max" []
        "Counters that there is place for in memory (max_counters).";
    COUNTERS_BYTES = Gauge "tallygate_counters_bytes" []
        "Memory that counters take, sketches included, in bytes.";
    COUNTERS_EVICTED = Counter "tallygate_counters_evicted_total" []
        "Counters that made place for others before they expired.";
    COUNTERS_UNPLACED = Counter "tallygate_counters_unplaced_total" []
        "Charges that found no place in a sketch either and were forgotten.";
    COUNTERS_SKETCHED = Counter "tallygate_counters_sketched_total" []
        "Charges counted in a sketch of their limit because every counter near was refused.";
    SKETCHES = Gauge "tallygate_sketches" []
        "Limits whose counters without a place are counted in a sketch now.";
    STORE_CALLS = Counter "tallygate_store_calls_total" ["result"]
        "Calls to the store beyond this process: ok, or why one failed (late, lost, denied, password, unable, garbled, no_script, too_many, busy).";
    STORE_ANSWERS = Counter "tallygate_store_answers_total" ["source"]
        "Requests by who decided them: store, cached (a refusal of the last second, repeated), local (the store is away).";
    STORE_AVAILABLE = Gauge "tallygate_store_available" []
        "1 while the store beyond this process is asked, 0 while it is away and rules decide by `on_store_error`.";
    SNAPSHOT_SEGMENTS = Counter "tallygate_snapshot_segments_total" ["result"]
        "Segments of the snapshot that were written (success) or could not be (failure); none where nothing changed.";
    SNAPSHOT_BYTES = Counter "tallygate_snapshot_written_bytes_total" []
        "Bytes of the snapshot written.";
    SNAPSHOT_TIME = Gauge "tallygate_snapshot_last_success_timestamp_seconds" []
        "When the snapshot was last found to be up to date, in seconds since 1970; 0 where counters are not kept.";
    SNAPSHOT_WALK_SECONDS = Gauge "tallygate_snapshot_walk_seconds" []
        "How long the last walk for the snapshot took, its write to the disk included: a kill forgets so much and a second.";
    SNAPSHOT_DAMAGED = Counter "tallygate_snapshot_damaged_total" []
        "Files of the snapshot that were damaged or foreign, and set aside.";
    SNAPSHOT_RESTORED = Gauge "tallygate_snapshot_restored_counters" []
        "Counters that were read back at the start, those that had expired included.";
    CONNECTIONS_ACCEPTED = Counter "tallygate_connections_accepted_total" []
        "gRPC connections accepted.";
    CONNECTIONS_REFUSED = Counter "tallygate_connections_refused_total" ["reason"]
        "gRPC connections closed at once: limit (too many), error (the system refused).";
    PANICS = Counter "tallygate_panics_total" []
        "Panics while deciding; each was answered by policy.";
    OVERSIZED = Counter "tallygate_oversized_messages_total" []
        "Messages above the largest size, answered OVER_LIMIT.";
    MALFORMED = Counter "tallygate_malformed_messages_total" []
        "Messages that are no rate-limit request: no Envoy sends these.";
    IGNORED_REQUEST_LIMITS = Counter "tallygate_request_limits_ignored_total" []
        "Limits that came with a request and mean nothing (no unit, an unknown unit, longer than ten years).";
    ADMIN_WRITES = Counter "tallygate_admin_writes_total" ["action", "result"]
        "Changes asked of the admin API; result is done, or the code of the error.";
    ORDERS = Gauge "tallygate_orders" ["kind"]
        "What people ordered and still holds (override, block, reset), and the blocks that refusals started, as far as listed (started).";
    BUILD_INFO = Gauge "tallygate_build_info" ["version"]
        "1 for the version that runs.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_conventions() {
        for metric in ALL {
            assert!(metric.name.starts_with("tallygate_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert_eq!(ALL.iter().filter(|other| other.name == metric.name).count(), 1, "{}", metric.name);
        }
    }
}
