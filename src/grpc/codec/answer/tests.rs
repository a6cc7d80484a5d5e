//! What is written is what prost reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    grpc::proto::{
        HeaderValue, RateLimitResponse,
        protobuf::{self, value::Kind},
        rate_limit_response::{DescriptorStatus, RateLimit},
    },
    limit::{Algorithm, Limit, Window},
    rules::{NameId, RuleLimit},
    units::{Nanos, Timestamp},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn prost_reads_what_was_written(
        refused: bool,
        statuses in proptest::collection::vec(any_status(), 0..6),
        headers in proptest::collection::vec((".{0,40}", ".{0,300}"), 0..6),
        body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20_000)),
        fields in proptest::collection::btree_map(".{0,40}", any_field(), 0..8),
    ) {
        let mut buffer = b"left by an answer that was abandoned".to_vec();
        let limits: Vec<_> = statuses.iter().map(|status| status.limit.clone()).collect();
        let decision = Decision {
            now: Timestamp::EPOCH,
            domain: None,
            refused,
            statuses: statuses.iter().zip(&limits).map(|(status, limit)| status.decided(limit)).collect(),
            answer: None,
        };
        let mut answer = Answer::to(&decision, &mut buffer);
        for (name, value) in &headers {
            answer.header(name, value.as_bytes());
        }
        if let Some(body) = &body {
            answer.body(body);
        }
        for (name, field) in &fields {
            answer.field(name, field.as_field());
        }

        let expected = RateLimitResponse {
            overall_code: if refused { 2 } else { 1 },
            statuses: statuses.iter().map(AnyStatus::expected).collect(),
            response_headers_to_add: headers
                .into_iter()
                .map(|(key, value)| HeaderValue { key, value, raw_value: Vec::new() })
                .collect(),
            raw_body: body.unwrap_or_default(),
            dynamic_metadata: (!fields.is_empty()).then(|| protobuf::Struct {
                fields: fields.into_iter().map(|(name, field)| (name, field.expected())).collect(),
            }),
            ..RateLimitResponse::default()
        };
        prop_assert_eq!(decoded(&answer.finish()), expected);
    }

    #[test]
    fn varints_are_prosts(value: u64) {
        let (bytes, width) = varint(value);
        let mut prosts = Vec::new();
        prost::encoding::encode_varint(value, &mut prosts);
        prop_assert_eq!(&bytes[..width], &prosts[..]);
    }
}

#[test]
fn a_header_value_that_is_not_utf_8_does_not_make_the_answer_unreadable() {
    let mut buffer = Vec::new();
    let mut answer = Answer::begin(true, &mut buffer);
    answer.header("x-key", b"a\xffb");
    assert_eq!(decoded(&answer.finish()).response_headers_to_add[0].value, "a\u{fffd}b");
}

#[test]
fn the_answer_by_policy_refuses_and_says_no_more() {
    let expected = RateLimitResponse { overall_code: 2, ..RateLimitResponse::default() };
    assert_eq!(decoded(&Answer::over_limit()), expected);
}

#[test]
fn answers_in_turn_share_one_buffer() {
    let mut buffer = Vec::new();
    let first = Answer::begin(true, &mut buffer).finish();
    let second = Answer::begin(false, &mut buffer).finish();
    assert_eq!((decoded(&first).overall_code, decoded(&second).overall_code), (2, 1));
    // One that was large leaves no more behind than a usual one needs many times over.
    let mut large = Answer::begin(true, &mut buffer);
    large.body(&vec![b'x'; 2 * ROOM_KEPT_BYTES]);
    large.finish();
    Answer::begin(true, &mut buffer).finish();
    assert!(buffer.capacity() <= ROOM_KEPT_BYTES);
}

