//! What differs between two answers to the same request.

use std::collections::BTreeMap;

use super::Answer;
use crate::grpc::proto::{
    HeaderValue, RateLimitResponse,
    protobuf::{Struct, Value, value::Kind},
    rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
};

/// What is compared, by the names that the command line has for it.
pub const FIELDS: &[(&str, Read)] = &[
    ("code", |answer, told| told.say("code", code(answer.overall_code))),
    ("statuses", |answer, told| told.say("number of statuses", answer.statuses.len().to_string())),
    ("status", |answer, told| told.each(answer, "code", |status| code(status.code))),
    ("limit", |answer, told| told.each(answer, "limit", |status| limit(status.current_limit.as_ref()))),
    ("name", |answer, told| {
        told.each(answer, "name", |status| {
            status.current_limit.as_ref().map_or_else(String::new, |it| it.name.clone())
        });
    }),
    ("remaining", |answer, told| told.each(answer, "remaining", |status| status.limit_remaining.to_string())),
    ("reset", |answer, told| told.each(answer, "reset", |status| reset(status).map_or_else(none, |it| it.to_string()))),
    ("headers", |answer, told| told.headers("response header", &answer.response_headers_to_add)),
    ("request_headers", |answer, told| told.headers("request header", &answer.request_headers_to_add)),
    ("body", |answer, told| told.say("body", String::from_utf8_lossy(&answer.raw_body).into_owned())),
    ("metadata", |answer, told| told.metadata(answer.dynamic_metadata.as_ref())),
];

/// Tells one field of an answer.
pub type Read = fn(&RateLimitResponse, &mut Told);

/// Services that look at their clocks at different moments may differ by so many seconds.
const CLOCKS_SECS: u64 = 1;

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field of [`FIELDS`]; `answer` where only one of them answered.
    pub field: &'static str,
    /// What of it.
    pub what: String,
    pub ours: String,
    pub theirs: String,
}

/// How two answers compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub differences: Vec<Difference>,
    /// A window ended about when they were asked: one may have counted in it, the other in the next.
    pub at_edge: bool,
}

/// What one answer says, each thing under its name.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<String, String>);

/// Compares the chosen fields.
pub fn compare(ours: &Answer, theirs: &Answer, is_chosen: impl Fn(&str) -> bool) -> Compared {
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(ours), Err(theirs)) if ours == theirs => return Compared::default(),
        (ours, theirs) => {
            let [ours, theirs] = [ours, theirs].map(|answer| match answer {
                Ok(answer) => code(answer.overall_code),
                Err(error) => error.clone(),
            });
            let difference = Difference { field: "answer", what: "answer".to_owned(), ours, theirs };
            return Compared { differences: vec![difference], at_edge: false };
        }
    };
    let mut differences = Vec::new();
    for &(field, read) in FIELDS.iter().filter(|(field, _)| is_chosen(field)) {
        let [ours, theirs] = [ours, theirs].map(|answer| {
            let mut told = Told::default();
            read(answer, &mut told);
            told.0
        });
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for what in names {
            let [ours, theirs] = [&ours, &theirs].map(|told| told.get(what).cloned().unwrap_or_else(none));
            if !is_same(what, &ours, &theirs) {
                differences.push(Difference { field, what: what.clone(), ours, theirs });
            }
        }
    }
    Compared { differences, at_edge: is_at_edge(ours, theirs) }
}

/// Whether two texts say the same; times, but for what passes between two looks at a clock.
fn is_same(what: &str, ours: &str, theirs: &str) -> bool {
    let is_time = ["reset", "retry-after", "retry_after"].iter().any(|word| what.ends_with(word));
    let secs = |text: &str| text.parse::<f64>().ok();
    match (secs(ours), secs(theirs)) {
        (Some(ours), Some(theirs)) if is_time => (ours - theirs).abs() <= CLOCKS_SECS as f64,
        _ => ours == theirs,
    }
}

fn is_at_edge(ours: &RateLimitResponse, theirs: &RateLimitResponse) -> bool {
    let mut pairs = ours.statuses.iter().map(reset).zip(theirs.statuses.iter().map(reset));
    pairs.any(|pair| match pair {
        (Some(ours), Some(theirs)) => ours.min(theirs) <= CLOCKS_SECS && ours.max(theirs) > CLOCKS_SECS,
        _ => false,
    })
}

impl Told {
    fn say(&mut self, what: &str, text: String) {
        self.0.insert(what.to_owned(), text);
    }

    fn each(&mut self, answer: &RateLimitResponse, what: &str, text: impl Fn(&DescriptorStatus) -> String) {
        for (place, status) in answer.statuses.iter().enumerate() {
            self.0.insert(format!("statuses[{place}].{what}"), text(status));
        }
    }

    /// Names of headers mean the same in capitals; of several with one name the order counts.
    fn headers(&mut self, kind: &str, headers: &[HeaderValue]) {
        for header in headers {
            let raw = String::from_utf8_lossy(&header.raw_value);
            let value = if header.value.is_empty() { &*raw } else { &*header.value };
            let told = self.0.entry(format!("{kind} {}", header.key.to_lowercase())).or_default();
            if !told.is_empty() {
                told.push_str(", ");
            }
            told.push_str(value);
        }
    }

    fn metadata(&mut self, metadata: Option<&Struct>) {
        for (name, value) in metadata.iter().flat_map(|metadata| &metadata.fields) {
            self.0.insert(format!("metadata {name}"), json(value).to_string());
        }
    }
}

fn none() -> String {
    "none".to_owned()
}

/// The name of a code.
pub fn code(code: i32) -> String {
    Code::try_from(code).map_or_else(|_| code.to_string(), |code| code.as_str_name().to_owned())
}

