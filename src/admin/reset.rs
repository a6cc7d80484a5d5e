//! `POST /v1/reset`: counts a descriptor from nothing again, and lifts its blocks. Overrides stay.

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    Admin,
    audit::{Action, Answer, Peer, audited},
    error::Error,
    fields::Fields,
    note, patiently,
    target::Target,
};

/// Of a beginning nobody knows how many counters there were: `counters` is null then, and `marked` true.
///
/// # Errors
///
/// Nothing limits the descriptor, or its counter is shared and that was not said.
pub async fn reset(State(admin): State<Admin>, peer: Peer, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    asked.end()?;
    let outcome = carry_out(&admin, &target);
    audited(&admin, Action::Reset, &target, peer, outcome)
}

fn carry_out(admin: &Admin, target: &Target) -> Result<Value, Error> {
    let done = patiently(admin.book.reset(admin.clock.now(), &admin.store, &target.about(), target.shared))?;
    let mut answer = json!({
        "domain": target.domain,
        "descriptor": target.descriptor(),
        "prefix": target.prefix,
        "marked": done.counters.is_none(),
        "counters": done.counters,
        "blocks": done.blocks,
    });
    note(&mut answer, done.done);
    Ok(answer)
}
