//! `POST /v1/reload`: reads the rule files now, and makes live what they say, however much less it is than before.

use axum::extract::State;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Admin,
    audit::{Answer, Peer, audited_reload},
    error::Error,
    fields::Fields,
    patiently, status,
};
use crate::{
    bounds::{DIAGNOSTICS_SHOWN_MAX, RELOAD_PATIENCE},
    reload::Outcome,
};

/// Answers when the rules are live: their generation and hash, and whether anything changed. The body is empty, or `{}`.
///
/// # Errors
///
/// The files have errors, which are told; or they keep changing, or a load before this one takes long.
pub async fn reload(State(admin): State<Admin>, peer: Peer, body: Bytes) -> Answer {
    if !body.is_empty() {
        Fields::parse(&body)?.end()?;
    }
    let outcome = patiently(async { admin.reload.reload(admin.clock.now()) });
    audited_reload(&admin, peer, answer(&admin, outcome))
}

fn answer(admin: &Admin, outcome: Outcome) -> Result<Value, Error> {
    match outcome {
        Outcome::Live { changed } => {
            let (standing, generation) = admin.reload.standing();
            let rules = generation.map(|generation| status::live(&generation, &standing));
            Ok(json!({"changed": changed, "rules": rules}))
        }
        Outcome::Refused(diagnostics) => {
            let problems = diagnostics.len();
            let shown = diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).cloned().collect();
            Err(Error::RulesRefused { problems, shown })
        }
        // Nothing waits for whoever asks; and if it ever did, the files would not be what is live.
        Outcome::Waiting | Outcome::Unsettled => Err(Error::RulesUnsettled("change while they are read".to_owned())),
        Outcome::Busy => {
            Err(Error::RulesUnsettled(format!("have been read for more than {} s already", RELOAD_PATIENCE.as_secs())))
        }
    }
}
