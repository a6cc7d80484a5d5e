//! Our messages against the official ones: what we write, Envoy's own protocol files read, and the other way round.

#![cfg(feature = "serve")]

use envoy_types::pb::{
    envoy::{
        config::core::v3 as their_core,
        extensions::common::ratelimit::v3 as their_descriptors,
        service::ratelimit::v3::{self as theirs, rate_limit_response as their_answer},
        r#type::v3::RateLimitUnit as TheirUnit,
    },
    google::protobuf as their_well_known,
};
use prost::Message as _;
use tallygate::{
    decision::{Decision, Figure, Status},
    grpc::{
        codec::{Answer, FRAME_HEADER_BYTES, receive},
        proto,
    },
    limit::{Algorithm, Limit, Window},
    render::{Field, Sink as _},
    request::RequestLimit,
    rules::{NameId, RuleLimit, Value},
    units::{Nanos, Timestamp},
};

#[test]
fn a_question_in_the_official_words_is_received_in_ours() {
    let bytes = their_question().encode_to_vec();

    let request = receive(&bytes).unwrap();
    assert_eq!((request.domain, request.hits), (&b"shop"[..], 3));
    let descriptor = &request.descriptors[0];
    let limit = RequestLimit { requests_per_unit: 42, unit: TheirUnit::Month as i32, unit_multiplier: None };
    assert_eq!((descriptor.limit, descriptor.hits, descriptor.gives_back), (Some(limit), Some(0), true));
    let entries: Vec<_> = request.entries_of(descriptor).iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(entries, [(&b"api_key"[..], &b"acme"[..]), (b"path", b"/v1")]);

    assert_eq!(proto::RateLimitRequest::decode(&bytes[..]).unwrap(), our_question());
}

#[test]
fn a_question_in_our_words_is_the_same_bytes_as_in_the_official_ones() {
    assert_eq!(our_question().encode_to_vec(), their_question().encode_to_vec());
}

#[test]
fn an_answer_in_our_words_is_read_in_the_official_ones() {
    let limit = RuleLimit {
        name: "per-minute".into(),
        written_name: Some(NameId(0)),
        limit: Limit { count: 120, window: Window::Length(Nanos::from_secs(60)), algorithm: Algorithm::FixedWindow },
        shadow: false,
        salt: 0,
    };
    let figure =
        Figure { limit: &limit, used: 120, available: 0, remaining: 0, reset_secs: 32, length: Nanos::from_secs(60) };
    let decision = Decision {
        now: Timestamp::EPOCH,
        domain: None,
        refused: true,
        statuses: [Status {
            refused: true,
            figure: Some(figure),
            exposed: true,
            unlimited: false,
            quota: false,
            met: None,
        }]
        .into_iter()
        .collect(),
        answer: None,
    };
    let mut buffer = Vec::new();
    let mut answer = Answer::to(&decision, &mut buffer);
    answer.header("retry-after", b"32");
    answer.body(b"{}");
    answer.field("limit", Field::Number(120));
    answer.field("tiers", Field::Value(&Value::List([Value::Null, Value::Bool(true)].into())));
    let framed = answer.finish();

    let read = theirs::RateLimitResponse::decode(&framed[FRAME_HEADER_BYTES..]).unwrap();
    let value = |kind| their_well_known::Value { kind: Some(kind) };
    let expected = theirs::RateLimitResponse {
        overall_code: their_answer::Code::OverLimit as i32,
        statuses: vec![their_answer::DescriptorStatus {
            code: their_answer::Code::OverLimit as i32,
            current_limit: Some(their_answer::RateLimit {
                name: "per-minute".to_owned(),
                requests_per_unit: 120,
                unit: their_answer::rate_limit::Unit::Minute as i32,
            }),
            limit_remaining: 0,
            duration_until_reset: Some(their_well_known::Duration { seconds: 32, nanos: 0 }),
            quota: None,
        }],
        response_headers_to_add: vec![their_core::HeaderValue {
            key: "retry-after".to_owned(),
            value: "32".to_owned(),
            raw_value: Vec::new(),
        }],
        raw_body: b"{}".to_vec(),
        dynamic_metadata: Some(their_well_known::Struct {
            fields: [
                ("limit".to_owned(), value(their_well_known::value::Kind::NumberValue(120.0))),
                (
                    "tiers".to_owned(),
                    value(their_well_known::value::Kind::ListValue(their_well_known::ListValue {
                        values: vec![
                            value(their_well_known::value::Kind::NullValue(0)),
                            value(their_well_known::value::Kind::BoolValue(true)),
                        ],
                    })),
                ),
            ]
            .into(),
        }),
        ..theirs::RateLimitResponse::default()
    };
    assert_eq!(read, expected);
}

fn their_question() -> theirs::RateLimitRequest {
    let entry = |key: &str, value: &str| their_descriptors::rate_limit_descriptor::Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    theirs::RateLimitRequest {
        domain: "shop".to_owned(),
        descriptors: vec![their_descriptors::RateLimitDescriptor {
            entries: vec![entry("api_key", "acme"), entry("path", "/v1")],
            limit: Some(their_descriptors::rate_limit_descriptor::RateLimitOverride {
                requests_per_unit: 42,
                unit: TheirUnit::Month as i32,
            }),
            hits_addend: Some(their_well_known::UInt64Value { value: 0 }),
            is_negative_hits: true,
        }],
        hits_addend: 3,
    }
}

fn our_question() -> proto::RateLimitRequest {
    let entry = |key: &str, value: &str| proto::rate_limit_descriptor::Entry { key: key.into(), value: value.into() };
    proto::RateLimitRequest {
        domain: b"shop".to_vec(),
        descriptors: vec![proto::RateLimitDescriptor {
            entries: vec![entry("api_key", "acme"), entry("path", "/v1")],
            limit: Some(proto::rate_limit_descriptor::RateLimitOverride {
                requests_per_unit: 42,
                unit: proto::RateLimitUnit::Month as i32,
                unit_multiplier: None,
            }),
            hits_addend: Some(0),
            is_negative_hits: true,
        }],
        hits_addend: 3,
    }
}
