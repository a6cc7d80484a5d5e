//! HTTP for the neighbourhood: probes, metrics, usage pages, and decisions for whoever has no gRPC.
//!
//! | path | answers |
//! |---|---|
//! | `/healthcheck` | 200 `OK` while ready, else 500: what envoyproxy/ratelimit's probes ask |
//! | `/livez` | 200 as long as the process answers at all |
//! | `/readyz` | 200 while ready, else 503 with the reason |
//! | `/metrics` | everything, in Prometheus' text format |
//! | `/json` | [one decision](json): the only page that changes anything |
//! | the `usage` of a domain | [how a client stands](usage_page) |
//!
//! Any other path is 404.

pub mod json;
pub mod metrics;
pub mod usage_page;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{any, get},
};

use self::usage_page::Secret;
use crate::{decide::Decider, health::Health};

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    /// With the store, the rules and the telemetry that it decides by.
    pub decider: Arc<Decider>,
    /// None: whoever reaches the port may read usage pages.
    pub usage_secret: Option<Arc<Secret>>,
    pub health: Arc<Health>,
}

/// The table of endpoints.
pub fn router(neighbourhood: Neighbourhood) -> Router {
    Router::new()
        .route("/healthcheck", any(healthcheck))
        .route("/livez", get(async || "OK\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::answer))
        .route("/json", any(json::answer))
        .fallback(usage_page::answer)
        .with_state(neighbourhood)
}

/// Usage pages are not named: their paths are nobody's business who does not know them.
fn no_such_page() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "no such page; there are /healthcheck /livez /readyz /metrics /json\n")
}

async fn healthcheck(State(neighbourhood): State<Neighbourhood>) -> impl IntoResponse {
    if neighbourhood.health.ready() { (StatusCode::OK, "OK") } else { (StatusCode::INTERNAL_SERVER_ERROR, "") }
}

async fn readyz(State(neighbourhood): State<Neighbourhood>) -> impl IntoResponse {
    match neighbourhood.health.why_not_ready() {
        None => (StatusCode::OK, "OK\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use crate::render::usage_page::TAKEN_PATHS;

    #[test]
    fn no_page_of_the_rules_can_stand_in_the_place_of_ours() {
        // Only what stands above this test: the pattern itself is no route.
        let source = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let routes: Vec<&str> = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(routes.len() >= 4, "{routes:?}");
        for route in &routes {
            assert!(TAKEN_PATHS.contains(route), "{route}");
        }
    }
}
