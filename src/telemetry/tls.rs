//! What TLS for gRPC meets: certificates that go live or will not do, handshakes that come to nothing.

use std::{fmt::Display, net::SocketAddr};

use ::metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Telemetry, metrics, rarely::Rarely};
use crate::{bounds::HANDSHAKE_FAILURES_TOLD_APART, units::Timestamp};

/// The cells of the certificate, and the log lines that go with them.
#[derive(Debug)]
pub struct CertificateEvents {
    expiry: Gauge,
    last_success: Gauge,
    succeeded: Counter,
    failed: Counter,
}

impl CertificateEvents {
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            expiry: telemetry.gauge(&metrics::TLS_EXPIRY, &[]),
            last_success: telemetry.gauge(&metrics::TLS_LAST_RELOAD_SUCCESS, &[]),
            succeeded: telemetry.counter(&metrics::TLS_RELOADS, &[("result", "success")]),
            failed: telemetry.counter(&metrics::TLS_RELOADS, &[("result", "failure")]),
        }
    }

    /// A certificate is live from `now` on.
    pub fn live(&self, expires_secs: u64, now: Timestamp) {
        self.expiry.set(expires_secs as f64);
        self.last_success.set(1.0);
        let expires = i64::try_from(expires_secs).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
        let expires = expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
        if Timestamp::from_secs(expires_secs) <= now {
            error!(expires, "the certificate for gRPC has expired: clients that check it will not come in");
        } else {
            info!(expires, "the certificate for gRPC is live");
        }
    }

    /// The files changed and are live.
    pub fn reloaded(&self, expires_secs: u64, now: Timestamp) {
        self.succeeded.increment(1);
        self.live(expires_secs, now);
    }

    /// The files changed and will not do.
    pub fn refused(&self, why: &dyn Display) {
        self.failed.increment(1);
        self.last_success.set(0.0);
        error!("{why}: gRPC goes on with the certificates of before");
    }
}

/// The cells of handshakes that come to nothing, and the log lines that go with them.
#[derive(Debug)]
pub struct HandshakeEvents(Vec<Reason>);

#[derive(Debug)]
struct Reason {
    name: &'static str,
    failed: Counter,
    told: Mutex<Rarely>,
}

impl HandshakeEvents {
    pub fn new(telemetry: &Telemetry, reasons: impl IntoIterator<Item = &'static str>) -> Self {
        let reason = |name| Reason {
            name,
            failed: telemetry.counter(&metrics::TLS_HANDSHAKES_FAILED, &[("reason", name)]),
            told: Mutex::default(),
        };
        Self(reasons.into_iter().map(reason).collect())
    }

    /// One failed; said in the log where `told`, for each reason once in a while.
    pub fn failed(&self, reason: &'static str, peer: Option<SocketAddr>, why: &dyn Display, told: bool) {
        let Some(reason) = self.0.iter().find(|one| one.name == reason) else { return };
        reason.failed.increment(1);
        if let Some(untold) =
            told.then(|| reason.told.lock().untold_at(Instant::now(), HANDSHAKE_FAILURES_TOLD_APART)).flatten()
        {
            let peer = peer.map(tracing::field::display);
            warn!(reason = reason.name, peer, untold, "a TLS handshake failed: {why}");
        }
    }
}
