//! `POST /v1/usage`: how every window of one descriptor stands. Charges nothing.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{Admin, audit::Answer, domain_named, error::Error, fields::Fields, target::Target};
use crate::{
    rules::Mode,
    usage::{Usage, WindowUsage, look},
};

/// Every window of the rule that the descriptor matches, and whether it is blocked.
///
/// # Errors
///
/// The domain is unknown, or no rule limits the descriptor; a beginning of descriptors has no usage of its own.
pub async fn usage(State(admin): State<Admin>, mut asked: Fields) -> Answer {
    let target = Target::take(&mut asked)?;
    asked.end()?;
    if target.prefix {
        return Err(Error::bad("`prefix` is true: usage is that of one whole descriptor"));
    }
    let generation = admin.generation()?;
    domain_named(&generation, &target.domain)?;
    let (store, key, now) = (&admin.store, &admin.hash_key, admin.clock.now());
    let usage = look(&generation, store, key, now, &target.domain, &target.entries()).await;
    // The domain is known: what is left is that nothing limits it.
    let usage = usage.map_err(|_| Error::NoLimit)?;
    Ok(Json(shown(&target, &usage)))
}

fn shown(target: &Target, usage: &Usage<'_>) -> Value {
    json!({
        "domain": target.domain,
        "descriptor": target.descriptor(),
        "rule": &*usage.rule.name,
        "overridden": usage.overridden,
        "windows": usage.windows.iter().map(|window| shown_window(window, usage.rule.mode)).collect::<Vec<_>>(),
        "blocked": usage.blocked_secs.map(|secs| json!({"retry_after": secs})),
    })
}

/// One window, as answers show it.
pub(super) fn shown_window(window: &WindowUsage, mode: Mode) -> Value {
    let mode = match mode {
        _ if window.shadow => "shadow",
        Mode::Quota => "quota",
        Mode::Enforce | Mode::Shadow => "enforce",
    };
    json!({
        "name": window.name,
        "limit": window.limit,
        "current": window.current,
        "remaining": window.remaining,
        "reset": window.reset_secs,
        "mode": mode,
    })
}
