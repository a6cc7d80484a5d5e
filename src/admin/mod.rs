//! The admin API: JSON in and out, one file an endpoint, one line in [`ENDPOINTS`] to register it.
//!
//! | endpoint | file | answers |
//! |---|---|---|
//! | `GET /v1/status` | [`status`] | version, generation and hash of the rules, how the rule files stand, store, uptime |
//! | `POST /v1/reload` | [`reload`] | makes live what the rule files say, and says what became of them |
//! | `GET /v1/rules` | [`rules`] | the rules that are live, and the files they are from |
//! | `POST /v1/usage` | [`usage`] | how every window of one descriptor stands |
//! | `POST /v1/explain` | [`explain`] | which rules decide a request, why, and what would be answered |
//! | `GET /v1/top` | [`top`] | what is going on: sums, who is refused most, what no rule is about |
//! | `POST /v1/reset` | [`reset`] | counts a descriptor from nothing again, and lifts its blocks |
//! | `GET`, `PUT`, `DELETE /v1/overrides` | [`overrides`] | other limits for a descriptor, for a while |
//! | `GET`, `PUT`, `DELETE /v1/blocks` | [`blocks`] | descriptors that are refused, for a while |
//!
//! [`door`] lets nobody in without the [`token`], and hands on a body that is all there. An endpoint takes its fields
//! out of it ([`fields`]), first those that say whom it is about ([`target`]), and answers JSON or an [`error`]; one
//! that changes something says so ([`audit`]).

pub mod audit;
pub mod blocks;
pub mod door;
pub mod error;
pub mod expiry;
pub mod explain;
pub mod fields;
pub mod overrides;
pub mod reload;
pub mod reset;
pub mod rules;
pub mod status;
pub mod target;
pub mod token;
pub mod top;
pub mod usage;

use std::sync::Arc;

use axum::{
    Router,
    http::Uri,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};
use serde_json::{Value, json};

use self::{door::Door, error::Error};
use crate::{
    clock::{Clock, Stopwatch},
    health::Health,
    live::{Generation, Live},
    orders::{Book, Done},
    reload::Reload,
    rules::{Domain, identity::HashKey},
    spelling::did_you_mean,
    store::Store,
    telemetry::Telemetry,
};

/// What the endpoints look at and work on.
#[derive(Clone, Debug)]
pub struct Admin {
    pub clock: Clock,
    pub live: Arc<Live>,
    pub book: Arc<Book>,
    pub health: Arc<Health>,
    pub store: Arc<Store>,
    pub telemetry: Arc<Telemetry>,
    pub hash_key: HashKey,
    pub started: Stopwatch,
    pub reload: Arc<Reload>,
}

/// A path, and what answers there.
type Endpoint = (&'static str, fn() -> MethodRouter<Admin>);

/// The table of endpoints.
const ENDPOINTS: &[Endpoint] = &[
    ("/v1/status", || get(status::status)),
    ("/v1/reload", || post(reload::reload)),
    ("/v1/rules", || get(rules::rules)),
    ("/v1/usage", || post(usage::usage)),
    ("/v1/explain", || post(explain::explain)),
    ("/v1/top", || get(top::top)),
    ("/v1/reset", || post(reset::reset)),
    ("/v1/overrides", || get(overrides::list).put(overrides::put).delete(overrides::delete)),
    ("/v1/blocks", || get(blocks::list).put(blocks::put).delete(blocks::delete)),
];

/// All endpoints, behind the door.
pub fn router(admin: Admin, door: Door) -> Router {
    let routes = ENDPOINTS.iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods()));
    routes
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(from_fn_with_state(door, door::pass))
        .with_state(admin)
}

async fn no_such_endpoint(uri: Uri) -> Error {
    Error::NoSuchEndpoint { suggestion: did_you_mean(uri.path(), ENDPOINTS.iter().map(|(path, _)| *path)) }
}

impl Admin {
    /// The rules to answer by.
    ///
    /// # Errors
    ///
    /// None were ever loaded.
    pub fn generation(&self) -> Result<Arc<Generation>, Error> {
        self.live.snapshot().clone().ok_or(Error::NotReady("no rules were ever loaded"))
    }
}

/// Adds to an answer who will know of an order: this process after a restart, and all replicas where there are more.
pub fn note(answer: &mut Value, done: Done) {
    answer["survives_restart"] = json!(done.kept);
    if let Some(everywhere) = done.everywhere {
        answer["everywhere"] = json!(everywhere);
    }
}

/// Does what may wait for the disk, and lets other tasks of this thread go on elsewhere meanwhile.
pub fn patiently<T>(task: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(task))
}

/// The domain of this name.
///
/// # Errors
///
/// No rule file names it; the error suggests one that is near.
pub fn domain_named<'g>(generation: &'g Generation, name: &str) -> Result<&'g Domain, Error> {
    let domains = &generation.rules.domains;
    domains.get(name.as_bytes()).ok_or_else(|| Error::UnknownDomain {
        domain: name.to_owned(),
        suggestion: did_you_mean(name, domains.values().map(|domain| &*domain.name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_endpoint() {
        let manual = include_str!("../../docs/admin.md");
        for (path, _) in ENDPOINTS {
            assert!(manual.contains(&format!(" {path}`")), "{path} is missing in docs/admin.md");
        }
    }
}
