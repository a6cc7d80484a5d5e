//! What is told of decisions, in the words of OpenTelemetry: its messages, and its [conventions](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/)
//! for spans of calls. What is ours is named `tallygate.…`.

use super::{
    Service,
    proto::{
        AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span,
        SpanFlags, Status, any_value::Value, span::SpanKind, status::StatusCode,
    },
    span::{Decided, Door, Fate, Record},
};
use crate::units::Nanos;

const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
const METHOD: &str = "ShouldRateLimit";

/// Who we are.
pub(super) fn resource(service: &Service, instance: &str) -> Resource {
    let mut attributes = vec![
        text("service.name", &service.name),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", service.instance.as_deref().unwrap_or(instance)),
    ];
    attributes.extend(service.namespace.as_ref().map(|namespace| text("service.namespace", namespace)));
    Resource { attributes }
}

/// What is sent of a batch.
pub(super) fn request(resource: &Resource, batch: &[Record]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: "tallygate".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = batch.iter().flat_map(|record| [Some(decision(record)), charge(record)]).flatten().collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
}

/// The decision as a span.
fn decision(record: &Record) -> Span {
    let mut attributes = vec![number("tallygate.descriptors", record.descriptors as u64)];
    let name = match record.door {
        Door::Grpc => {
            attributes.extend([
                text("rpc.system", "grpc"),
                text("rpc.service", SERVICE),
                text("rpc.method", METHOD),
                number("rpc.grpc.status_code", grpc_status(&record.fate)),
            ]);
            format!("{SERVICE}/{METHOD}")
        }
        Door::Json => {
            attributes.push(text("http.route", "/json"));
            "/json".to_owned()
        }
    };
    if let Fate::Decided(Decided { generation, domain, rule, limit, outcome, source }) = &record.fate {
        attributes.extend([
            text("tallygate.domain", domain),
            text("tallygate.outcome", outcome),
            text("tallygate.source", source),
            number("tallygate.generation", *generation),
        ]);
        attributes.extend(rule.iter().map(|rule| text("tallygate.rule", rule)));
        attributes.extend(limit.iter().map(|limit| text("tallygate.limit", limit)));
    }
    let remote = SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;
    Span {
        span_id: record.span.0.to_vec(),
        parent_span_id: record.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name,
        kind: SpanKind::Server.into(),
        attributes,
        status: error(match &record.fate {
            Fate::Decided(_) => None,
            Fate::NoRules => Some("no rules were ever loaded"),
            Fate::Panicked => Some("deciding panicked"),
            Fate::GivenUp => Some("nobody waited for the answer any more"),
        }),
        flags: SAMPLED | remote,
        ..within(record, Nanos::ZERO, record.took)
    }
}

/// Its charge as a span within it, where it came so far.
fn charge(record: &Record) -> Option<Span> {
    let began = record.charge_began?;
    let source = match &record.fate {
        Fate::Decided(decided) => Some(decided.source),
        _ => None,
    };
    // A store beyond this process is somebody else.
    let kind = if source == Some("memory") { SpanKind::Internal } else { SpanKind::Client };
    let away = "the store is away: the rules' `on_store_error` decided";
    Some(Span {
        span_id: record.charge_span.0.to_vec(),
        parent_span_id: record.span.0.to_vec(),
        name: "charge".to_owned(),
        kind: kind.into(),
        attributes: source.into_iter().map(|source| text("tallygate.source", source)).collect(),
        status: match (record.charge_ended, source) {
            (None, _) => error(Some("it did not end")),
            (Some(_), Some("local")) => error(Some(away)),
            (Some(_), _) => None,
        },
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        ..within(record, began, record.charge_ended.unwrap_or(record.took))
    })
}

/// The flag of `traceparent`.
const SAMPLED: u32 = 1;

/// A span of the same trace from one moment to another, counted from the decision's beginning.
fn within(record: &Record, from: Nanos, to: Nanos) -> Span {
    Span {
        trace_id: record.trace.0.to_vec(),
        start_time_unix_nano: record.began.plus(from).0,
        end_time_unix_nano: record.began.plus(to).0,
        ..Span::default()
    }
}

/// As `google.rpc.Code` numbers them. A panic is answered by policy.
fn grpc_status(fate: &Fate) -> u64 {
    match fate {
        Fate::Decided(_) | Fate::Panicked => tonic::Code::Ok as u64,
        Fate::NoRules => tonic::Code::Unavailable as u64,
        Fate::GivenUp => tonic::Code::Cancelled as u64,
    }
}

fn error(why: Option<&str>) -> Option<Status> {
    why.map(|why| Status { message: why.to_owned(), code: StatusCode::Error.into() })
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::bounds::SPANS_PER_BATCH;

    /// What [`SPANS_PER_BATCH`] relies on: gRPC's default for what is received, which collectors have.
    const TAKEN_MAX_BYTES: usize = 4 << 20;

    #[test]
    fn a_full_message_is_one_that_collectors_take_whatever_rules_are_called() {
        let name = |length| "n".repeat(length).into_boxed_str();
        let bytes = |length: usize| {
            let decided = || Decided { rule: Some(name(length)), limit: Some(name(length)), ..Decided::default() };
            let record = || Record {
                fate: Fate::Decided(Decided { domain: name(length), ..decided() }),
                charge_began: Some(Nanos(1)),
                charge_ended: Some(Nanos(2)),
                ..Record::default()
            };
            let batch: Vec<Record> = (0..SPANS_PER_BATCH).map(|_| record()).collect();
            request(&resource(&Service::default(), "one"), &batch).encoded_len()
        };
        let (usual, long) = (bytes(12), bytes(1_000));
        println!("{usual} bytes, with long names {long}; in the queue {} bytes each", size_of::<Record>());
        assert!(usual < TAKEN_MAX_BYTES / 10 && long < TAKEN_MAX_BYTES, "{usual} {long}");
    }
}
