//! The body of a request: one JSON object, whose fields are taken one by one; what is left at the end is unknown.
//!
//! Not a type of serde for each endpoint: endpoints share the fields of a [`Target`](super::target::Target) and add
//! their own, and errors must name the field and what was meant.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde_json::{Map, Value, error::Category};

use super::error::Error;
use crate::{bounds::ADMIN_BODY_MAX_BYTES, spelling};

/// The fields that were not taken yet.
#[derive(Clone, Debug)]
pub struct Fields {
    left: Map<String, Value>,
    /// Every name that was asked for, for "did you mean".
    known: Vec<&'static str>,
    /// Where this object stands in the body: empty, or `descriptor[0].`
    place: String,
}

impl Fields {
    /// Reads a whole body.
    ///
    /// # Errors
    ///
    /// It is not JSON, or not an object.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let value = serde_json::from_slice(body).map_err(|error| {
            let text = error.to_string();
            let why = match error.classify() {
                Category::Eof => "it ends too early",
                _ => text.split(" at line ").next().unwrap_or_default(),
            };
            Error::NotJson { why: why.to_owned(), line: error.line(), column: error.column() }
        })?;
        match value {
            Value::Object(left) => Ok(Self { left, known: Vec::new(), place: String::new() }),
            other => Err(Error::bad(format!("the body is {}: expected an object", kind(&other)))),
        }
    }

    /// The fields of `value`, an object that stands at `place` in the body.
    ///
    /// # Errors
    ///
    /// It is no object.
    pub fn of(value: Value, place: &str) -> Result<Self, Error> {
        match value {
            Value::Object(left) => Ok(Self { left, known: Vec::new(), place: format!("{place}.") }),
            other => Err(Error::bad(format!("`{place}` is {}: expected an object", kind(&other)))),
        }
    }

    /// The value of a field; none where it is absent or null.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn required(&mut self, name: &'static str) -> Result<Value, Error> {
        self.take(name).ok_or_else(|| {
            let near = spelling::nearest(name, self.left.keys().map(String::as_str));
            let question = near.map(|near| format!("; is `{near}` meant to be it?")).unwrap_or_default();
            Error::bad(format!("`{}{name}` is missing{question}", self.place))
        })
    }

    /// A text that must be there.
    ///
    /// # Errors
    ///
    /// It is not, or it is something else.
    pub fn text(&mut self, name: &'static str) -> Result<String, Error> {
        match self.required(name)? {
            Value::String(text) => Ok(text),
            other => Err(self.other_than(name, &other, "text")),
        }
    }

    /// A text that may be absent.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.other_than(name, &other, "text")),
        }
    }

    /// A list that must be there.
    ///
    /// # Errors
    ///
    /// It is not, or it is something else.
    pub fn list(&mut self, name: &'static str) -> Result<Vec<Value>, Error> {
        match self.required(name)? {
            Value::Array(list) => Ok(list),
            other => Err(self.other_than(name, &other, "a list")),
        }
    }

    /// True or false; false where it is absent.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, Error> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.other_than(name, &other, "true or false")),
        }
    }

    /// Nothing more is expected.
    ///
    /// # Errors
    ///
    /// Something more is there: an unknown field is a mistake that would otherwise do less, or more, than was meant.
    pub fn end(self) -> Result<(), Error> {
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let question = spelling::did_you_mean(name, self.known.iter().copied());
        let question = question.map(|question| format!("; {question}")).unwrap_or_default();
        Err(Error::bad(format!("`{}{}` is no field of this request{question}", self.place, shortened(name))))
    }

    fn other_than(&self, name: &str, value: &Value, expected: &str) -> Error {
        Error::bad(format!("`{}{name}` is {}: expected {expected}", self.place, kind(value)))
    }
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Error;

    /// The door has read the body already: nothing is waited for here.
    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let body = to_bytes(request.into_body(), ADMIN_BODY_MAX_BYTES).await.map_err(|_| Error::TooLarge)?;
        Self::parse(&body)
    }
}

/// What a value is, for people; never the value itself.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A field name as an error shows it: one that is not even near to a word need not be repeated whole.
fn shortened(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    let cut: String = name.chars().take(CHARS_MAX).collect();
    if cut.len() < name.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_body_that_is_not_json_is_refused_with_the_place() {
        for (body, message) in [
            ("", "the body is not JSON: it ends too early at line 1, column 0"),
            ("{\"domain\":\n  shop}", "the body is not JSON: expected value at line 2, column 3"),
            ("{\"domain\": \"sh", "the body is not JSON: it ends too early at line 1, column 14"),
            ("{} {}", "the body is not JSON: trailing characters at line 1, column 4"),
            ("[]", "the body is a list: expected an object"),
            ("7", "the body is a number: expected an object"),
        ] {
            assert_eq!(error(Fields::parse(body.as_bytes())), message, "{body}");
        }
        assert!(error(Fields::parse(b"{\"a\": \"\xff\"}")).starts_with("the body is not JSON: invalid unicode"));
        let deep = "[".repeat(50_000);
        assert!(error(Fields::parse(deep.as_bytes())).contains("recursion limit exceeded"));
    }

    #[test]
    fn fields_are_taken_once_and_the_rest_is_unknown() {
        let mut fields = Fields::parse(br#"{"domain": "shop", "prefx": true, "note": null}"#).unwrap();
        assert_eq!(fields.text("domain"), Ok("shop".to_owned()));
        assert_eq!(fields.flag("prefix"), Ok(false));
        assert_eq!(fields.optional_text("note"), Ok(None));
        assert_eq!(error(fields.end()), "`prefx` is no field of this request; did you mean `prefix`?");
        assert_eq!(Fields::parse(b"{}").unwrap().end(), Ok(()));
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_named() {
        let fields = Fields::parse(br#"{"domian": "shop", "prefix": 1, "descriptor": {}}"#).unwrap();
        assert_eq!(error(fields.clone().text("domain")), "`domain` is missing; is `domian` meant to be it?");
        assert_eq!(error(fields.clone().text("limits")), "`limits` is missing");
        assert_eq!(error(fields.clone().flag("prefix")), "`prefix` is a number: expected true or false");
        assert_eq!(error(fields.clone().list("descriptor")), "`descriptor` is an object: expected a list");
        let mut inner = Fields::of(serde_json::json!({"key": 1}), "descriptor[0]").unwrap();
        assert_eq!(error(inner.text("key")), "`descriptor[0].key` is a number: expected text");
    }
}
