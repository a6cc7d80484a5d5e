//! HTTP for the neighbourhood: probes and metrics. Nothing here changes anything.
//!
//! | path | answers |
//! |---|---|
//! | `/healthcheck` | 200 `OK` while ready, else 500: what envoyproxy/ratelimit's probes ask |
//! | `/livez` | 200 as long as the process answers at all |
//! | `/readyz` | 200 while ready, else 503 with the reason |
//! | `/metrics` | everything, in Prometheus' text format |
//!
//! Any other path is 404.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};

use crate::{
    health::Health,
    store::Store,
    telemetry::{Telemetry, metrics},
};

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    pub health: Arc<Health>,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
}

/// The table of endpoints.
pub fn router(neighbourhood: Neighbourhood) -> Router {
    Router::new()
        .route("/healthcheck", axum::routing::any(healthcheck))
        .route("/livez", get(async || "OK\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "no such page; there are /healthcheck /livez /readyz /metrics\n"))
        .with_state(neighbourhood)
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

async fn metrics(State(neighbourhood): State<Neighbourhood>) -> impl IntoResponse {
    let telemetry = &neighbourhood.telemetry;
    let Store::Memory(memory) = &*neighbourhood.store;
    let fill = memory.fill();
    for (gauge, value) in [
        (&metrics::COUNTERS, fill.counters as f64),
        (&metrics::COUNTERS_MAX, fill.max_counters as f64),
        (&metrics::COUNTERS_BYTES, fill.bytes as f64),
        (&metrics::SKETCHES, fill.sketches as f64),
    ] {
        telemetry.gauge(gauge, &[]).set(value);
    }
    for (counter, value) in [
        (&metrics::COUNTERS_EVICTED, fill.evicted),
        (&metrics::COUNTERS_SKETCHED, fill.sketched),
        (&metrics::COUNTERS_UNPLACED, fill.unplaced),
    ] {
        telemetry.counter(counter, &[]).absolute(value);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry.render())
}
