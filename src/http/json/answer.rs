//! The answer: `RateLimitResponse` in proto3 JSON, its fields in the order in which the protocol declares them, and
//! those left out that have their default value.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    decision::{Decision, Figure, Status},
    render::{EXACT_MAX, Field, Sink, saturated},
    rules::Value,
};

/// One answer while it is written: code and statuses first, then whatever is rendered into it as a [`Sink`].
#[derive(Debug)]
pub(super) struct Answer {
    out: Json,
    open: Option<Part>,
}

/// A field of the answer that takes more than one call to write, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Headers,
    Metadata,
}

impl Answer {
    /// Begins the answer to `decision`.
    pub(super) fn to(decision: &Decision<'_>) -> Self {
        let mut out = Json::default();
        out.plain("{\"overallCode\":");
        out.plain(code(decision.refused));
        for (index, status) in decision.statuses.iter().enumerate() {
            out.plain(if index == 0 { ",\"statuses\":[" } else { "," });
            write_status(&mut out, status);
        }
        if !decision.statuses.is_empty() {
            out.plain("]");
        }
        Self { out, open: None }
    }

    /// The answer by policy, where nothing was decided.
    pub(super) fn over_limit() -> Vec<u8> {
        br#"{"overallCode":"OVER_LIMIT"}"#.to_vec()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out.plain("}");
        self.out.0
    }

    /// Goes on in a part, or begins it.
    fn enter(&mut self, part: Part) {
        if self.open == Some(part) {
            return self.out.plain(",");
        }
        self.close();
        self.out.plain(match part {
            Part::Headers => ",\"responseHeadersToAdd\":[",
            Part::Metadata => ",\"dynamicMetadata\":{",
        });
        self.open = Some(part);
    }

    fn close(&mut self) {
        match self.open.take() {
            Some(Part::Headers) => self.out.plain("]"),
            Some(Part::Metadata) => self.out.plain("}"),
            None => {}
        }
    }
}

impl Sink for Answer {
    fn header(&mut self, name: &str, value: &[u8]) {
        self.enter(Part::Headers);
        self.out.plain("{\"key\":");
        self.out.text(name);
        if !value.is_empty() {
            self.out.plain(",\"value\":");
            self.out.text(&String::from_utf8_lossy(value));
        }
        self.out.plain("}");
    }

    fn body(&mut self, body: &[u8]) {
        self.close();
        if !body.is_empty() {
            self.out.plain(",\"rawBody\":");
            self.out.text(&BASE64_STANDARD.encode(body));
        }
    }

    fn field(&mut self, name: &str, value: Field<'_>) {
        self.enter(Part::Metadata);
        self.out.text(name);
        self.out.plain(":");
        match value {
            Field::Text(text) => self.out.text(text),
            Field::Number(number) if number <= EXACT_MAX => self.out.number(number),
            Field::Number(number) => self.out.text(&number.to_string()),
            Field::Bool(on) => self.out.plain(if on { "true" } else { "false" }),
            Field::Value(value) => write_value(&mut self.out, value),
        }
    }
}

/// `RateLimitResponse.DescriptorStatus`
fn write_status(out: &mut Json, status: &Status<'_>) {
    out.plain("{\"code\":");
    out.plain(code(status.refused));
    if let Some(figure) = &status.figure {
        if status.exposed {
            write_limit(out, figure);
        }
        let remaining = saturated(figure.remaining);
        if remaining > 0 {
            out.plain(",\"limitRemaining\":");
            out.number(remaining);
        }
        // Present even where it is zero: the counter is as good as untouched.
        out.plain(",\"durationUntilReset\":\"");
        out.number(figure.reset_secs);
        out.plain("s\"");
    } else if status.unlimited {
        out.plain(",\"limitRemaining\":");
        out.number(u64::from(u32::MAX));
    }
    out.plain("}");
}

/// `RateLimitResponse.RateLimit`, whose name is declared first.
fn write_limit(out: &mut Json, figure: &Figure<'_>) {
    let (unit, multiplier) = figure.limit.limit.window.in_units();
    let mut fields = Comma::default();
    out.plain(",\"currentLimit\":{");
    if figure.limit.written_name.is_some() && !figure.limit.name.is_empty() {
        out.plain(fields.next());
        out.plain("\"name\":");
        out.text(&figure.limit.name);
    }
    let count = saturated(figure.limit.limit.capacity());
    if count > 0 {
        out.plain(fields.next());
        out.plain("\"requestsPerUnit\":");
        out.number(count);
    }
    if unit != crate::limit::Unit::Unknown {
        out.plain(fields.next());
        out.plain("\"unit\":\"");
        out.plain(unit.name());
        out.plain("\"");
    }
    if multiplier != 1 {
        out.plain(fields.next());
        out.plain("\"unitMultiplier\":");
        out.number(multiplier);
    }
    out.plain("}");
}

/// A `google.protobuf.Value`; as deep as the rule file that said it, which is bounded.
fn write_value(out: &mut Json, value: &Value) {
    match value {
        Value::Null => out.plain("null"),
        Value::Bool(on) => out.plain(if *on { "true" } else { "false" }),
        Value::Number(number) => out.float(*number),
        Value::Text(text) => out.text(text),
        Value::List(values) => {
            let mut items = Comma::default();
            out.plain("[");
            for value in values {
                out.plain(items.next());
                write_value(out, value);
            }
            out.plain("]");
        }
        Value::Map(entries) => {
            let mut fields = Comma::default();
            out.plain("{");
            for (name, value) in entries {
                out.plain(fields.next());
                out.text(name);
                out.plain(":");
                write_value(out, value);
            }
            out.plain("}");
        }
    }
}

const fn code(refused: bool) -> &'static str {
    if refused { "\"OVER_LIMIT\"" } else { "\"OK\"" }
}

/// Stands before every item of a list but the first.
#[derive(Default)]
struct Comma {
    due: bool,
}

impl Comma {
    fn next(&mut self) -> &'static str {
        if std::mem::replace(&mut self.due, true) { "," } else { "" }
    }
}

/// JSON, as it is written.
#[derive(Debug, Default)]
struct Json(Vec<u8>);

impl Json {
    fn plain(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    fn number(&mut self, number: u64) {
        self.plain(itoa::Buffer::new().format(number));
    }

    /// Rule files hold finite numbers only.
    fn float(&mut self, number: f64) {
        let whole = number.fract() == 0.0 && number.abs() <= EXACT_MAX as f64;
        #[expect(clippy::cast_possible_truncation, reason = "just checked")]
        let text = if whole { (number as i64).to_string() } else { number.to_string() };
        self.plain(&text);
    }
}
