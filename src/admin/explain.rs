//! `POST /v1/explain`: which rules decide a request and why, how their windows stand, and what would be answered.
//! Charges nothing.

use axum::{Json, extract::State};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{
    Admin,
    audit::Answer,
    error::Error,
    fields::{Fields, kind},
    target::{OwnedEntry, descriptor, take_domain, take_entries},
    usage::shown_window,
};
use crate::{
    bounds::EXPLAIN_DESCRIPTORS_MAX,
    explain::{By, Explained, Told, explain as explain_request},
    render::{Collected, collect::CollectedField},
    request::Entry,
    rules::{
        self, Action, Rule, Rules,
        explain::{Considered, Differs, End, Outcome, Step},
        level::candidates::Way,
    },
    spelling::nearest,
};

/// The walk of every descriptor through the levels, its windows, and the answer.
///
/// An unknown domain is no error: that nobody knows it is the explanation.
///
/// # Errors
///
/// What is wrong with the body.
pub async fn explain(State(admin): State<Admin>, mut asked: Fields) -> Answer {
    let question = Question::take(&mut asked)?;
    asked.end()?;
    let generation = admin.generation()?;
    let orders = generation.orders_of(question.domain.as_bytes());
    let by = By { rules: &generation.rules, orders, responses: &generation.responses };
    let (store, key, now) = (&admin.store, &admin.hash_key, admin.clock.now());
    let explained = explain_request(by, store, key, now, &question.domain, &question.descriptors()).await;
    Ok(Json(shown(&question, by.rules, &explained)))
}

/// A request as it is asked about, checked for its shape alone.
#[derive(Clone)]
pub struct Question {
    pub domain: String,
    /// Each of at least one entry. At least one, at most [`EXPLAIN_DESCRIPTORS_MAX`].
    descriptors: Vec<Vec<OwnedEntry>>,
}

/// Values may be secrets, and what can be printed is printed some day.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Question {
    /// Takes `domain` and `descriptors` out of a body.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, by its name.
    pub fn take(fields: &mut Fields) -> Result<Self, Error> {
        let domain = take_domain(fields)?;
        let list = fields.list("descriptors")?;
        if list.is_empty() {
            return Err(Error::bad("`descriptors` is empty: expected at least one descriptor"));
        }
        if list.len() > EXPLAIN_DESCRIPTORS_MAX {
            let count = list.len();
            return Err(Error::bad(format!(
                "`descriptors` has {count} descriptors: at most {EXPLAIN_DESCRIPTORS_MAX}"
            )));
        }
        let take = |(index, value): (usize, Value)| match value {
            Value::Array(entries) => take_entries(&format!("descriptors[{index}]"), entries),
            other => Err(Error::bad(format!("`descriptors[{index}]` is {}: expected a list", kind(&other)))),
        };
        let descriptors = list.into_iter().enumerate().map(take).collect::<Result<_, _>>()?;
        Ok(Self { domain, descriptors })
    }

    /// The descriptors as the core takes them.
    pub fn descriptors(&self) -> Vec<Vec<Entry<'_>>> {
        let descriptors = self.descriptors.iter();
        descriptors.map(|list| list.iter().map(|(key, value)| Entry { key, value }).collect()).collect()
    }
}

/// The whole explanation.
pub fn shown(question: &Question, rules: &Rules, explained: &Explained<'_>) -> Value {
    let known = rules.domains.contains_key(question.domain.as_bytes());
    let near = || nearest(&question.domain, rules.domains.values().map(|domain| &*domain.name));
    let descriptors = question.descriptors.iter().zip(&explained.descriptors);
    json!({
        "domain": question.domain,
        "domain_known": known,
        "domain_suggestion": if known { None } else { near() },
        "descriptors": descriptors.map(|(asked, told)| shown_descriptor(asked, told)).collect::<Vec<_>>(),
        "answer": shown_answer(explained.refused, &explained.answer),
    })
}

