//! Every metric, in one table: its name, its labels, what it counts.

use std::fmt::Write as _;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence, for `# HELP` and the documentation.
    pub help: &'static str,
}

impl Metric {
    /// Appends what stands before its series in Prometheus' text format.
    pub(super) fn head(&self, text: &mut String) {
        let Self { name, kind, help, .. } = self;
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name()).expect("a String can be written to");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A gauge that is always 1 and says something in its label.
    Info,
}

impl Kind {
    /// What Prometheus calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! table {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: $crate::telemetry::metrics::Metric = $crate::telemetry::metrics::Metric {
            name: $name,
            kind: $crate::telemetry::metrics::Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// The table.
        pub const ALL: &[&$crate::telemetry::metrics::Metric] = &[$(&$constant),*];
    };
}
pub(super) use table;

table! {
    DECISIONS = Counter "tallygate_decisions_total" ["domain", "rule", "limit", "outcome", "source"]
        "Descriptors decided; outcome is accepted, refused, would-be-refused (shadow), exempt or unmatched; source is store, cached (a refusal of the last second, repeated) or local (the store is away).";
    BLOCKS_STARTED = Counter "tallygate_blocks_started_total" ["domain", "rule"]
        "Refusals that started a block, by the rule that asks for it.";
    DECISION_SECONDS = Histogram "tallygate_decision_seconds" []
        "Time from a whole message received to its answer written, in seconds.";
    RELOADS = Counter "tallygate_config_reloads_total" ["result"]
        "Rule sets that were loaded (success), refused (failure), or wait to be confirmed (waiting).";
    LAST_RELOAD_SUCCESS = Gauge "tallygate_config_last_reload_success" []
        "1 if the rule files as they stand are live, 0 if they have errors or wait, and older rules serve.";
    CONFIG_WAITING = Gauge "tallygate_config_waiting" []
        "1 while a rule set that lost most of its rules waits for SIGHUP or `POST /v1/reload`, and older rules serve.";
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
        "Calls to the store beyond this process: ok, or why one failed (late, hurried, lost, denied, password, tls, no_master, unable, garbled, no_script, moving, too_many, busy).";
    STORE_ANSWERS = Counter "tallygate_store_answers_total" ["source"]
        "Requests by who decided them: store, cached (a refusal of the last second, repeated), local (the store is away).";
    STORE_CALL_SECONDS = Histogram "tallygate_store_call_seconds" []
        "Time of a call to the store beyond this process until it was answered or given up, in seconds.";
    STORE_CALLS_UNDER_WAY = Gauge "tallygate_store_calls_under_way" []
        "Requests that wait for the store beyond this process; 1,024 at most.";
    STORE_OUTAGES = Counter "tallygate_store_outages_total" []
        "How often the store beyond this process was found to be away.";
    STORE_AVAILABLE = Gauge "tallygate_store_available" []
        "1 while the store beyond this process is asked, 0 while a server of it is away and rules decide by `on_store_error`.";
    REPLICAS = Gauge "tallygate_replicas" []
        "Processes that a limit is shared by while the store beyond this process is away: `replicas`, or as many as were counted.";
    REPLICAS_COUNTED = Gauge "tallygate_replicas_counted" []
        "Processes that show signs of life in the store beyond this process; 0 until they were counted.";
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
    CONNECTIONS = Gauge "tallygate_connections" []
        "gRPC connections that are open.";
    CALLS_UNDER_WAY = Gauge "tallygate_calls_under_way" []
        "Calls that wait, for the rest of their message or for the store beyond this process.";
    EXPIRED_CALLS = Counter "tallygate_expired_calls_total" []
        "Calls that nobody waited for any more when their turn came (given up, or `grpc-timeout` over): neither decided nor charged.";
    LATE_ANSWERS = Counter "tallygate_late_answers_total" []
        "Decisions that came when nobody waited for them any more (`grpc-timeout` over, or given up meanwhile).";
    TLS_EXPIRY = Gauge "tallygate_tls_certificate_expiry_seconds" []
        "When the certificate that gRPC shows expires, or the first of its chain, in seconds since 1970; absent without TLS.";
    TLS_RELOADS = Counter "tallygate_tls_reloads_total" ["result"]
        "Files of TLS that changed and went live (success) or will not do (failure).";
    TLS_LAST_RELOAD_SUCCESS = Gauge "tallygate_tls_last_reload_success" []
        "1 if the files of TLS as they stand are live, 0 if they will not do, and what was live before serves.";
    TLS_HANDSHAKES_FAILED = Counter "tallygate_tls_handshakes_failed_total" ["reason"]
        "TLS handshakes that came to nothing: late, crowded, lost, not_tls, incompatible, no_certificate, untrusted, expired, name, refused, other.";
    PANICS = Counter "tallygate_panics_total" []
        "Panics: of decisions, each answered by policy, and of tasks of the house, which then end.";
    LOG_LINES_LOST = Counter "tallygate_log_lines_lost_total" []
        "Log lines that were dropped because whoever reads standard error fell behind.";
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
    ORDERS_SHARED = Gauge "tallygate_orders_shared" []
        "1 while what is ordered on one replica holds on all within a second, 0 while Redis does not answer; absent where there is none.";
    COMPAT_SERIES = Gauge "tallygate_compat_series" []
        "Series by the names of envoyproxy/ratelimit that show values of requests; 4,096 at most; absent without `compat_metrics`.";
    COMPAT_UNPLACED = Counter "tallygate_compat_unplaced_total" []
        "Descriptors counted in the series of their rule, without values, because no more series may show values; absent without `compat_metrics`.";
    SPANS = Counter "tallygate_spans_total" ["result"]
        "Decisions that were traced: exported, dropped (beyond 1,000 a second, or no place in the queue) or failed (the collector did not take them); absent without `trace_endpoint`.";
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
