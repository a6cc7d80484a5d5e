//! `/v1/blocks`: descriptors that are refused, for a while: by order, or because a refusal started it.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde_json::{Value, json};

use super::{
    Admin,
    audit::{Action, Answer, Peer, audited},
    error::Error,
    expiry,
    fields::Fields,
    note,
    overrides::Which,
    patiently,
    target::{Target, about},
};
use crate::{orders::About, units::Timestamp};

/// Blocks a descriptor, or everything that begins so; an earlier order about the same is replaced.
///
/// # Errors
///
/// There is no such domain.
pub async fn put(State(admin): State<Admin>, peer: Peer, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    let now = admin.clock.now();
    let until = expiry::take(&mut asked, now)?;
    asked.end()?;
    let done = patiently(admin.book.put_block(now, &admin.store, target.about(), until));
    let outcome = done.map_err(Error::from).map(|done| {
        let mut answer = shown(&target.about(), None, until, now);
        note(&mut answer, done);
        answer
    });
    audited(&admin, Action::SetBlock, &target, peer, outcome)
}

/// Lists those in force, and says how many more there may be that were too many to note.
///
/// # Errors
///
/// Unknown parameters.
pub async fn list(State(admin): State<Admin>, which: Result<Query<Which>, QueryRejection>) -> Answer {
    let Query(which) = which.map_err(|_| Error::bad("`domain` is the only parameter, and may be given once"))?;
    let now = admin.clock.now();
    let (ordered, started, unlisted) = patiently(async { admin.book.blocks(now, which.domain()) });
    let ordered = ordered.iter().map(|order| shown(&order.about, None, order.until, now));
    let started = started.iter().map(|block| shown(&block.about, Some(&block.rule), block.until, now));
    Ok(Json(json!({"blocks": ordered.chain(started).collect::<Vec<_>>(), "unlisted": unlisted})))
}

/// Lifts what blocks exactly this descriptor, or this beginning, whoever began it.
///
/// # Errors
///
/// Nothing does.
pub async fn delete(State(admin): State<Admin>, peer: Peer, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    asked.end()?;
    let outcome = match patiently(admin.book.lift(admin.clock.now(), &admin.store, &target.about())) {
        Ok((0, _)) => Err(Error::NotFound("no block on this descriptor")),
        Ok((deleted, done)) => {
            let mut answer = json!({"deleted": deleted});
            note(&mut answer, done);
            Ok(answer)
        }
        Err(refusal) => Err(refusal.into()),
    };
    audited(&admin, Action::LiftBlock, &target, peer, outcome)
}

fn shown(whom: &About, started_by: Option<&str>, until: Timestamp, now: Timestamp) -> Value {
    let mut answer = about(whom);
    answer["started_by"] = json!(started_by);
    expiry::show(&mut answer, until, now);
    answer
}
