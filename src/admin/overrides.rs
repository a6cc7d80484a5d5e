//! `/v1/overrides`: other limits for a descriptor, for a while. The longest matching beginning wins; equal windows keep
//! their counts.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Admin,
    audit::{Action, Answer, Peer, audited},
    error::Error,
    expiry,
    fields::Fields,
    note, patiently,
    target::{Target, about},
};
use crate::{orders::OverrideOrder, units::Timestamp};

/// Which orders to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Those of this domain; of all without it.
    domain: Option<String>,
}

impl Which {
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

/// Sets an override, in the place of an earlier one of the same descriptor.
///
/// # Errors
///
/// Nothing limits the descriptor, its counter is shared and that was not said, or the limits are wrong.
pub async fn put(State(admin): State<Admin>, peer: Peer, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    let limits = asked.list("limits")?;
    let now = admin.clock.now();
    let until = expiry::take(&mut asked, now)?;
    asked.end()?;
    let text = json!({"limits": limits}).to_string();
    let done = patiently(admin.book.put_override(now, &admin.store, target.about(), &text, until, target.shared));
    let outcome = done.map_err(Error::from).map(|done| {
        let mut answer = shown(&OverrideOrder { about: target.about(), limits: text.into(), until }, now);
        note(&mut answer, done);
        answer
    });
    audited(&admin, Action::SetOverride, &target, peer, outcome)
}

/// Lists those in force.
///
/// # Errors
///
/// Unknown parameters.
pub async fn list(
    State(admin): State<Admin>,
    which: Result<Query<Which>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(which) = which.map_err(|_| Error::bad("`domain` is the only parameter, and may be given once"))?;
    let now = admin.clock.now();
    let overrides = patiently(async { admin.book.overrides(now, which.domain()) });
    Ok(Json(json!({"overrides": overrides.iter().map(|order| shown(order, now)).collect::<Vec<_>>()})))
}

/// Ends one.
///
/// # Errors
///
/// There is none for this descriptor.
pub async fn delete(State(admin): State<Admin>, peer: Peer, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    asked.end()?;
    let done = patiently(admin.book.delete_override(admin.clock.now(), &admin.store, &target.about()));
    let outcome = match done {
        Ok((0, _)) => Err(Error::NotFound("no override for this descriptor")),
        Ok((deleted, done)) => {
            let mut answer = json!({"deleted": deleted});
            note(&mut answer, done);
            Ok(answer)
        }
        Err(refusal) => Err(refusal.into()),
    };
    audited(&admin, Action::DeleteOverride, &target, peer, outcome)
}

fn shown(order: &OverrideOrder, now: Timestamp) -> Value {
    let mut answer = about(&order.about);
    // It was JSON when it was taken.
    let limits: Value = serde_json::from_str(&order.limits).unwrap_or_default();
    answer["limits"] = limits["limits"].clone();
    expiry::show(&mut answer, order.until, now);
    answer
}
