//! `grpc.health.v1.Health`: what Envoy's health checks and `grpc_health_probe` ask.

use tonic::service::Routes;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// The names under which the service may be asked for: the process as a whole, what envoyproxy/ratelimit is asked for,
/// and the protocol's own.
pub const NAMES: [&str; 3] = ["", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService"];

/// Tells those who ask whether decisions are served. Clones speak for the same service.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// `NOT_SERVING` under every name, until [`set_serving`](Self::set_serving) says otherwise.
    pub async fn not_serving() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.set_serving(false).await;
        health
    }

    /// Says under every name whether decisions are served; who watches is told at once.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Forgets every name, which ends all `Watch` streams: they would hold their connections open until the deadline
    /// of a drain.
    pub async fn clear(&self) {
        let mut reporter = self.reporter.clone();
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    }

    /// The health service for the server; what else is to be served by tonic (reflection) is added to it.
    pub fn routes(&self) -> Routes {
        Routes::new(HealthServer::new(HealthService::from_health_reporter(self.reporter.clone())))
    }
}
