//! Dynamic metadata: what access logs and other filters read. Operators see it, clients do not, so `expose` hides
//! nothing here.
//!
//! | field | is | there |
//! |---|---|---|
//! | `domain` | its name | where rules know it |
//! | `rule` | the name of the rule that decides the answer | where one does |
//! | `limit`, `window`, `remaining`, `reset` | its reported window | unless it has none |
//! | `retry_after` | seconds | on a refusal where waiting helps |
//! | `mode` | `enforce`, `shadow`, `quota` | with `rule` |
//! | `store` | where the counters live | always |
//! | `never` | true | where this request can never pass |
//! | `blocked` | true | where a block that stood already refuses, whatever is left of the window |
//! | `metadata` | what the rule says under `metadata` | where it does |

use super::{Field, Sink, facts};
use crate::{
    decision::{Answer, Decision},
    rules::Mode,
};

/// `of_rule`: with what the rule that answers says under `metadata`, and with the domain; someone else tells both otherwise.
pub(super) fn send(decision: &Decision<'_>, store: &str, of_rule: bool, sink: &mut impl Sink) {
    if of_rule && let Some(domain) = decision.domain {
        sink.field("domain", Field::Text(&domain.name));
    }
    if let Some(answer) = &decision.answer {
        send_answer(answer, decision.domain.is_some_and(|domain| domain.shadow), sink);
    }
    sink.field("store", Field::Text(store));
    if let Some(answer) = &decision.answer {
        if answer.never {
            sink.field("never", Field::Bool(true));
        }
        if answer.blocked {
            sink.field("blocked", Field::Bool(true));
        }
        if of_rule && let Some(metadata) = &answer.rule.metadata {
            sink.field("metadata", Field::Value(metadata));
        }
    }
}

fn send_answer(answer: &Answer<'_>, all_shadow: bool, sink: &mut impl Sink) {
    sink.field("rule", Field::Text(&answer.rule.name));
    if let Some(figure) = answer.figure() {
        sink.field("limit", Field::Number(facts::limit(figure)));
        sink.field("window", Field::Text(&figure.limit.name));
        sink.field("remaining", Field::Number(figure.remaining));
        sink.field("reset", Field::Number(figure.reset_secs));
    }
    if let Some(secs) = answer.retry_after_secs {
        sink.field("retry_after", Field::Number(secs));
    }
    sink.field("mode", Field::Text(mode(answer, all_shadow)));
}

/// That of the reported window: rules that enforce may have shadow limits, and the other way round.
fn mode(answer: &Answer<'_>, all_shadow: bool) -> &'static str {
    let shadow = all_shadow || answer.figure().is_some_and(|figure| figure.limit.shadow);
    match answer.rule.mode {
        _ if shadow => "shadow",
        Mode::Quota => "quota",
        Mode::Enforce | Mode::Shadow => "enforce",
    }
}
