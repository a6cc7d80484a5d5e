//! Why the admin API does not do what it was asked: a code for programs, a message for people, a status for HTTP.
//!
//! No message repeats a value of a descriptor: it may be a secret, and messages end up in tickets.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use thiserror::Error;

use crate::{
    bounds::{ADMIN_BODY_DEADLINE, ADMIN_BODY_MAX_BYTES, ORDERS_MAX},
    config::Diagnostic,
    orders::Refusal,
};

/// One refusal. Nothing was changed, but for [`StoreAway`](Self::StoreAway).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("the body is not JSON: {why} at line {line}, column {column}")]
    NotJson { why: String, line: usize, column: usize },
    /// What is wrong, beginning with the field: see [`Fields`](super::fields::Fields).
    #[error("{0}")]
    BadRequest(String),
    #[error("the token is missing or wrong: send `Authorization: Bearer TOKEN`")]
    WrongToken,
    #[error("without a token this API is asked by its address or as `localhost`, by no other name")]
    BadHost,
    #[error("no rule file names the domain `{domain}`{}", suffix(.suggestion.as_ref()))]
    UnknownDomain { domain: String, suggestion: Option<String> },
    #[error("there is no such endpoint{}", suffix(.suggestion.as_ref()))]
    NoSuchEndpoint { suggestion: Option<String> },
    /// What there is none of: "there is no override for this descriptor".
    #[error("there is {0}")]
    NotFound(&'static str),
    #[error("this endpoint has no such method; `allow` says which it has")]
    MethodNotAllowed,
    #[error("the body did not arrive within {} s", ADMIN_BODY_DEADLINE.as_secs())]
    TooSlow,
    #[error("the rule `{rule}` counts many values together: `\"shared\": true` says that all of them are meant")]
    SharedCounter { rule: String },
    #[error("the body has more than {} KiB", ADMIN_BODY_MAX_BYTES >> 10)]
    TooLarge,
    #[error("whatever changes or asks with a body needs `content-type: application/json`")]
    NotJsonType,
    #[error("no rule limits this descriptor")]
    NoLimit,
    #[error("not ready: {0}")]
    NotReady(&'static str),
    /// Orders may have changed before it was asked; of its counters nobody knows.
    #[error("the store of counters is away, and nobody knows what was done: {0}")]
    StoreAway(String),
    #[error("there are {ORDERS_MAX} of these, which is the most: delete some")]
    TooMany,
    /// With what is wrong with them, as far as it is shown.
    #[error("the rule files have {problems} error(s) and warning(s), and the rules that were live still are")]
    RulesRefused { problems: usize, shown: Vec<Diagnostic> },
    /// What they do instead of standing still.
    #[error("the rule files {0}: ask again")]
    RulesUnsettled(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotReady => Self::NotReady("no rules were ever loaded"),
            Refusal::UnknownDomain(domain) => Self::UnknownDomain { domain: domain.into(), suggestion: None },
            Refusal::NoLimit => Self::NoLimit,
            Refusal::Shared { rule } => Self::SharedCounter { rule: rule.into() },
            Refusal::Limits(what) => Self::bad(format!("`limits`: {what}")),
            Refusal::StoreAway(why) => Self::StoreAway(why.to_string()),
            Refusal::TooMany => Self::TooMany,
        }
    }
}

fn suffix(suggestion: Option<&String>) -> String {
    suggestion.map(|suggestion| format!("; {suggestion}")).unwrap_or_default()
}

impl Error {
    /// The code and the status: codes are published and never change their meaning.
    pub const fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::NotJson { .. } => ("not_json", StatusCode::BAD_REQUEST),
            Self::BadRequest(_) => ("bad_request", StatusCode::BAD_REQUEST),
            Self::WrongToken => ("wrong_token", StatusCode::UNAUTHORIZED),
            Self::BadHost => ("bad_host", StatusCode::FORBIDDEN),
            Self::UnknownDomain { .. } => ("unknown_domain", StatusCode::NOT_FOUND),
            Self::NoSuchEndpoint { .. } => ("no_such_endpoint", StatusCode::NOT_FOUND),
            Self::NotFound(_) => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::TooSlow => ("too_slow", StatusCode::REQUEST_TIMEOUT),
            Self::SharedCounter { .. } => ("shared_counter", StatusCode::CONFLICT),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::NotJsonType => ("not_json_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::NoLimit => ("no_limit", StatusCode::UNPROCESSABLE_ENTITY),
            Self::NotReady(_) => ("not_ready", StatusCode::SERVICE_UNAVAILABLE),
            Self::StoreAway(_) => ("store_away", StatusCode::BAD_GATEWAY),
            Self::TooMany => ("too_many", StatusCode::INSUFFICIENT_STORAGE),
            Self::RulesRefused { .. } => ("rules_refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::RulesUnsettled(_) => ("rules_unsettled", StatusCode::CONFLICT),
        }
    }

    /// A refusal for the shape of the body: `what` begins with the field.
    pub(crate) fn bad(what: impl Into<String>) -> Self {
        Self::BadRequest(what.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (code, status) = self.code();
        let mut body = json!({"error": {"code": code, "message": self.to_string()}});
        if let Self::RulesRefused { shown, .. } = &self {
            body["error"]["diagnostics"] = super::status::shown(shown);
        }
        (status, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<Error> {
        vec![
            Error::NotJson { why: "expected value".to_owned(), line: 1, column: 2 },
            Error::bad("`prefix` is a number: expected true or false"),
            Error::WrongToken,
            Error::BadHost,
            Error::UnknownDomain { domain: "shpo".to_owned(), suggestion: Some("did you mean `shop`?".to_owned()) },
            Error::NoSuchEndpoint { suggestion: None },
            Error::NotFound("no override for this descriptor"),
            Error::MethodNotAllowed,
            Error::TooSlow,
            Error::SharedCounter { rule: "per-path".to_owned() },
            Error::TooLarge,
            Error::NotJsonType,
            Error::NoLimit,
            Error::NotReady("draining"),
            Error::StoreAway("no answer within the deadline".to_owned()),
            Error::TooMany,
            Error::RulesRefused { problems: 1, shown: Vec::new() },
            Error::RulesUnsettled("change while they are read".to_owned()),
        ]
    }

    #[test]
    fn every_error_has_a_code_of_its_own_and_stands_in_the_manual() {
        let manual = include_str!("../../docs/admin.md");
        let mut codes = BTreeSet::new();
        for error in all() {
            let (code, status) = error.code();
            assert!(status.is_client_error() || status.is_server_error(), "{error}");
            assert!(codes.insert(code), "{code} twice");
            let row = format!("| {} | `{code}` |", status.as_u16());
            assert!(manual.contains(&row), "`{row}` is missing in docs/admin.md");
        }
    }

    #[test]
    fn messages_are_sentences_that_name_the_culprit() {
        for (error, message) in [
            (all().remove(0), "the body is not JSON: expected value at line 1, column 2"),
            (all().remove(4), "no rule file names the domain `shpo`; did you mean `shop`?"),
            (all().remove(10), "the body has more than 64 KiB"),
        ] {
            assert_eq!(error.to_string(), message);
        }
        for error in all() {
            let text = error.to_string();
            assert!(text.starts_with(|c: char| c.is_lowercase() || c == '`') && !text.ends_with('.'), "{text}");
        }
    }
}