fn decoded(framed: &[u8]) -> RateLimitResponse {
    let (header, message) = framed.split_at(FRAME_HEADER_BYTES);
    assert_eq!(header[0], 0, "not compressed");
    assert_eq!(u32::from_be_bytes(header[1..].try_into().unwrap()) as usize, message.len());
    RateLimitResponse::decode(message).unwrap()
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the status has as many")]
struct AnyStatus {
    refused: bool,
    exposed: bool,
    unlimited: bool,
    has_figure: bool,
    limit: RuleLimit,
    remaining: u64,
    reset_secs: u64,
}

impl AnyStatus {
    fn decided<'p>(&self, limit: &'p RuleLimit) -> Status<'p> {
        let figure = Figure {
            limit,
            used: 7,
            available: 9,
            remaining: self.remaining,
            reset_secs: self.reset_secs,
            length: Nanos::SECOND,
        };
        Status {
            refused: self.refused,
            figure: self.has_figure.then_some(figure),
            exposed: self.exposed,
            unlimited: self.unlimited,
            quota: false,
            met: None,
        }
    }

    fn expected(&self) -> DescriptorStatus {
        let (unit, multiplier) = self.limit.limit.window.in_units();
        let cut = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        DescriptorStatus {
            code: if self.refused { 2 } else { 1 },
            current_limit: (self.has_figure && self.exposed).then(|| RateLimit {
                requests_per_unit: cut(self.limit.limit.capacity()),
                unit: i32::from(unit as u8),
                name: self.limit.written_name.map(|_| self.limit.name.to_string()).unwrap_or_default(),
                unit_multiplier: (multiplier != 1).then(|| cut(multiplier)),
            }),
            limit_remaining: match (self.has_figure, self.unlimited) {
                (true, _) => cut(self.remaining),
                (false, unlimited) => {
                    if unlimited {
                        u32::MAX
                    } else {
                        0
                    }
                }
            },
            duration_until_reset: self
                .has_figure
                .then(|| protobuf::Duration { seconds: i64::try_from(self.reset_secs).unwrap(), nanos: 0 }),
            quota: None,
        }
    }
}

fn any_status() -> impl Strategy<Value = AnyStatus> {
    let window = prop_oneof![
        (1..400_000_000_u64).prop_map(|secs| Window::Length(Nanos::from_secs(secs))),
        (1..10_000_u64).prop_map(|millis| Window::Length(Nanos::from_millis(millis))),
    ];
    let limit =
        (any::<u64>(), window, ".{1,128}", any::<bool>()).prop_map(|(count, window, name, written)| RuleLimit {
            name: name.into(),
            written_name: written.then_some(NameId(0)),
            limit: Limit { count, window, algorithm: Algorithm::FixedWindow },
            shadow: false,
            salt: 0,
        });
    (any::<[bool; 4]>(), limit, any::<u64>(), 0..400_000_000_u64).prop_map(
        |([refused, exposed, unlimited, has_figure], limit, remaining, reset_secs)| AnyStatus {
            refused,
            exposed,
            unlimited,
            has_figure,
            limit,
            remaining,
            reset_secs,
        },
    )
}

#[derive(Clone, Debug)]
enum AnyField {
    Text(String),
    Number(u64),
    Bool(bool),
    Value(Value),
}

impl AnyField {
    fn as_field(&self) -> Field<'_> {
        match self {
            Self::Text(text) => Field::Text(text),
            Self::Number(number) => Field::Number(*number),
            Self::Bool(on) => Field::Bool(*on),
            Self::Value(value) => Field::Value(value),
        }
    }

    fn expected(self) -> protobuf::Value {
        let kind = match self {
            Self::Text(text) => Kind::StringValue(text),
            Self::Number(number) if number <= 9_007_199_254_740_992 => Kind::NumberValue(number as f64),
            Self::Number(number) => Kind::StringValue(number.to_string()),
            Self::Bool(on) => Kind::BoolValue(on),
            Self::Value(value) => return expected(&value),
        };
        protobuf::Value { kind: Some(kind) }
    }
}

fn expected(value: &Value) -> protobuf::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(on) => Kind::BoolValue(*on),
        Value::Number(number) => Kind::NumberValue(*number),
        Value::Text(text) => Kind::StringValue(text.to_string()),
        Value::List(values) => Kind::ListValue(protobuf::ListValue { values: values.iter().map(expected).collect() }),
        Value::Map(entries) => Kind::StructValue(protobuf::Struct {
            fields: entries.iter().map(|(name, value)| (name.to_string(), expected(value))).collect(),
        }),
    };
    protobuf::Value { kind: Some(kind) }
}

fn any_field() -> impl Strategy<Value = AnyField> {
    let edge = prop_oneof![any::<u64>(), (1_u64 << 53) - 2..(1 << 53) + 2, 0..200_u64];
    prop_oneof![
        ".{0,200}".prop_map(AnyField::Text),
        edge.prop_map(AnyField::Number),
        any::<bool>().prop_map(AnyField::Bool),
        any_value().prop_map(AnyField::Value),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-1e300..1e300).prop_map(Value::Number),
        ".{0,60}".prop_map(|text: String| Value::Text(text.into())),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|values| Value::List(values.into())),
            proptest::collection::btree_map(".{0,20}", inner, 0..6).prop_map(|map: BTreeMap<String, Value>| {
                Value::Map(map.into_iter().map(|(name, value)| (name.into_boxed_str(), value)).collect())
            }),
        ]
    })
}
