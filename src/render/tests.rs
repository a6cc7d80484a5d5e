use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    collect::CollectedField,
    scene::{Scene, Stand},
    text::is_header_value,
    *,
};
use crate::{
    bounds,
    units::{Nanos, Timestamp},
};

const MINUTE: Nanos = Nanos::from_secs(60);

fn over(limit: u64, reset_secs: u64) -> Stand {
    Stand { used: limit, available: 0, remaining: 0, reset_secs }
}

fn refused(limit: u64, retry_after_secs: u64) -> Scene {
    Scene::new("shop", "per-key")
        .window("minute", limit, MINUTE, over(limit, retry_after_secs))
        .refuse(0, Some(retry_after_secs))
}

fn list(headers: &[(&str, &str)]) -> Headers {
    let headers = headers.iter().map(|(name, value)| Header::new(name, value, None).expect("a header"));
    Headers::List(List::new(headers.collect()).expect("a list"))
}

fn json_body(template: &str) -> Body {
    Body::template("application/json", template).expect("a body")
}

fn headers(answer: &Collected) -> Vec<String> {
    answer.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

fn body(answer: &Collected) -> Json {
    serde_json::from_slice(answer.body.as_deref().expect("a body")).expect("JSON")
}

#[test]
fn flash_is_told_the_same_time_in_the_header_in_seconds_and_in_words() {
    let template = r#"{"success": false, "code": "TOO_MANY_REQUESTS", "message": "{{ message }}",
        "retrySecs": {{ retry_after }}}"#;
    let response = Response { headers: Headers::None, retry_after: true, body: json_body(template) };
    let answer = refused(100, 59).play(&response);
    assert_eq!(headers(&answer), ["retry-after: 59", "content-type: application/json"]);
    assert_eq!(
        body(&answer),
        json!({"success": false, "code": "TOO_MANY_REQUESTS", "message": "Retry after 1 min", "retrySecs": 59})
    );
}

#[test]
fn hexagraph_says_nothing_but_its_body() {
    let template = r#"{"error":"Too Many Requests","message":"Rate limit exceeded. Please wait before sending additional requests.","statusCode":429}"#;
    let response = Response { headers: Headers::None, retry_after: false, body: json_body(template) };
    let answer = refused(30, 12).play(&response);
    assert_eq!(headers(&answer), ["content-type: application/json"]);
    assert_eq!(answer.body.as_deref(), Some(template.as_bytes()));
}

#[test]
fn prolifi_shows_two_headers_on_every_response() {
    let response = Response {
        headers: list(&[("X-RateLimit-Limit", "{{ limit }}"), ("X-RateLimit-Remaining", "{{ remaining }}")]),
        retry_after: true,
        body: json_body(
            r#"{"error":{"type":"rate_limit_error","message":"Too many requests. Please retry after the rate limit resets."}}"#,
        ),
    };
    let stand = Stand { used: 1, available: 999, remaining: 999, reset_secs: 60 };
    let accepted = Scene::new("pay", "per-key").window("minute", 1_000, MINUTE, stand).play(&response);
    assert_eq!(headers(&accepted), ["X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 999"]);
    assert_eq!(accepted.body, None);

    let refused = refused(1_000, 17).play(&response);
    assert_eq!(
        headers(&refused),
        ["X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", "retry-after: 17", "content-type: application/json"]
    );
    assert_eq!(body(&refused)["error"]["type"], "rate_limit_error");
}

#[test]
fn claid_shows_every_window_and_minus_one_when_refused() {
    let response = Response {
        headers: list(&[
            ("RateLimit-Limit", "{{ limit }}, {{ policies }}"),
            ("RateLimit-Remaining", "{% if denied %}-1{% else %}{{ remaining }}{% endif %}"),
            ("RateLimit-Reset", "{{ reset }}"),
        ]),
        retry_after: false,
        body: json_body(
            r#"{"detail":{"error_code":"2001","error_type":"general","error_message":"Too Many Requests. Rate limit exceeded."}}"#,
        ),
    };
    let minute = Stand { used: 2, available: 118, remaining: 118, reset_secs: 32 };
    let second = Stand { used: 2, available: 2, remaining: 2, reset_secs: 1 };
    let scene = |second| {
        Scene::new("claid", "per-user").window("minute", 120, MINUTE, minute).window("second", 4, Nanos::SECOND, second)
    };
    assert_eq!(
        headers(&scene(second).play(&response)),
        ["RateLimit-Limit: 120, 120;w=60, 4;w=1", "RateLimit-Remaining: 118", "RateLimit-Reset: 32"]
    );
    let refused = scene(over(4, 1)).refuse(1, Some(1)).play(&response);
    assert_eq!(
        headers(&refused),
        [
            "RateLimit-Limit: 4, 120;w=60, 4;w=1",
            "RateLimit-Remaining: -1",
            "RateLimit-Reset: 1",
            "content-type: application/json",
        ]
    );
    assert_eq!(body(&refused)["detail"]["error_code"], "2001");
}

