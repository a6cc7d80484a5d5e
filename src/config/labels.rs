//! The labels that a rule has in the metrics of envoyproxy/ratelimit's names.

use super::{
    matching::{Kind, Matching},
    rule::Draft,
};
use crate::{
    rules::Counted,
    telemetry::compat::label::{LevelLabel, RuleLabels, Shows},
};

/// Those of the rule with these `levels`, outermost first, of which each is counted so.
pub(super) fn of(levels: &[&Draft], counted: &[Counted]) -> RuleLabels {
    let is_shared = |counted: &Counted| matches!(counted, Counted::Shared(_));
    let detailed = levels.last().is_some_and(|rule| rule.settings.detailed_metric == Some(true));
    // That service writes details by the counter's name where one is shared, which has no `_` for an empty value.
    let details = if counted.iter().any(is_shared) { Shows::Value } else { Shows::ValueEvenIfEmpty };
    let label = |(level, counted): (&&Draft, &Counted)| {
        let shows = match level.matching.kind {
            // What all values share is shown as what they share.
            _ if is_shared(counted) => Shows::Nothing,
            _ if detailed => details,
            // It is always the same one, and stands in the text.
            Kind::Value => Shows::Nothing,
            _ if level.settings.value_to_metric == Some(true) => Shows::Value,
            _ => Shows::Nothing,
        };
        LevelLabel::new(&text(&level.key, &level.matching), shows)
    };
    RuleLabels::new(levels.iter().zip(counted).map(label))
}

/// Those of limits that come with requests and match no rule, as far as the values of those are not shown.
pub(super) fn of_request_limits(name: &str) -> RuleLabels {
    RuleLabels::new([LevelLabel::new(name, Shows::Nothing)])
}

/// `key`, or `key_` and what it matches; lists are too long.
fn text(key: &str, matching: &Matching) -> String {
    let matches = match matching.kind {
        Kind::Any | Kind::Values => None,
        Kind::Value | Kind::Wildcard | Kind::Path | Kind::Regex => matching.identity.split_once(':'),
        Kind::Networks => matching.identity.split_once(':').filter(|(kind, _)| *kind == "cidr"),
    };
    match matches {
        Some((_, text)) => format!("{key}_{text}"),
        None => key.to_owned(),
    }
}
