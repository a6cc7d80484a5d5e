//! `GET /v1/top`: what is going on. Sums of what was decided, the rules that refused most, how long decisions take, the
//! store; who is refused most, the domains that no rule file names, and the descriptors that no rule matches, the most
//! frequent first.
//!
//! Everything counts from the start: whoever wants to know what happens now looks twice.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{Admin, target};
use crate::{
    bounds::TOP_RULES_MAX,
    telemetry::{
        frequent::Seen,
        refused::Client,
        tally::{RuleSums, Sums},
        unmatched::Name,
    },
    units::Nanos,
};

/// Sums, and names with how often they came since the start; values only of who is refused.
pub async fn top(State(admin): State<Admin>) -> Json<Value> {
    if let Some(generation) = admin.live.snapshot().as_deref() {
        generation.tell_decisions();
    }
    let Sums { outcomes, sources, refusing } = admin.telemetry.sums();
    let top = admin.telemetry.unmatched().top();
    let shown = |seen: &Seen<Name>| json!({"domain": seen.name.domain, "count": seen.count, "error": seen.error});
    let with_keys = |seen: &Seen<Name>| {
        let mut shown = shown(seen);
        shown["keys"] = json!(seen.name.keys);
        shown
    };
    let client = |seen: &Seen<Client>| {
        let Seen { name, count, error } = seen;
        let (domain, descriptor) = (String::from_utf8_lossy(name.domain()), target::descriptor(name.entries()));
        json!({"domain": domain, "descriptor": descriptor, "cut": name.cut, "count": count, "error": error})
    };
    Json(json!({
        "uptime_seconds": admin.started.elapsed().0 as f64 / Nanos::SECOND.0 as f64,
        "decisions": {"outcomes": outcomes, "sources": sources},
        "decision_us": admin.telemetry.latency().counts().map(|(up_to, count)| json!([up_to, count])).collect::<Vec<_>>(),
        "store": {"name": admin.store.name(), "available": admin.store.is_available()},
        "rules": most(refusing),
        "refused": admin.telemetry.refused().most().iter().map(client).collect::<Vec<_>>(),
        "unknown_domains": top.domains.iter().map(shown).collect::<Vec<_>>(),
        "unmatched": top.descriptors.iter().map(with_keys).collect::<Vec<_>>(),
    }))
}

/// The rules that refused most.
fn most(mut rules: Vec<RuleSums>) -> Vec<Value> {
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.refused()));
    rules.truncate(TOP_RULES_MAX);
    let shown = rules.iter().map(|of| json!({"domain": of.domain, "rule": of.rule, "outcomes": of.outcomes}));
    shown.collect()
}
