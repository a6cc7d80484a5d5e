use std::future::pending;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::any,
};
use bytes::Bytes;
use tower::Service as _;

use super::*;
use crate::bounds::HTTP_BODY_DROPPED_MAX_BYTES;

const TOKEN: &str = "0123456789abcdef";

fn door(token: bool) -> Door {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let token = token.then(|| Token::read(&path).unwrap());
    Door { body_deadline: Duration::from_millis(20), ..Door::new(token) }
}

/// The status, and the code of the error if it is one.
async fn knock(door: Door, request: axum::http::request::Builder, body: Body) -> (StatusCode, Option<String>) {
    let echo = any(async |body: Bytes| body);
    let mut router: Router = Router::new().route("/", echo).layer(from_fn_with_state(door, pass));
    let response = router.call(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    if status.is_success() {
        return (status, None);
    }
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(response.headers().contains_key("www-authenticate"), status == StatusCode::UNAUTHORIZED);
    let body = to_bytes(response.into_body(), 1_000).await.unwrap();
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (status, Some(error["error"]["code"].as_str().unwrap().to_owned()))
}

#[tokio::test]
async fn with_a_token_only_who_shows_it_exactly_once_passes() {
    for (shown, passes) in [
        (vec![format!("Bearer {TOKEN}")], true),
        (vec![format!("bearer  {TOKEN} ")], true),
        (vec![], false),
        (vec![String::new()], false),
        (vec!["Bearer".to_owned()], false),
        (vec!["Bearer ".to_owned()], false),
        (vec![TOKEN.to_owned()], false),
        (vec![format!("Basic {TOKEN}")], false),
        (vec![format!("Bearer {TOKEN}x")], false),
        (vec![format!("Bearer {}", &TOKEN[1..])], false),
        (vec![format!("Bearer {TOKEN}"), "Bearer other".to_owned()], false),
    ] {
        // The Host header is nobody's secret: beside a token it says nothing.
        let mut request = Request::get("/").header("host", "tallygate.example");
        for value in &shown {
            request = request.header("authorization", value);
        }
        let (_, code) = knock(door(true), request, Body::empty()).await;
        assert_eq!(code, (!passes).then(|| "wrong_token".to_owned()), "{shown:?}");
    }
}

#[tokio::test]
async fn without_a_token_the_service_is_asked_by_no_name_that_others_can_point_at_it() {
    for (host, passes) in [
        ("localhost", true),
        ("LOCALHOST:6070", true),
        ("127.0.0.1:6070", true),
        ("127.0.0.1", true),
        ("[::1]:6070", true),
        ("[::1]", true),
        ("evil.example", false),
        ("evil.example:6070", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("localhost@evil.example", false),
        ("evil@localhost", false),
        ("", false),
        ("::1", false),
        ("127.0.0.1 evil.example", false),
    ] {
        let (_, code) = knock(door(false), Request::get("/").header("host", host), Body::empty()).await;
        assert_eq!(code, (!passes).then(|| "bad_host".to_owned()), "{host}");
    }
    for (uri, hosts) in
        [("/", &[][..]), ("/", &["localhost", "localhost"]), ("http://evil.example/", &["localhost"][..])]
    {
        let request = hosts.iter().fold(Request::get(uri), |request, host| request.header("host", *host));
        assert_eq!(knock(door(false), request, Body::empty()).await.1.as_deref(), Some("bad_host"), "{uri} {hosts:?}");
    }
}

#[tokio::test]
async fn whatever_is_no_mere_look_says_that_it_sends_json() {
    for (method, content_type, passes) in [
        ("GET", None, true),
        ("POST", Some("application/json"), true),
        ("PUT", Some("Application/JSON; charset=utf-8"), true),
        ("DELETE", Some("application/json"), true),
        ("POST", None, false),
        ("DELETE", None, false),
        ("POST", Some("text/plain"), false),
        ("POST", Some("application/x-www-form-urlencoded"), false),
        ("PUT", Some("text/plain; application/json"), false),
        ("PATCH", Some("application/jsonp"), false),
    ] {
        let mut request = Request::builder().method(method).uri("/").header("host", "localhost");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (_, code) = knock(door(false), request, Body::empty()).await;
        assert_eq!(code, (!passes).then(|| "not_json_type".to_owned()), "{method} {content_type:?}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound_and_to_its_deadline() {
    let post = || Request::post("/").header("host", "localhost").header("content-type", "application/json");
    let body = |bytes: usize| Body::from(vec![b' '; bytes]);
    let (most, more) = (ADMIN_BODY_MAX_BYTES, ADMIN_BODY_MAX_BYTES + 1);
    assert_eq!(knock(door(false), post(), body(most)).await, (StatusCode::OK, None));
    for bytes in [more, HTTP_BODY_DROPPED_MAX_BYTES, 2 * HTTP_BODY_DROPPED_MAX_BYTES] {
        let refused = knock(door(false), post(), body(bytes)).await;
        assert_eq!(refused, (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large".to_owned())), "{bytes}");
    }
    let never = Body::new(Stalled);
    let refused = knock(door(false), post(), never).await;
    assert_eq!(refused, (StatusCode::REQUEST_TIMEOUT, Some("too_slow".to_owned())));
}

/// A body that never comes.
struct Stalled;

impl http_body::Body for Stalled {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        std::pin::pin!(pending()).poll(cx)
    }
}
