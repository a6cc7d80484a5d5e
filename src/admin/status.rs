//! `GET /v1/status`: what runs here.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::Admin;

/// Version, generation and hash of the rules, store, uptime.
pub async fn status(State(admin): State<Admin>) -> Json<Value> {
    let generation = admin.live.snapshot();
    let rules = generation.as_ref().map(|generation| {
        let (rules, limits) = generation.rules.given();
        json!({
            "generation": generation.number,
            "hash": generation.hash,
            "domains": generation.rules.domains.len(),
            "rules": rules,
            "limits": limits,
        })
    });
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": admin.health.ready(),
        "not_ready_because": admin.health.why_not_ready(),
        "rules": rules,
        "store": admin.store.name(),
        "uptime_seconds": admin.started.elapsed().0 / 1_000_000_000,
    }))
}
