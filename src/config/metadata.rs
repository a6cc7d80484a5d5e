//! `metadata`: what YAML can say, for access logs and other filters.

use super::{
    report::Report,
    yaml::{Content, Node, Scalar},
};
use crate::rules::Value;

/// A rule's `metadata`; null where it is no map.
pub(super) fn value(node: &Node<'_>, report: &mut Report) -> Option<Value> {
    if !matches!(node.content, Content::Map(_)) {
        report.error(node.spot, format!("`metadata` is a map, this is {}", node.kind()));
        return None;
    }
    Some(converted(node))
}

/// The tree is at most [`YAML_DEPTH_MAX`](crate::bounds::YAML_DEPTH_MAX) deep, and so is this recursion.
fn converted(node: &Node<'_>) -> Value {
    match &node.content {
        Content::Scalar(scalar) => single(scalar),
        Content::List(nodes) => Value::List(nodes.iter().map(converted).collect()),
        Content::Map(pairs) => {
            Value::Map(pairs.iter().map(|pair| (Box::from(&*pair.key), converted(&pair.value))).collect())
        }
    }
}

fn single(scalar: &Scalar<'_>) -> Value {
    if scalar.is_null() {
        Value::Null
    } else if let Some(boolean) = scalar.boolean() {
        Value::Bool(boolean)
    } else if let Some(number) = scalar.number() {
        Value::Number(number)
    } else {
        Value::Text(Box::from(&*scalar.text))
    }
}
