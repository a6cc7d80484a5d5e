//! The debug pages of envoyproxy/ratelimit, where the setting `debug` says: text for people, and nothing that changes
//! anything. The method is never looked at.
//!
//! | path | answers |
//! |---|---|
//! | `/rlconfig` | [a line for each limit that is live](rlconfig) |
//! | `/stats` | [what runs here, and how much of it](stats) |
//! | `/v1`, and below | the admin API for those whom it is for, 404 for others |
//!
//! Any other path lists the pages, as that service does. It has profiles, too; we have none.

pub mod rlconfig;
pub mod stats;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::any,
};
use tower::Service as _;

use crate::{clock::Stopwatch, decide::Decider, health::Health};

/// What the pages look at.
#[derive(Clone, Debug)]
pub struct Debug {
    /// With the store, the rules and the telemetry that it decides by.
    pub decider: Arc<Decider>,
    pub health: Arc<Health>,
    pub started: Stopwatch,
    /// What answers below `/v1`; None: nothing does.
    pub admin: Option<Router>,
}

/// The pages that are listed, by their paths.
const PAGES: &[(&str, &str)] = &[
    ("/rlconfig", "the limits that are live, a line each"),
    ("/stats", "version, uptime, memory, rules and counters of this process"),
];

/// The table of pages.
pub fn router(debug: Debug) -> Router {
    Router::new().route("/rlconfig", any(rlconfig)).route("/stats", any(stats)).fallback(other).with_state(debug)
}

async fn rlconfig(State(debug): State<Debug>) -> String {
    debug.decider.live.snapshot().as_deref().map(|generation| rlconfig::text(&generation.rules)).unwrap_or_default()
}

async fn stats(State(debug): State<Debug>) -> String {
    stats::text(&debug)
}

async fn other(State(debug): State<Debug>, request: Request) -> Response {
    let path = request.uri().path();
    if path != "/v1" && !path.starts_with("/v1/") {
        let list = PAGES.iter().flat_map(|(path, help)| [path, ": ", help, "\n"]);
        return list.collect::<String>().into_response();
    }
    match debug.admin {
        Some(mut admin) => admin.call(request).await.into_response(),
        // No list: a script that asks for a reset shall not take one for an answer.
        None => {
            let why = "the admin API is not to be had here: ask where the setting `admin` says\n";
            (StatusCode::NOT_FOUND, why).into_response()
        }
    }
}
