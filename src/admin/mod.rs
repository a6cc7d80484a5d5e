//! The admin API, on loopback only until it knows tokens. One file an endpoint.
//!
//! | endpoint | file | answers |
//! |---|---|---|
//! | `GET /v1/status` | [`status`] | version, generation and hash of the rules, store, uptime |
//!
//! Any other path is 404, in JSON like everything here.

pub mod status;

use std::sync::Arc;

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;

use crate::{clock::Stopwatch, health::Health, live::Live, store::Store};

/// What the endpoints look at.
#[derive(Clone, Debug)]
pub struct Admin {
    pub live: Arc<Live>,
    pub health: Arc<Health>,
    pub store: Arc<Store>,
    pub started: Stopwatch,
}

/// The table of endpoints.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/v1/status", get(status::status))
        .fallback(async || (StatusCode::NOT_FOUND, Json(json!({"error": "no such endpoint"}))))
        .with_state(admin)
}
