//! `GET /v1/status`: what runs here.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{Admin, expiry::rfc3339};
use crate::{
    bounds::DIAGNOSTICS_SHOWN_MAX,
    config::Diagnostic,
    live::Generation,
    reload::standing::{FilesStand, Standing},
    store::guard::replicas::Replicas,
};

/// Version, generation and hash of the rules, how the rule files stand, store, who shares it, uptime.
pub async fn status(State(admin): State<Admin>) -> Json<Value> {
    let (standing, generation) = admin.reload.standing();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": admin.health.ready(),
        "not_ready_because": admin.health.why_not_ready(),
        "rules": generation.map(|generation| live(&generation, &standing)),
        "rule_files": files(&standing),
        "store": admin.store.name(),
        "replicas": admin.store.replicas().map(Replicas::sharing),
        "replicas_counted": admin.store.replicas().and_then(Replicas::counted),
        "uptime_seconds": admin.started.elapsed().0 / 1_000_000_000,
    }))
}

/// The rules that are live, and since when.
pub fn live(generation: &Generation, standing: &Standing) -> Value {
    let (rules, limits) = generation.rules.given();
    json!({
        "generation": generation.number,
        "hash": generation.hash,
        "since": standing.live.as_ref().map(|live| rfc3339(live.since)),
        "domains": generation.rules.domains.len(),
        "rules": rules,
        "limits": limits,
    })
}

/// How the files as they are now stand to them.
fn files(standing: &Standing) -> Value {
    let mut answer = json!({"state": standing.files.word()});
    if standing.files != FilesStand::Unread {
        answer["since"] = json!(rfc3339(standing.since));
    }
    let diagnostics = standing.files.diagnostics();
    if !diagnostics.is_empty() {
        answer["problems"] = json!(diagnostics.len());
        answer["diagnostics"] = shown(diagnostics);
    }
    answer
}

/// The first of them, each with its place.
pub fn shown(diagnostics: &[Diagnostic]) -> Value {
    diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).map(Diagnostic::json).collect()
}