#[test]
fn a_problem_names_the_windows_that_refuse() {
    let room = Stand { used: 2, available: 118, remaining: 118, reset_secs: 32 };
    let scene = Scene::new("shop", "r")
        .window("minute", 120, MINUTE, room)
        .window("a \"second\"", 4, Nanos::SECOND, over(4, 1))
        .window("500ms", 1, Nanos::from_millis(500), over(1, 1))
        .refuse(1, Some(1));
    let response = Response { body: Body::ProblemJson, ..Response::default() };
    let answer = scene.play(&response);
    assert_eq!(headers(&answer), ["content-type: application/problem+json"]);
    assert_eq!(
        body(&answer),
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Quota exceeded",
            "status": 429,
            "detail": "Policy a \"second\" allows 4 in 1 s. Retry after 1 s",
            "violated-policies": ["a \"second\"", "500ms"],
        })
    );

    let hidden = Scene { exposed: false, ..scene }.play(&response);
    let bare = json!({"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "Retry after 1 s"});
    assert_eq!(body(&hidden), bare);
    let deny = Scene::new("shop", "deny").refuse(0, None).play(&response);
    assert_eq!(body(&deny)["detail"], "This request is not allowed");
}

#[test]
fn accepted_requests_get_rate_limit_headers_only() {
    let response = Response { headers: Headers::None, retry_after: true, body: Body::ProblemJson };
    let stand = Stand { used: 1, available: 9, remaining: 9, reset_secs: 60 };
    let mut scene = Scene::new("shop", "r").window("minute", 10, MINUTE, stand);
    scene.retry_after_secs = Some(7);
    let answer = scene.play(&response);
    assert_eq!((headers(&answer), answer.body), (vec![], None));
}

#[test]
fn a_refusal_by_default_is_bare() {
    let answer = refused(10, 5).play(&Response { retry_after: true, ..Response::default() });
    assert_eq!((headers(&answer), answer.body), (vec!["retry-after: 5".to_owned()], None));
    let deny = Scene::new("shop", "deny").refuse(0, None);
    assert_eq!(headers(&deny.play(&Response { retry_after: true, ..Response::default() })), [""; 0]);
}

#[test]
fn metadata_is_flat_and_says_what_there_is() {
    let text = |text: &str| CollectedField::Text(text.to_owned());
    let number = CollectedField::Number;
    let fields = |scene: &Scene| scene.play(&Response::default()).fields;
    let named = |name: &str, value| (name.to_owned(), value);

    let mut scene = Scene { never: true, exposed: false, ..refused(10, 5) };
    scene.rule.metadata = Some(Arc::new(Value::Text("gold".into())));
    assert_eq!(
        fields(&scene),
        [
            named("domain", text("shop")),
            named("rule", text("per-key")),
            named("limit", number(10)),
            named("window", text("minute")),
            named("remaining", number(0)),
            named("reset", number(5)),
            named("retry_after", number(5)),
            named("mode", text("enforce")),
            named("store", text("memory")),
            named("never", CollectedField::Bool(true)),
            named("metadata", CollectedField::Value(Value::Text("gold".into()))),
        ]
    );

    let silent = Scene { silent: true, ..Scene::new("shop", "r") };
    assert_eq!(
        fields(&silent),
        [
            named("domain", text("shop")),
            named("rule", text("r")),
            named("mode", text("enforce")),
            named("store", text("memory"))
        ]
    );
}

#[test]
fn where_nothing_matches_only_the_store_is_named() {
    let scene = Scene::new("shop", "r");
    let mut decision = scene.decision();
    (decision.answer, decision.domain) = (None, None);
    let mut answer = Collected::default();
    let mut scratch = Vec::new();
    render(
        &decision,
        &scene.request(),
        &[],
        Beside { store: "redis", repeats_request: false },
        &mut scratch,
        &mut answer,
    );
    assert_eq!(answer.fields, [("store".to_owned(), CollectedField::Text("redis".to_owned()))]);
    assert_eq!((answer.headers, answer.body, scratch), (vec![], None, vec![]));
}

#[test]
fn a_body_that_could_grow_too_long_is_refused_at_load() {
    let inserts = bounds::BODY_MAX_BYTES / bounds::INSERT_MAX_BYTES;
    assert!(Body::template("text/plain", &"{{ limit }}".repeat(inserts)).is_ok());
    let fault = Body::template("application/json", &"{{ rule }}".repeat(inserts)).unwrap_err();
    assert!(fault.message.starts_with("the body could be 65664 bytes long"), "{fault}");
    assert!(Body::template("text/plain", &"x".repeat(bounds::BODY_MAX_BYTES)).is_ok());
    assert!(Body::template("text/plain", &"x".repeat(bounds::BODY_MAX_BYTES + 1)).is_err());
}

fn breaks(template: &str) -> bool {
    let response = Response { body: json_body(template), ..Response::default() };
    let answers = rehearse(&response);
    assert!(answers.iter().any(|answer| answer.is_json && answer.refused));
    answers.iter().any(|answer| answer.is_json && serde_json::from_slice::<Json>(&answer.body).is_err())
}

#[test]
fn a_rehearsal_finds_what_a_client_could_break() {
    for (template, broken) in [
        (r#"{"a": "{{ descriptor.user }}"}"#, false),
        (r#"{"a": {{ descriptor.user | json }}, "b": {{ retry_after }}, "c": {{ denied }}}"#, false),
        (r#"{"a": {{ descriptor.user }}}"#, true),
        (r#"{"a": {{ rule }}}"#, true),
        (r#"{"a": {{ message }}}"#, true),
        (r#"{"a": "{{ rule | json }}"}"#, true),
        (r#"{"a": {{ retry_after | humanize }}}"#, true),
        (r#"{"a": 1 {% if descriptor.tier == 'gold' %} "b": 2{% endif %}}"#, true),
        (r#"{"a": 1 {% if descriptor.tier == 'gold' %}, "b": 2{% endif %}}"#, false),
        (r#"{"a": 1 {% if retry_after > 1000 %}oops{% endif %}}"#, true),
        (r#"{"a": 1 {% if retry_after == 3600 %}oops{% endif %}}"#, true),
        (r#"{ {% if descriptor.a %}"a":1{% endif %}{% if descriptor.b %},"b":2{% endif %} }"#, true),
        (r#"{"a": {% if denied %}1{% endif %}{% if not denied %}2{% endif %}}"#, false),
        (r#"{"a": {% if limit %}{{ limit }}{% endif %}}"#, true),
    ] {
        assert_eq!(breaks(template), broken, "{template}");
    }
}

#[test]
fn a_rehearsal_plays_every_header_on_both_outcomes() {
    let response = Response {
        headers: list(&[("x-ratelimit-who", "{{ descriptor.user }} {{ rule }} {{ limit | http_date }}")]),
        retry_after: true,
        body: Body::ProblemJson,
    };
    let answers = rehearse(&response);
    for refused in [true, false] {
        assert!(answers.iter().any(|answer| answer.refused == refused && answer.headers.len() > usize::from(refused)));
    }
    for answer in &answers {
        assert_eq!(answer.content_type.is_some(), answer.refused);
        assert!(answer.headers.iter().all(|(_, value)| is_header_value(value)), "{answer:?}");
        assert!(!answer.is_json || serde_json::from_slice::<Json>(&answer.body).is_ok(), "{answer:?}");
    }
    assert_eq!(rehearse(&Response::default()), []);
}

proptest! {
    #[test]
    fn json_parses_and_bodies_are_bounded_whatever_a_client_sends(
        value: Vec<u8>,
        name in "\\PC{0,128}",
        number: u64,
        repeat in 1..200_usize,
    ) {
        let mut scene = Scene::new(&name, &name)
            .window(&name, number, MINUTE, Stand { used: number, available: number, remaining: 0, reset_secs: number })
            .entry("k", &value.repeat(repeat))
            .refuse(0, Some(number));
        scene.now = Timestamp(number);
        let template = r#"{"k": "{{ descriptor.k }}", "j": {{ descriptor.k | json }}, "m": "{{ message }}",
            "n": [{{ limit }}, {{ retry_after | epoch }}], "d": "{{ reset | http_date }}", "p": {{ policies | json }},
            "s": "{{ rule }} {{ window }} {{ domain }}"}"#;
        for body_kind in [json_body(template), Body::ProblemJson] {
            let answer = scene.play(&Response { body: body_kind, ..Response::default() });
            body(&answer);
            prop_assert!(answer.body.is_some_and(|body| body.len() <= bounds::BODY_MAX_BYTES));
        }
        let short = String::from_utf8_lossy(&value).into_owned();
        if value.len() < bounds::INSERT_MAX_BYTES / 6 {
            scene.entries[0].1 = value;
            let answer = scene.play(&Response { body: json_body(template), ..Response::default() });
            prop_assert_eq!(&body(&answer)["k"], &Json::String(short.clone()));
            prop_assert_eq!(&body(&answer)["j"], &Json::String(short));
        }
    }

    #[test]
    fn markup_cannot_be_left(value: Vec<u8>) {
        let page = Body::template("text/html", "<a title={{ descriptor.k }}>{{ rule }}</a>").expect("a body");
        let scene = Scene::new("d", "r").entry("k", &value).refuse(0, None);
        let answer = scene.play(&Response { body: page, ..Response::default() });
        let page = String::from_utf8(answer.body.expect("a body")).expect("UTF-8");
        let inside = page.strip_prefix("<a title=").and_then(|rest| rest.strip_suffix(">r</a>")).expect("the frame");
        prop_assert!(!inside.contains(['<', '>', ' ', '"', '\'', '\n', '\t']));
    }
}
