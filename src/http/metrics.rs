//! `/metrics`: everything, in Prometheus' text format; on the neighbourhood's port, and where the setting `metrics` says.

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};

use super::Neighbourhood;
use crate::telemetry::metrics;

/// A server of nothing but the metrics, at `path`.
pub fn router(neighbourhood: Neighbourhood, path: &str) -> Router {
    let path: Box<str> = path.into();
    // No route: signs that mean something in a route's pattern are part of this path.
    let answer_at = async move |State(neighbourhood): State<Neighbourhood>, method: Method, uri: Uri| {
        if uri.path() != &*path {
            return (StatusCode::NOT_FOUND, format!("no such page; there is {path}\n")).into_response();
        }
        match method {
            Method::GET | Method::HEAD => answer(State(neighbourhood)).await,
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    };
    Router::new().fallback(answer_at).with_state(neighbourhood)
}

pub(super) async fn answer(State(neighbourhood): State<Neighbourhood>) -> Response {
    let decider = &neighbourhood.decider;
    let telemetry = &decider.telemetry;
    let fill = decider.store.in_process().fill();
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
    decider.store.tell();
    if let Some(generation) = decider.live.snapshot().as_deref() {
        generation.tell_decisions();
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry.render()).into_response()
}
