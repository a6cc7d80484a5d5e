//! Things that happen: each writes its log line and its counter together.

use std::fmt;

use ::metrics::{Counter, Gauge};
use tracing::{error, info, warn};

use super::{Telemetry, metrics, tls::HandshakeEvents};
use crate::bounds::DIAGNOSTICS_SHOWN_MAX;

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
            telemetry.compat().inspect(|compat| compat.loaded.increment(1));
            tell_whether_live(telemetry, 1.0, 0.0);
        }
        telemetry.gauge(&metrics::CONFIG_GENERATION, &[]).set(self.generation as f64);
        telemetry.gauge(&metrics::RULES, &[]).set(self.rules as f64);
        *telemetry.rules_hash.lock() = Some(self.hash.to_owned());
    }
}

/// The rule files say again what is live all the time.
#[derive(Debug)]
pub struct RulesStandAgain;

impl RulesStandAgain {
    pub fn emit(&self, telemetry: &Telemetry) {
        info!("the rule files are again those that are live");
        tell_whether_live(telemetry, 1.0, 0.0);
    }
}

/// The rule files as they stand cannot be used.
#[derive(Debug)]
pub struct RulesRefused<'a, Reason> {
    /// One line each, as `check` prints them.
    pub reasons: &'a [Reason],
    /// Whether older rules go on serving.
    pub serving: bool,
}

impl<Reason: fmt::Display> RulesRefused<'_, Reason> {
    pub fn emit(&self, telemetry: &Telemetry) {
        // Someone who needs more runs `check`.
        for reason in self.reasons.iter().take(DIAGNOSTICS_SHOWN_MAX) {
            error!("{reason}");
        }
        let problems = self.reasons.len();
        if self.serving {
            error!(problems, "the rules were not loaded: the last good ones go on serving");
        } else {
            error!(problems, "the rules were not loaded: not ready until they are mended");
        }
        telemetry.counter(&metrics::RELOADS, &[("result", "failure")]).increment(1);
        telemetry.compat().inspect(|compat| compat.load_failed.increment(1));
        tell_whether_live(telemetry, 0.0, 0.0);
    }
}

/// The rule files as they stand load, and look like an accident.
#[derive(Debug)]
pub struct RulesWait<Reason> {
    pub reason: Reason,
}

impl<Reason: fmt::Display> RulesWait<Reason> {
    pub fn emit(&self, telemetry: &Telemetry) {
        error!("{}", self.reason);
        error!("the rules were not loaded: the last good ones go on serving until this is confirmed, or mended");
        telemetry.counter(&metrics::RELOADS, &[("result", "waiting")]).increment(1);
        tell_whether_live(telemetry, 0.0, 1.0);
    }
}

/// Whether the files as they stand are live, and if not, whether they wait to be confirmed.
fn tell_whether_live(telemetry: &Telemetry, live: f64, waiting: f64) {
    telemetry.gauge(&metrics::LAST_RELOAD_SUCCESS, &[]).set(live);
    telemetry.gauge(&metrics::CONFIG_WAITING, &[]).set(waiting);
}

/// What the gRPC server meets: cells made once, for the paths that must not look them up.
#[derive(Debug)]
pub struct ServerEvents {
    pub connections_accepted: Counter,
    pub connections_over_limit: Counter,
    pub connections_failed: Counter,
    pub connections: Gauge,
    pub calls_under_way: Gauge,
    /// Nobody waited for them any more when their turn came.
    pub expired: Counter,
    /// Nobody waited for their answers any more.
    pub late: Counter,
    panics: Counter,
    pub oversized: Counter,
    pub malformed: Counter,
    pub ignored_request_limits: Counter,
    /// Only by the names of envoyproxy/ratelimit.
    health_checks: Counter,
    /// Where TLS is spoken.
    pub handshakes: Option<HandshakeEvents>,
}

impl ServerEvents {
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            connections_accepted: telemetry.counter(&metrics::CONNECTIONS_ACCEPTED, &[]),
            connections_over_limit: telemetry.counter(&metrics::CONNECTIONS_REFUSED, &[("reason", "limit")]),
            connections_failed: telemetry.counter(&metrics::CONNECTIONS_REFUSED, &[("reason", "error")]),
            connections: telemetry.gauge(&metrics::CONNECTIONS, &[]),
            calls_under_way: telemetry.gauge(&metrics::CALLS_UNDER_WAY, &[]),
            expired: telemetry.counter(&metrics::EXPIRED_CALLS, &[]),
            late: telemetry.counter(&metrics::LATE_ANSWERS, &[]),
            panics: telemetry.counter(&metrics::PANICS, &[]),
            oversized: telemetry.counter(&metrics::OVERSIZED, &[]),
            malformed: telemetry.counter(&metrics::MALFORMED, &[]),
            ignored_request_limits: telemetry.counter(&metrics::IGNORED_REQUEST_LIMITS, &[]),
            health_checks: telemetry.compat().map_or_else(Counter::noop, |compat| compat.health_checks.clone()),
            handshakes: None,
        }
    }

    /// Somebody asked gRPC's health service how we are.
    pub fn health_checked(&self) {
        self.health_checks.increment(1);
    }

    /// The same, and handshakes where TLS is spoken.
    #[must_use]
    pub fn with_handshakes(self, handshakes: Option<HandshakeEvents>) -> Self {
        Self { handshakes, ..self }
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
