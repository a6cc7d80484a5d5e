//! Things that happen: each writes its log line and its counter together.

use ::metrics::Counter;
use tracing::{error, info, warn};

use super::{Telemetry, metrics};

/// A set of rules went live.
#[derive(Debug)]
pub struct RulesLoaded<'a> {
    pub generation: u64,
    pub hash: &'a str,
    pub files: usize,
    pub domains: usize,
    pub rules: usize,
    pub limits: usize,
    pub warnings: usize,
    /// False for the last good rules, which serve because the files as they stand were refused: no reload succeeded.
    pub as_on_disk: bool,
}

impl RulesLoaded<'_> {
    pub fn emit(&self, telemetry: &Telemetry) {
        let Self { generation, hash, files, domains, rules, limits, warnings, as_on_disk } = self;
        info!(generation, hash, files, domains, rules, limits, warnings, "rules are live");
        if *as_on_disk {
            telemetry.counter(&metrics::RELOADS, &[("result", "success")]).increment(1);
            telemetry.gauge(&metrics::LAST_RELOAD_SUCCESS, &[]).set(1.0);
        }
        telemetry.gauge(&metrics::CONFIG_GENERATION, &[]).set(self.generation as f64);
        telemetry.gauge(&metrics::RULES, &[]).set(self.rules as f64);
        *telemetry.rules_hash.lock() = Some(self.hash.to_owned());
    }
}

/// The rule files as they stand cannot be used.
#[derive(Debug)]
pub struct RulesRefused<'a> {
    /// One line each, as `check` prints them.
    pub reasons: &'a [String],
    /// Whether older rules go on serving.
    pub serving: bool,
}

/// Reasons that one refusal logs: someone who needs more runs `check`.
const LOGGED_REASONS: usize = 20;

impl RulesRefused<'_> {
    pub fn emit(&self, telemetry: &Telemetry) {
        for reason in self.reasons.iter().take(LOGGED_REASONS) {
            error!("{reason}");
        }
        let problems = self.reasons.len();
        if self.serving {
            error!(problems, "the rules were not loaded: the last good ones go on serving");
        } else {
            error!(problems, "the rules were not loaded: not ready until they are mended");
        }
        telemetry.counter(&metrics::RELOADS, &[("result", "failure")]).increment(1);
        telemetry.gauge(&metrics::LAST_RELOAD_SUCCESS, &[]).set(0.0);
    }
}

/// What the gRPC server meets: cells made once, for the paths that must not look them up.
#[derive(Debug)]
pub struct ServerEvents {
    pub connections_accepted: Counter,
    pub connections_over_limit: Counter,
    pub connections_failed: Counter,
    panics: Counter,
    pub oversized: Counter,
    pub malformed: Counter,
    pub ignored_request_limits: Counter,
}

impl ServerEvents {
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            connections_accepted: telemetry.counter(&metrics::CONNECTIONS_ACCEPTED, &[]),
            connections_over_limit: telemetry.counter(&metrics::CONNECTIONS_REFUSED, &[("reason", "limit")]),
            connections_failed: telemetry.counter(&metrics::CONNECTIONS_REFUSED, &[("reason", "error")]),
            panics: telemetry.counter(&metrics::PANICS, &[]),
            oversized: telemetry.counter(&metrics::OVERSIZED, &[]),
            malformed: telemetry.counter(&metrics::MALFORMED, &[]),
            ignored_request_limits: telemetry.counter(&metrics::IGNORED_REQUEST_LIMITS, &[]),
        }
    }

    /// A decision panicked and was answered by policy. Nothing of the request is logged: it may hold secrets.
    pub fn panicked(&self) {
        self.panics.increment(1);
        error!("a decision panicked and was answered OVER_LIMIT");
    }

    /// The system refused a new connection.
    pub fn accept_failed(&self, error: &std::io::Error) {
        self.connections_failed.increment(1);
        warn!(%error, "accepting a connection failed; trying again shortly");
    }
}