/// A limit in a few letters.
pub fn limit(limit: Option<&RateLimit>) -> String {
    limit.map_or_else(none, |limit| {
        let unit = Unit::try_from(limit.unit).map_or_else(|_| limit.unit.to_string(), |unit| unit.as_str_name().into());
        let many = limit.unit_multiplier.filter(|&many| many != 1).map(|many| format!("{many}*")).unwrap_or_default();
        format!("{}/{many}{unit}", limit.requests_per_unit)
    })
}

/// How long until the window of a status is over, in whole seconds.
pub fn reset(status: &DescriptorStatus) -> Option<u64> {
    status.duration_until_reset.as_ref().and_then(|duration| u64::try_from(duration.seconds).ok())
}

/// Metadata as JSON.
pub fn metadata(metadata: &Struct) -> serde_json::Value {
    metadata.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect::<serde_json::Map<_, _>>().into()
}

fn json(value: &Value) -> serde_json::Value {
    match value.kind.as_ref() {
        Some(Kind::NumberValue(number)) => serde_json::json!(number),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(boolean)) => (*boolean).into(),
        Some(Kind::StructValue(inner)) => metadata(inner),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect::<Vec<_>>().into(),
        Some(Kind::NullValue(_)) | None => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::protobuf::Duration;

    fn answer() -> RateLimitResponse {
        let current_limit = Some(RateLimit { requests_per_unit: 5, unit: Unit::Minute.into(), ..RateLimit::default() });
        let duration_until_reset = Some(Duration { seconds: 30, nanos: 0 });
        let status = DescriptorStatus {
            code: Code::Ok.into(),
            current_limit,
            limit_remaining: 4,
            duration_until_reset,
            ..DescriptorStatus::default()
        };
        let header =
            |key: &str, value: &str| HeaderValue { key: key.into(), value: value.into(), ..HeaderValue::default() };
        RateLimitResponse {
            overall_code: Code::Ok.into(),
            statuses: vec![status],
            response_headers_to_add: vec![header("RateLimit-Limit", "5"), header("RateLimit-Reset", "30")],
            raw_body: b"body".to_vec(),
            ..RateLimitResponse::default()
        }
    }

    fn told(ours: &Answer, theirs: &Answer) -> Vec<String> {
        let compared = compare(ours, theirs, |_| true);
        compared.differences.iter().map(|it| format!("{}: {}: {} {}", it.field, it.what, it.ours, it.theirs)).collect()
    }

    #[test]
    fn each_field_that_differs_is_told_once() {
        type Change = fn(&mut RateLimitResponse);
        let changes: [(Change, &str); 11] = [
            (|it| it.overall_code = Code::OverLimit.into(), "code: code: OK OVER_LIMIT"),
            (|it| it.statuses[0].code = Code::OverLimit.into(), "status: statuses[0].code: OK OVER_LIMIT"),
            (|it| it.statuses[0].current_limit = None, "limit: statuses[0].limit: 5/MINUTE none"),
            (|it| it.statuses[0].limit_remaining = 3, "remaining: statuses[0].remaining: 4 3"),
            (|it| it.statuses[0].duration_until_reset = None, "reset: statuses[0].reset: 30 none"),
            (|it| it.response_headers_to_add.truncate(1), "headers: response header ratelimit-reset: 30 none"),
            (|it| it.raw_body.clear(), "body: body: body "),
            (|it| it.statuses[0].current_limit.as_mut().unwrap().name = "n".into(), "name: statuses[0].name:  n"),
            (
                |it| it.request_headers_to_add = it.response_headers_to_add.drain(..1).collect(),
                "headers: response header ratelimit-limit: 5 none",
            ),
            (|it| it.statuses[0].current_limit.as_mut().unwrap().unit = 77, "limit: statuses[0].limit: 5/MINUTE 5/77"),
            (
                |it| it.statuses[0].duration_until_reset.as_mut().unwrap().seconds = 28,
                "reset: statuses[0].reset: 30 28",
            ),
        ];
        for (change, expected) in changes {
            let mut theirs = answer();
            change(&mut theirs);
            assert_eq!(told(&Ok(answer()), &Ok(theirs)).first().map(String::as_str), Some(expected));
        }
        assert_eq!(told(&Ok(answer()), &Ok(answer())), [""; 0]);
    }

    #[test]
    fn what_clocks_and_capitals_make_is_no_difference() {
        let mut theirs = answer();
        theirs.statuses[0].duration_until_reset.as_mut().unwrap().seconds = 31;
        let headers = &mut theirs.response_headers_to_add;
        headers.reverse();
        headers[0].value = "29".into();
        headers[1].key = "ratelimit-limit".into();
        assert_eq!(told(&Ok(answer()), &Ok(theirs)), [""; 0]);
    }

    #[test]
    fn who_fails_alone_differs_and_who_fails_alike_does_not() {
        let failed = || Err("Unavailable".to_owned());
        assert_eq!(told(&Ok(answer()), &failed()), ["answer: answer: OK Unavailable"]);
        assert_eq!(told(&failed(), &failed()), [""; 0]);
    }

    #[test]
    fn fields_that_are_not_chosen_are_passed_over_and_the_end_of_a_window_is_seen() {
        let mut theirs = answer();
        theirs.raw_body.clear();
        theirs.statuses[0].limit_remaining = 0;
        let compared = compare(&Ok(answer()), &Ok(theirs.clone()), |field| field == "body");
        assert_eq!((compared.differences.len(), compared.at_edge), (1, false));
        for (secs, at_edge) in [(0, true), (1, true), (60, false)] {
            theirs.statuses[0].duration_until_reset.as_mut().unwrap().seconds = secs;
            assert_eq!(compare(&Ok(answer()), &Ok(theirs.clone()), |_| true).at_edge, at_edge, "{secs}");
        }
    }
}
