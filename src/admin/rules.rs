//! `GET /v1/rules`: the rules that are live, and the files they are from.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde_json::{Value, json};

use super::{Admin, audit::Answer, domain_named, error::Error, overrides::Which, status};
use crate::{
    bounds::RULES_LISTED_MAX,
    limit::{Algorithm, CalendarUnit, Limit, Window},
    reload::standing::LiveFile,
    rules::{Action, Domain, Mode, Rule, RuleLimit},
    units::Nanos,
};

/// Files with their hashes, then domains with their rules and limits, by name; `?domain=` shows that one alone. What a rule
/// matches is not shown: values may be secrets. Its file and line are.
///
/// # Errors
///
/// Rules were never loaded, the domain is unknown, or there are other parameters.
pub async fn rules(State(admin): State<Admin>, which: Result<Query<Which>, QueryRejection>) -> Answer {
    let Query(which) = which.map_err(|_| Error::bad("`domain` is the only parameter, and may be given once"))?;
    let (standing, generation) = admin.reload.standing();
    let generation = generation.ok_or(Error::NotReady("no rules were ever loaded"))?;
    let mut domains: Vec<&Domain> = match which.domain() {
        Some(name) => vec![domain_named(&generation, name)?],
        None => generation.rules.domains.values().collect(),
    };
    domains.sort_unstable_by_key(|domain| &domain.name);
    let mut room = RULES_LISTED_MAX;
    let mut answer = status::live(&generation, &standing);
    let files = standing.live.iter().flat_map(|live| live.files.iter());
    answer["files"] = files.map(shown_file).collect();
    // In the place of how many there are of them.
    answer["domains"] = domains.iter().map(|domain| shown_domain(domain, &mut room)).collect();
    let rules: usize = domains.iter().map(|domain| domain.rules.len()).sum();
    answer["unlisted"] = json!(rules.saturating_sub(RULES_LISTED_MAX));
    Ok(Json(answer))
}

fn shown_file(LiveFile { file, bytes, hash }: &LiveFile) -> Value {
    json!({"file": &**file, "bytes": bytes, "hash": hash})
}

fn shown_domain(domain: &Domain, room: &mut usize) -> Value {
    let rules: Vec<_> = domain.rules.iter().take(*room).map(shown_rule).collect();
    *room -= rules.len();
    json!({"domain": domain.name, "rules": rules})
}

fn shown_rule(rule: &Rule) -> Value {
    let action = match rule.action {
        Action::Limits => "limits",
        Action::Open => "open",
        Action::Unlimited => "unlimited",
        Action::Exempt => "exempt",
        Action::Deny => "deny",
    };
    json!({
        "rule": &*rule.name,
        "file": &*rule.place.file,
        "line": rule.place.line,
        "action": action,
        "limits": rule.limits().iter().map(|limit| shown_limit(limit, rule.mode)).collect::<Vec<_>>(),
    })
}

/// As it would be written in a rule, in the long form.
fn shown_limit(limit: &RuleLimit, mode: Mode) -> Value {
    let RuleLimit { name, limit: Limit { count, window, algorithm }, .. } = limit;
    let mode = match mode {
        _ if limit.shadow => "shadow",
        Mode::Quota => "quota",
        Mode::Enforce | Mode::Shadow => "enforce",
    };
    let (word, burst) = match algorithm {
        Algorithm::FixedWindow => ("fixed_window", None),
        Algorithm::SlidingWindow => ("sliding_window", None),
        Algorithm::TokenBucket { burst } => ("token_bucket", Some(burst)),
    };
    let mut answer = json!({"name": &**name, "algorithm": word, "mode": mode});
    if let Some(burst) = burst {
        answer["burst"] = json!(burst);
    }
    match window {
        Window::Length(length) => answer["rate"] = json!(format!("{count}/{}", written(*length))),
        Window::Calendar(calendar) => {
            let unit = match calendar.unit {
                CalendarUnit::Hour => "hour",
                CalendarUnit::Day => "day",
                CalendarUnit::Week => "week",
                CalendarUnit::Month => "month",
                CalendarUnit::Year => "year",
            };
            answer["rate"] = json!(format!("{count}/{unit}"));
            answer["align"] = json!("calendar");
            answer["time_zone"] = json!(calendar.zone.iana_name().unwrap_or("UTC"));
            answer["anchor_day"] = json!(calendar.anchor_day);
        }
    }
    answer
}

/// A window's length in the largest unit that it is a multiple of; windows are whole milliseconds.
fn written(length: Nanos) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let millis = length.0 / 1_000_000;
    match UNITS.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::duration;

    #[test]
    fn a_length_is_written_as_rules_read_it() {
        for (millis, text) in
            [(1, "1ms"), (1_500, "1500ms"), (1_000, "1s"), (60_000, "1m"), (90_000, "90s"), (7_200_000, "2h")]
        {
            let length = Nanos::from_millis(millis);
            assert_eq!((written(length).as_str(), duration(text)), (text, Some(length)));
        }
    }
}
