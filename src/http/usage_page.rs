//! Usage pages: how a client's windows stand, looked at and not counted. Which pages there are is a matter of the rules.
//!
//! | status | `error.code` | when |
//! |---|---|---|
//! | 200 | | JSON, as the page says |
//! | 400 | `missing_identity`, `repeated_identity` | a header that names the client is not there, or not exactly once |
//! | 403 | `wrong_secret` | the setting `usage_secret_file` asks for a header that only Envoy knows |
//! | 404 | `not_limited` | no rule limits this client |
//! | 405 | `method_not_allowed` | anything but GET |
//! | 503 | `not_ready` | no rules were ever loaded |

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use axum::{
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{ALLOW, AsHeaderName, CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::{Neighbourhood, no_such_page};
use crate::{
    bounds::HEADER_VALUE_MAX_BYTES,
    live::Generation,
    render::{
        facts::WindowFacts,
        usage_page::{Looked, PageEntry, PageValue, UsagePage},
    },
    request::Entry,
    usage::{Usage, WindowUsage, look},
};

/// Carries what [`Secret`] holds.
const SECRET_HEADER: HeaderName = HeaderName::from_static("x-usage-secret");

/// Answers the usage page of this path, if it is one.
pub async fn answer(
    State(neighbourhood): State<Neighbourhood>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(generation) = neighbourhood.decider.live.snapshot().clone() else {
        return Refusal::NotReady.into_response();
    };
    let Some(page) = generation.usage_pages.get(uri.path()) else { return no_such_page().into_response() };
    if method != Method::GET {
        return Refusal::MethodNotAllowed.into_response();
    }
    if neighbourhood.usage_secret.as_ref().is_some_and(|secret| !secret.is_shown_by(&headers)) {
        return Refusal::WrongSecret.into_response();
    }
    let body = show(&neighbourhood, &generation, page, &headers).await;
    body.map_or_else(Refusal::into_response, |body| (json_headers(), body).into_response())
}

/// What only Envoy and we know: without it nobody reads a page, whatever way he found to the port.
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Reads it from a file; the end of its line is no part of it.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is empty, or holds what no header can carry.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).context("the secret cannot be read")?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            bail!("the file is empty");
        }
        let printable = secret.bytes().all(|byte| (0x21..=0x7E).contains(&byte));
        if !printable || secret.len() > HEADER_VALUE_MAX_BYTES {
            bail!("the secret is not one line of at most {HEADER_VALUE_MAX_BYTES} letters, digits and signs");
        }
        Ok(Self(secret.as_bytes().into()))
    }

    fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        // Twice is once by Envoy and once by somebody else.
        only_one(headers, &SECRET_HEADER).is_ok_and(|shown| shown.ct_eq(&self.0).into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a page is not shown.
#[derive(Debug, Error)]
enum Refusal {
    #[error("the header `{0}`, which names the client, is missing")]
    MissingIdentity(Box<str>),
    #[error("the header `{0}`, which names the client, must occur exactly once")]
    RepeatedIdentity(Box<str>),
    #[error("the header `{SECRET_HEADER}` is missing or wrong")]
    WrongSecret,
    #[error("no rule limits this client")]
    NotLimited,
    #[error("a usage page is read with GET")]
    MethodNotAllowed,
    #[error("no rules were ever loaded")]
    NotReady,
}

impl Refusal {
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::MissingIdentity(_) => (StatusCode::BAD_REQUEST, "missing_identity"),
            Self::RepeatedIdentity(_) => (StatusCode::BAD_REQUEST, "repeated_identity"),
            Self::WrongSecret => (StatusCode::FORBIDDEN, "wrong_secret"),
            Self::NotLimited => (StatusCode::NOT_FOUND, "not_limited"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.code();
        let body = json!({"error": {"code": code, "message": self.to_string()}}).to_string();
        let mut response = (status, json_headers(), body).into_response();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// Figures that were true a moment ago mislead: nobody keeps them.
fn json_headers() -> [(HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, UsagePage::CONTENT_TYPE), (CACHE_CONTROL, "no-store")]
}

/// Looks at all descriptors of the page and fills it.
async fn show(
    neighbourhood: &Neighbourhood,
    generation: &Generation,
    page: &UsagePage,
    headers: &HeaderMap,
) -> Result<Vec<u8>, Refusal> {
    let decider = &neighbourhood.decider;
    let now = decider.clock.now();
    let descriptors: Vec<Vec<Entry<'_>>> =
        page.descriptors.iter().map(|entries| filled(entries, headers)).collect::<Result<_, _>>()?;
    let mut usages: Vec<Usage<'_>> = Vec::with_capacity(descriptors.len());
    for entries in &descriptors {
        let usage = look(generation, &decider.store, &decider.hash_key, now, &page.domain, entries).await;
        // Some clients are limited by less than others.
        usages.extend(usage);
    }
    let looked: Vec<Looked<'_>> = usages.iter().map(looked).filter(|looked| !looked.windows.is_empty()).collect();
    if looked.is_empty() {
        return Err(Refusal::NotLimited);
    }
    let mut body = Vec::new();
    let domain = generation.rules.domains.get(page.domain.as_bytes());
    page.fill(now, domain, &looked, &descriptors.concat(), &mut body);
    Ok(body)
}

/// A descriptor of this request.
fn filled<'e>(entries: &'e [PageEntry], headers: &'e HeaderMap) -> Result<Vec<Entry<'e>>, Refusal> {
    let fill = |entry: &'e PageEntry| {
        let value = match &entry.value {
            PageValue::Fixed(value) => value.as_bytes(),
            PageValue::Header(name) => identity(headers, name)?,
        };
        Ok(Entry { key: entry.key.as_bytes(), value })
    };
    entries.iter().map(fill).collect()
}

/// The value that names a client. Envoy appends by default: of two, the first would be the client's own.
fn identity<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h [u8], Refusal> {
    match only_one(headers, name) {
        Ok([]) | Err(Not::There) => Err(Refusal::MissingIdentity(name.into())),
        Ok(value) => Ok(value),
        Err(Not::Once) => Err(Refusal::RepeatedIdentity(name.into())),
    }
}

/// Why a header has not one value.
enum Not {
    There,
    Once,
}

/// The value of a header that occurs exactly once.
fn only_one(headers: &HeaderMap, name: impl AsHeaderName) -> Result<&[u8], Not> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(Not::There),
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(Not::Once),
    }
}

