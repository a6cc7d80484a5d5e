//! The request in the metadata of its answer, as envoyproxy/ratelimit has it with `RESPONSE_DYNAMIC_METADATA`.
//!
//! | field | is | there |
//! |---|---|---|
//! | `domain` | that of the request, known or not | always |
//! | `descriptors` | for each `entries`, a list of `KEY=VALUE`; `limit`, `hitsAddend` | the last two where the request has them |
//! | `hitsAddend` | the request's | unless it is 0 |
//! | `metadata` | what the rules of the descriptors that pass say under `metadata`, the first word first | unless there is nothing |

use super::{Field, Sink};
use crate::{
    decision::Decision,
    limit::Unit,
    request::{Descriptor, Request, RequestLimit},
    rules::Value,
};

pub(super) fn send(decision: &Decision<'_>, request: &Request<'_>, sink: &mut impl Sink) {
    sink.field("domain", Field::Text(&String::from_utf8_lossy(request.domain)));
    let descriptors = request.descriptors.iter().map(|asked| descriptor(request, asked)).collect();
    sink.field("descriptors", Field::Value(&Value::List(descriptors)));
    if request.hits > 0 {
        sink.field("hitsAddend", Field::Number(request.hits.into()));
    }
    let passing = decision.statuses.iter().filter(|status| !status.refused);
    let said = passing.filter_map(|status| status.met?.metadata.as_deref());
    let mut merged = Vec::new();
    for metadata in said {
        merge(&mut merged, metadata);
    }
    if !merged.is_empty() {
        sink.field("metadata", Field::Value(&Value::Map(merged.into())));
    }
}

fn descriptor(request: &Request<'_>, asked: &Descriptor) -> Value {
    let lossy = String::from_utf8_lossy;
    let entries = request.entries_of(asked).iter();
    let entries = entries.map(|entry| text(format!("{}={}", lossy(entry.key), lossy(entry.value))));
    let mut fields = vec![("entries".into(), Value::List(entries.collect()))];
    fields.extend(asked.limit.map(|limit| ("limit".into(), text(limit_text(&limit)))));
    #[expect(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
    fields.extend(asked.hits.map(|hits| ("hitsAddend".into(), Value::Number(hits as f64))));
    Value::Map(fields.into())
}

fn text(text: String) -> Value {
    Value::Text(text.into())
}

/// As protobuf's text format has it.
fn limit_text(limit: &RequestLimit) -> String {
    let unit = Unit::numbered(limit.unit).map_or_else(|| limit.unit.to_string(), |unit| unit.name().to_owned());
    format!("requests_per_unit:{} unit:{unit}", limit.requests_per_unit)
}

/// Adds what is not there yet; of two maps at one name, each of their names.
fn merge(merged: &mut Vec<(Box<str>, Value)>, more: &Value) {
    let Value::Map(pairs) = more else { return };
    for (name, value) in pairs {
        match merged.iter_mut().find(|(known, _)| known == name) {
            None => merged.push((name.clone(), value.clone())),
            Some((_, there)) => {
                if let (Value::Map(inner), Value::Map(_)) = (&mut *there, value) {
                    let mut inner = std::mem::take(inner).into_vec();
                    merge(&mut inner, value);
                    *there = Value::Map(inner.into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
        Value::Map(pairs.map(|(name, value)| (name.into(), value)).into())
    }

    #[test]
    fn of_two_words_the_first_counts_and_maps_are_added_up() {
        let first = map([("a", Value::Number(1.0)), ("m", map([("x", Value::Bool(true))]))]);
        let second = map([
            ("a", Value::Number(2.0)),
            ("m", map([("x", Value::Null), ("y", Value::Bool(false))])),
            ("b", Value::Null),
        ]);
        let mut merged = Vec::new();
        merge(&mut merged, &first);
        merge(&mut merged, &second);
        let both = map([("x", Value::Bool(true)), ("y", Value::Bool(false))]);
        assert_eq!(Value::Map(merged.into()), map([("a", Value::Number(1.0)), ("m", both), ("b", Value::Null)]));
        // What the rules say stays as it is.
        assert_eq!(first, map([("a", Value::Number(1.0)), ("m", map([("x", Value::Bool(true))]))]));
    }

    #[test]
    fn a_limit_is_told_as_protobuf_writes_it() {
        let limit = |unit| RequestLimit { requests_per_unit: 5, unit, unit_multiplier: None };
        assert_eq!(limit_text(&limit(3)), "requests_per_unit:5 unit:HOUR");
        assert_eq!(limit_text(&limit(-7)), "requests_per_unit:5 unit:-7");
    }
}
