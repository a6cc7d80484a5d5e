//! `/json`: one decision for whoever has no gRPC, as envoyproxy/ratelimit gives it. The body is a `RateLimitRequest` in
//! proto3 JSON, whatever the method and its type.
//!
//! | status | body | when |
//! |---|---|---|
//! | 200 | the answer | OK |
//! | 429 | the answer | `OVER_LIMIT`; also where the body is larger than any that is decided |
//! | 400 | `Bad Request` | the body is no such message, or names no domain or no descriptors |
//! | 408 | `Request Timeout` | the body did not come in time |
//! | 503 | the reason | no rules were ever loaded |
//!
//! It charges counters, and whoever reaches the port may ask.

mod answer;
mod question;

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header::CONNECTION, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use self::answer::Answer;
use super::Neighbourhood;
use crate::{
    bounds::{JSON_BODY_MAX_BYTES, MESSAGE_DEADLINE},
    decide::{Call, Decider, NoRules, Outcome, caught, complete},
    serve_http::body::{Unread, read},
    trace::Door,
};

/// Answers one request.
pub(super) async fn answer(State(neighbourhood): State<Neighbourhood>, headers: HeaderMap, body: Body) -> Response {
    let decider = &neighbourhood.decider;
    match read(body, JSON_BODY_MAX_BYTES, MESSAGE_DEADLINE).await {
        Ok(body) => decide(decider, &headers, &body).await,
        Err(Unread::TooLarge) => {
            decider.events.oversized.increment(1);
            closing(over_limit())
        }
        Err(Unread::TooSlow) => closing((StatusCode::REQUEST_TIMEOUT, "Request Timeout\n").into_response()),
        Err(Unread::BrokeOff) => closing(bad_request(decider)),
    }
}

async fn decide(decider: &Decider, headers: &HeaderMap, body: &Bytes) -> Response {
    let span = decider.span(headers, Door::Json);
    let call = Call { came: decider.came(), core: None, timeout: None, waited: Duration::ZERO, span };
    let Ok(question) = question::read(body) else { return bad_request(decider) };
    let request = question.request();
    if complete(&request).is_err() {
        return bad_request(decider);
    }
    match caught(decider.decide(call, &request, write)).await {
        Some(Ok(answer)) => answer,
        Some(Err(NoRules)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{NoRules}\n")).into_response(),
        None => {
            decider.events.panicked();
            over_limit()
        }
    }
}

fn write(outcome: &Outcome<'_, '_, '_>) -> Response {
    let mut answer = Answer::to(outcome.decision);
    outcome.render(&mut Vec::new(), &mut answer);
    answered(outcome.decision.refused, answer.finish())
}

/// The answer by policy, as over gRPC: what a client sends is no way around the limit.
fn over_limit() -> Response {
    answered(true, Answer::over_limit())
}

fn answered(refused: bool, body: Vec<u8>) -> Response {
    let status = if refused { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn bad_request(decider: &Decider) -> Response {
    decider.events.malformed.increment(1);
    (StatusCode::BAD_REQUEST, "Bad Request\n").into_response()
}

/// Whoever may still be sending keeps no connection.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