/// What clients may know of it: shadow limits show in nothing that they see.
fn looked<'u>(usage: &'u Usage<'_>) -> Looked<'u> {
    let windows = usage.windows.iter().filter(|window| !window.shadow).map(facts).collect();
    Looked { rule: usage.rule, windows }
}

fn facts(window: &WindowUsage) -> WindowFacts<'_> {
    let WindowUsage { name, limit, current, remaining, reset_secs, .. } = window;
    WindowFacts { name, limit: *limit, current: *current, remaining: *remaining, reset_secs: *reset_secs }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        Router,
        body::{Body, to_bytes},
        http::{Request, request::Builder},
    };
    use hashbrown::HashMap;
    use tower::Service as _;

    use super::*;
    use crate::{
        clock::Clock,
        config::{Compiled, DomainDefaults, RuleFile, compile},
        decide::Decider,
        health::Health,
        live::{Live, RuleSet},
        orders::Book,
        rules::identity::HashKey,
        store::{Store, memory::Memory},
        telemetry::{Telemetry, decisions::Decisions, events::ServerEvents},
        units::Timestamp,
    };

    const RULES: &str = "
domain: d
usage:
  path: /mine
  descriptors:
    - [{key: plan, value: free}, {key: user, header: X-User}]
    - [{key: ip, header: x-ip}]
descriptors:
  - key: plan
    name: plan
    descriptors: [{key: user, name: user, limits: [{rate: 9/3650d, name: long}, {rate: 1/s, mode: shadow}]}]
  - {key: ip, name: ip, value: 10*, limits: [7/3650d]}