fn shown_descriptor(asked: &[OwnedEntry], told: &Told<'_>) -> Value {
    let steps = told.walk.iter().flat_map(|walk| &walk.steps).zip(asked);
    let matched = told.walk.as_ref().and_then(rules::explain::Walk::matched);
    let mode = matched.map(|rule| rule.mode).unwrap_or_default();
    let gap = match told.walk.as_ref().map(|walk| &walk.end) {
        Some(End::Unmatched(gap)) => json!({
            "differs": differs(&gap.differs),
            "level": gap.level,
            "why": gap.differs.to_string(),
            "nearest": gap.nearest.map(shown_rule),
        }),
        None => json!({"differs": "domain", "level": 0, "why": "no rule file names the domain", "nearest": null}),
        Some(End::Matched(_)) => Value::Null,
    };
    json!({
        "descriptor": descriptor(asked.iter().map(|(key, value)| (&**key, &**value))),
        "code": code(told.refused),
        "rule": matched.map(shown_rule),
        "does": matched.map(|rule| does(rule.action)),
        "leads_on": told.walk.as_ref().map(rules::explain::Walk::leads_on).unwrap_or_default(),
        "unmatched": gap,
        "overridden": told.overridden,
        "blocked": told.blocked_secs.map(|secs| json!({"retry_after": secs})),
        "windows": told.windows.iter().map(|window| shown_window(window, mode)).collect::<Vec<_>>(),
        "levels": steps.map(|(step, (key, _))| shown_step(step, key)).collect::<Vec<_>>(),
    })
}

fn shown_step(step: &Step<'_>, key: &[u8]) -> Value {
    json!({
        "key": String::from_utf8_lossy(key),
        "rules": step.rules.iter().map(shown_considered).collect::<Vec<_>>(),
        "more": step.more,
    })
}

fn shown_considered(considered: &Considered<'_>) -> Value {
    let mut shown = shown_rule(considered.rule);
    shown["matches"] = json!(match considered.way {
        Way::Value => "value",
        Way::Path => "path",
        Way::Network => "cidr",
        Way::Wildcard => "wildcard",
        Way::Regex => "regex",
        Way::Any => "any",
    });
    shown["outcome"] = json!(match considered.outcome {
        Outcome::Won => "won",
        Outcome::Behind => "behind",
        Outcome::Differs => "differs",
    });
    shown
}

/// A rule by its name, and where it stands. Not by what it matches: configured values may be secrets.
fn shown_rule(rule: &Rule) -> Value {
    json!({"name": &*rule.name, "file": &*rule.place.file, "line": rule.place.line})
}

const fn does(action: Action) -> &'static str {
    match action {
        Action::Limits => "limits",
        Action::Open => "nothing",
        Action::Unlimited => "unlimited",
        Action::Exempt => "exempt",
        Action::Deny => "deny",
    }
}

const fn differs(differs: &Differs) -> &'static str {
    match differs {
        Differs::Nothing | Differs::Depth { .. } => "depth",
        Differs::Key { .. } => "key",
        Differs::Order { .. } => "order",
        Differs::Value { .. } => "value",
        Differs::Hidden { .. } => "hidden",
    }
}

const fn code(refused: bool) -> &'static str {
    if refused { "OVER_LIMIT" } else { "OK" }
}

fn shown_answer(refused: bool, answer: &Collected) -> Value {
    let headers = answer.headers.iter();
    let headers = headers.map(|(name, value)| json!({"name": name, "value": String::from_utf8_lossy(value)}));
    let fields = answer.fields.iter().map(|(name, field)| (name.clone(), shown_field(field)));
    let mut shown = json!({
        "code": code(refused),
        "headers": headers.collect::<Vec<_>>(),
        "body": null,
        "metadata": fields.collect::<Map<_, _>>(),
    });
    if let Some(body) = &answer.body {
        match str::from_utf8(body) {
            Ok(text) => shown["body"] = json!(text),
            Err(_) => shown["body_base64"] = json!(BASE64_STANDARD.encode(body)),
        }
    }
    shown
}

fn shown_field(field: &CollectedField) -> Value {
    match field {
        CollectedField::Text(text) => json!(text),
        CollectedField::Number(number) => json!(number),
        CollectedField::Bool(bool) => json!(bool),
        CollectedField::Value(value) => shown_metadata(value),
    }
}

/// What the rule says under `metadata`.
fn shown_metadata(value: &rules::Value) -> Value {
    match value {
        rules::Value::Null => Value::Null,
        rules::Value::Bool(bool) => json!(bool),
        rules::Value::Number(number) => json!(number),
        rules::Value::Text(text) => json!(text),
        rules::Value::List(list) => list.iter().map(shown_metadata).collect(),
        rules::Value::Map(map) => {
            map.iter().map(|(key, value)| (key.to_string(), shown_metadata(value))).collect::<Map<_, _>>().into()
        }
    }
}
