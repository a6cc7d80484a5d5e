//! Requests as people record them: one a line, in protobuf's JSON, as `grpcurl -d` takes it.
//!
//! ```json
//! {"domain": "shop", "descriptors": [{"entries": [{"key": "api_key", "value": "acme"}]}], "hits_addend": 1}
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    grpc::proto::{
        RateLimitDescriptor, RateLimitRequest,
        rate_limit_descriptor::{Entry, RateLimitOverride},
    },
    limit::Unit,
};

/// Reads a line.
///
/// # Errors
///
/// What of it is no request.
pub fn read(line: &str) -> Result<RateLimitRequest, String> {
    let request: RequestLine = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let descriptors = request.descriptors.into_iter().map(DescriptorLine::message).collect::<Result<_, _>>()?;
    let hits_addend = request.hits_addend.map(Number::value).transpose()?.unwrap_or_default();
    let hits_addend = u32::try_from(hits_addend).map_err(|_| format!("hits_addend {hits_addend} has no 32 bits"))?;
    Ok(RateLimitRequest { domain: request.domain.into_bytes(), descriptors, hits_addend })
}

/// Writes a request as a line that [`read`] reads.
pub fn write(request: &RateLimitRequest) -> String {
    let line = RequestLine {
        domain: String::from_utf8_lossy(&request.domain).into_owned(),
        descriptors: request.descriptors.iter().map(DescriptorLine::of).collect(),
        hits_addend: Some(request.hits_addend).filter(|&hits| hits > 0).map(|hits| Number::Number(hits.into())),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    domain: String,
    #[serde(default)]
    descriptors: Vec<DescriptorLine>,
    #[serde(default, alias = "hitsAddend", skip_serializing_if = "Option::is_none")]
    hits_addend: Option<Number>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DescriptorLine {
    #[serde(default)]
    entries: Vec<EntryLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<LimitLine>,
    #[serde(default, alias = "hitsAddend", skip_serializing_if = "Option::is_none")]
    hits_addend: Option<Number>,
    #[serde(default, alias = "isNegativeHits", skip_serializing_if = "std::ops::Not::not")]
    is_negative_hits: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EntryLine {
    key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    value: String,
    /// In the place of `value`, where that is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitLine {
    #[serde(alias = "requestsPerUnit")]
    requests_per_unit: u32,
    /// Its name or its number.
    unit: Word,
}

/// Protobuf writes numbers of 64 bits as texts.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Word {
    Number(i32),
    Text(String),
}

impl Number {
    fn value(self) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(|_| format!("`{text}` is no number of hits")),
        }
    }
}

impl DescriptorLine {
    fn message(self) -> Result<RateLimitDescriptor, String> {
        Ok(RateLimitDescriptor {
            entries: self.entries.into_iter().map(EntryLine::message).collect::<Result<_, _>>()?,
            limit: self.limit.map(LimitLine::message).transpose()?,
            hits_addend: self.hits_addend.map(Number::value).transpose()?,
            is_negative_hits: self.is_negative_hits,
        })
    }

    fn of(descriptor: &RateLimitDescriptor) -> Self {
        Self {
            entries: descriptor.entries.iter().map(EntryLine::of).collect(),
            limit: descriptor.limit.as_ref().map(LimitLine::of),
            hits_addend: descriptor.hits_addend.map(Number::Number),
            is_negative_hits: descriptor.is_negative_hits,
        }
    }
}

impl EntryLine {
    fn message(self) -> Result<Entry, String> {
        let value = match self.value_base64 {
            Some(encoded) => STANDARD.decode(&encoded).map_err(|_| format!("value_base64 `{encoded}` is no base64"))?,
            None => self.value.into_bytes(),
        };
        Ok(Entry { key: self.key.into_bytes(), value })
    }

    fn of(entry: &Entry) -> Self {
        let key = String::from_utf8_lossy(&entry.key).into_owned();
        match str::from_utf8(&entry.value) {
            Ok(value) => Self { key, value: value.to_owned(), value_base64: None },
            Err(_) => Self { key, value: String::new(), value_base64: Some(STANDARD.encode(&entry.value)) },
        }
    }
}

impl LimitLine {
    fn message(self) -> Result<RateLimitOverride, String> {
        let unit = match self.unit {
            Word::Number(number) => number,
            Word::Text(name) => {
                let named = Unit::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(&name));
                named.ok_or(format!("there is no unit `{name}`"))? as i32
            }
        };
        Ok(RateLimitOverride { requests_per_unit: self.requests_per_unit, unit, ..RateLimitOverride::default() })
    }

    fn of(limit: &RateLimitOverride) -> Self {
        let named = Unit::numbered(limit.unit);
        let unit = named.map_or(Word::Number(limit.unit), |unit| Word::Text(unit.name().to_owned()));
        Self { requests_per_unit: limit.requests_per_unit, unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_protobuf_writes_it_and_written_so_that_it_is_read_again() {
        for line in [
            r#"{"domain": "shop", "descriptors": [{"entries": [{"key": "a", "value": "b"}, {"key": "c"}]}]}"#,
            r#"{"domain": "", "hitsAddend": 3, "descriptors": []}"#,
            r#"{"domain": "d", "hits_addend": "4", "descriptors": [{"hitsAddend": "18446744073709551615", "isNegativeHits": true}]}"#,
            r#"{"domain": "d", "descriptors": [{"limit": {"requestsPerUnit": 5, "unit": "WEEK"}}, {"limit": {"requests_per_unit": 5, "unit": 99}}]}"#,
            r#"{"domain": "d", "descriptors": [{"entries": [{"key": "k", "value_base64": "/w=="}]}]}"#,
        ] {
            let request = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(read(&write(&request)).as_ref(), Ok(&request), "{line}");
        }
        let request = read(r#"{"domain": "d", "descriptors": [{"limit": {"requestsPerUnit": 5, "unit": "hour"}}]}"#);
        assert_eq!(request.unwrap().descriptors[0].limit.as_ref().unwrap().unit, 3);
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (line, error) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"domain": "d", "descriptor": []}"#, "unknown field `descriptor`"),
            (r#"{"descriptors": []}"#, "missing field `domain`"),
            (r#"{"domain": "d", "hits_addend": 4294967296}"#, "hits_addend 4294967296 has no 32 bits"),
            (r#"{"domain": "d", "hits_addend": "x"}"#, "`x` is no number of hits"),
            (
                r#"{"domain": "d", "descriptors": [{"limit": {"requestsPerUnit": 5, "unit": "eon"}}]}"#,
                "there is no unit `eon`",
            ),
            (
                r#"{"domain": "d", "descriptors": [{"entries": [{"key": "k", "value_base64": "%"}]}]}"#,
                "value_base64 `%` is no base64",
            ),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.starts_with(error), "{line}: {told}");
        }
    }
}