";

    fn router(rules: Option<&str>, secret: Option<&str>) -> Router {
        let (live, telemetry) = (Arc::new(Live::default()), Telemetry::new(1));
        if let Some(text) = rules {
            let file = RuleFile { name: "f".into(), path: "/f".into(), text: text.into() };
            let mut no_lists = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
            let Compiled { rules, responses, usage_pages, .. } =
                compile(&[file], DomainDefaults::default(), &mut no_lists).unwrap();
            let decisions = Decisions::new(Arc::clone(&telemetry), &rules);
            let set =
                RuleSet { number: 1, hash: String::new(), rules, responses, usage_pages, decisions, compat: None };
            let generation = Generation { set: Arc::new(set), orders: HashMap::new() };
            live.replace(Arc::new(generation));
        }
        let hash_key = HashKey::Secret([2; 16]);
        let decider = Decider {
            clock: Clock,
            book: Arc::new(Book::open(Arc::clone(&live), hash_key, None, Timestamp::EPOCH)),
            live,
            store: Arc::new(Store::Memory(Memory::new(100_000))),
            events: Arc::new(ServerEvents::new(&telemetry)),
            telemetry,
            hash_key,
            tracer: None,
        };
        super::super::router(Neighbourhood {
            decider: Arc::new(decider),
            usage_secret: secret.map(|secret| Arc::new(Secret(secret.as_bytes().into()))),
            health: Arc::new(Health::default()),
        })
    }

    async fn ask(mut router: Router, request: Builder) -> (u16, String) {
        let response = router.call(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let allow = response.headers().get(ALLOW).cloned();
        assert_eq!(allow.is_some_and(|allow| allow == "GET"), status == 405);
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn get(uri: &str, headers: &[(&str, &str)]) -> Builder {
        headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value))
    }

    #[tokio::test]
    async fn a_page_shows_every_descriptor_that_is_limited() {
        for (headers, expected) in [
            (
                [("x-user", "u"), ("x-ip", "10.0.0.1")],
                r#"{"rateLimit":{"user":{"long":{"current":0,"limit":9}},"ip":{"3650d":{"current":0,"limit":7}}}}"#,
            ),
            ([("X-USER", "u"), ("x-ip", "192.0.2.1")], r#"{"rateLimit":{"user":{"long":{"current":0,"limit":9}}}}"#),
        ] {
            let answer = ask(router(Some(RULES), None), get("/mine?query=is-fine", &headers)).await;
            assert_eq!(answer, (200, expected.to_owned()));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_with_a_status_of_its_own() {
        let page = |headers: &[(&str, &str)]| ask(router(Some(RULES), None), get("/mine", headers));
        let error = |code: &str, message: &str| format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        let missing = error("missing_identity", "the header `x-user`, which names the client, is missing");
        assert_eq!(page(&[("x-ip", "10.0.0.1")]).await, (400, missing.clone()));
        assert_eq!(page(&[("x-ip", "10.0.0.1"), ("x-user", "")]).await, (400, missing));
        let repeated = error("repeated_identity", "the header `x-ip`, which names the client, must occur exactly once");
        for second in ["10.0.0.1", "10.0.0.2", ""] {
            let answer = page(&[("x-user", "u"), ("x-ip", "10.0.0.1"), ("x-ip", second)]).await;
            assert_eq!(answer, (400, repeated.clone()));
        }
        for method in ["POST", "HEAD", "DELETE", "OPTIONS"] {
            let (status, _) = ask(router(Some(RULES), None), Request::builder().method(method).uri("/mine")).await;
            assert_eq!(status, 405, "{method}");
        }
        for path in ["/min", "/mine/", "/", "/Mine", "/%6dine"] {
            let (status, body) = ask(router(Some(RULES), None), get(path, &[])).await;
            assert_eq!((status, body.starts_with("no such page")), (404, true), "{path}");
        }
        let exempt = RULES.replace("limits: [{rate: 9/3650d, name: long}, {rate: 1/s, mode: shadow}]", "deny: true");
        let answer = ask(router(Some(&exempt), None), get("/mine", &[("x-user", "u"), ("x-ip", "192.0.2.1")])).await;
        assert_eq!(answer, (404, error("not_limited", "no rule limits this client")));
        let answer = ask(router(None, None), get("/mine", &[])).await;
        assert_eq!(answer, (503, error("not_ready", "no rules were ever loaded")));
    }

    #[tokio::test]
    async fn with_a_secret_only_who_shows_it_exactly_once_sees_a_page() {
        for (shown, status) in [
            (&["s3cret"][..], 200),
            (&[], 403),
            (&[""], 403),
            (&["s3cre"], 403),
            (&["s3crets"], 403),
            (&["S3cret"], 403),
            (&["s3cret", "s3cret"], 403),
            (&["other", "s3cret"], 403),
        ] {
            let request = get("/mine", &[("x-user", "u"), ("x-ip", "10.0.0.1")]);
            let request = shown.iter().fold(request, |request, value| request.header("x-usage-secret", *value));
            let answer = ask(router(Some(RULES), Some("s3cret")), request).await;
            assert_eq!(answer.0, status, "{shown:?}");
            assert!(!answer.1.contains("s3cret"), "{answer:?}");
        }
    }

    #[test]
    fn a_secret_is_one_line_that_a_header_can_carry() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (text, good) in [
            ("s3cret", true),
            ("s3cret\r\n", true),
            ("\n", false),
            ("", false),
            ("two\nlines", false),
            ("a blank", false),
            ("ä", false),
        ] {
            fs::write(&path, text).unwrap();
            let secret = Secret::read(&path);
            assert_eq!(secret.is_ok(), good, "{text:?}");
            assert!(secret.is_err() || format!("{secret:?}") == "Ok(Secret(…))");
            assert!(secret.is_err() || secret.is_ok_and(|secret| *secret.0 == *b"s3cret"));
        }
        assert!(Secret::read(&directory.path().join("gone")).is_err());
    }
}
