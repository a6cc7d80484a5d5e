use proptest::prelude::*;

use super::*;
use crate::{
    bounds,
    decision::{Figure, Status},
    render::{
        Beside, Collected, Response,
        headers::list::{Header, List, On, check_name},
        render,
        scene::{Scene, Stand},
        text::is_header_value,
    },
    units::{Nanos, Timestamp},
};

const MINUTE: Nanos = Nanos::from_secs(60);

/// 120 a minute, two used, and 4 a second, one used.
fn accepted() -> Scene {
    let minute = Stand { used: 2, available: 118, remaining: 118, reset_secs: 32 };
    let second = Stand { used: 1, available: 3, remaining: 3, reset_secs: 1 };
    let mut scene =
        Scene::new("shop", "per-user").window("minute", 120, MINUTE, minute).window("second", 4, Nanos::SECOND, second);
    scene.now = Timestamp(1_700_000_000_500_000_000);
    scene
}

fn refused_by_the_second() -> Scene {
    let mut scene = accepted().refuse(1, Some(1));
    scene.stands[1] = Stand { used: 4, available: 0, remaining: 0, reset_secs: 1 };
    scene
}

fn sent(headers: Headers, scene: &Scene) -> Vec<String> {
    lines(&scene.play(&Response { headers, ..Response::default() }))
}

fn lines(answer: &Collected) -> Vec<String> {
    answer.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
}

#[test]
fn the_documentation_names_every_profile() {
    for name in Headers::NAMES {
        assert!(Headers::named(name, &Arc::default()).is_some(), "{name}");
        assert!(include_str!("mod.rs").contains(&format!("//! | `{name}` |")), "{name} is not in the table");
    }
    assert!(Headers::named("nginx", &Arc::default()).is_none());
}

#[test]
fn each_profile_has_its_headers() {
    let table: [(&str, &[&str], &[&str]); 6] = [
        ("none", &[], &[]),
        (
            "x-ratelimit",
            &["X-RateLimit-Limit: 120", "X-RateLimit-Remaining: 118", "X-RateLimit-Reset: 32"],
            &["X-RateLimit-Limit: 4", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1"],
        ),
        (
            "ratelimit",
            &["RateLimit-Limit: 120, 120;w=60, 4;w=1", "RateLimit-Remaining: 118", "RateLimit-Reset: 32"],
            &["RateLimit-Limit: 4, 120;w=60, 4;w=1", "RateLimit-Remaining: 0", "RateLimit-Reset: 1"],
        ),
        (
            "ietf",
            &[r#"RateLimit-Policy: "minute";q=120;w=60, "second";q=4;w=1"#, r#"RateLimit: "minute";r=118;t=32"#],
            &[r#"RateLimit-Policy: "minute";q=120;w=60, "second";q=4;w=1"#, r#"RateLimit: "second";r=0;t=1"#],
        ),
        (
            "github",
            &[
                "x-ratelimit-limit: 120",
                "x-ratelimit-remaining: 118",
                "x-ratelimit-used: 2",
                "x-ratelimit-reset: 1700000033",
                "x-ratelimit-resource: per-user",
            ],
            &[
                "x-ratelimit-limit: 4",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-used: 4",
                "x-ratelimit-reset: 1700000002",
                "x-ratelimit-resource: per-user",
            ],
        ),
        (
            "envoyproxy",
            &["RateLimit-Limit: 120", "RateLimit-Remaining: 118", "RateLimit-Reset: 32"],
            &["RateLimit-Limit: 4", "RateLimit-Remaining: 0", "RateLimit-Reset: 1"],
        ),
    ];
    assert_eq!(table.len(), Headers::NAMES.len(), "every profile has a row");
    for (name, on_acceptance, on_refusal) in table {
        let headers = || Headers::named(name, &Arc::default()).expect("a profile");
        assert_eq!(sent(headers(), &accepted()), on_acceptance, "{name}, accepted");
        assert_eq!(sent(headers(), &refused_by_the_second()), on_refusal, "{name}, refused");

        assert_eq!(sent(headers(), &Scene::new("shop", "deny").refuse(0, None)), [""; 0], "{name}, no windows");
        let hidden = Scene { exposed: false, ..accepted() };
        assert_eq!(sent(headers(), &hidden), [""; 0], "{name}, not exposed");
        let shadow = Scene { silent: true, ..accepted() };
        assert_eq!(sent(headers(), &shadow), [""; 0], "{name}, shadow");
    }
}

#[test]
fn windows_without_whole_seconds_are_said_as_far_as_they_can_be() {
    let stand = Stand { used: 1, available: 4, remaining: 4, reset_secs: 1 };
    let half = Scene::new("shop", "r").window("500ms", 5, Nanos::from_millis(500), stand);
    assert_eq!(sent(Headers::RateLimit, &half)[0], "RateLimit-Limit: 5");
    assert_eq!(sent(Headers::Ietf, &half), [r#"RateLimit-Policy: "500ms";q=5"#, r#"RateLimit: "500ms";r=4;t=1"#]);

    let both = half.window("1500ms", 9, Nanos::from_millis(1_500), stand);
    assert_eq!(sent(Headers::RateLimit, &both)[0], "RateLimit-Limit: 5, 9;w=2");
    assert_eq!(sent(Headers::Ietf, &both)[0], r#"RateLimit-Policy: "500ms";q=5, "1500ms";q=9;w=2"#);
}

#[test]
fn structured_fields_stay_valid_whatever_the_names_and_numbers() {
    let stand = Stand { used: 0, available: u64::MAX, remaining: u64::MAX, reset_secs: u64::MAX };
    let scene = Scene::new("shop", "r").window("a\"b\\c, ü", u64::MAX, MINUTE, stand);
    assert_eq!(
        sent(Headers::Ietf, &scene),
        [
            r#"RateLimit-Policy: "a\"b\\c, %C3%BC";q=999999999999999;w=60"#,
            r#"RateLimit: "a\"b\\c, %C3%BC";r=999999999999999;t=999999999999999"#,
        ]
    );

    let name = "x".repeat(bounds::NAME_MAX_CHARS);
    let many = (0..bounds::LIMITS_PER_RULE_MAX)
        .fold(Scene::new("shop", "r"), |scene, _| scene.window(&name, u64::MAX, MINUTE, stand));
    let policy = sent(Headers::Ietf, &many).swap_remove(0);
    assert!(policy.len() <= bounds::HEADER_VALUE_MAX_BYTES + "RateLimit-Policy: ".len());
    assert!(policy.ends_with(";q=999999999999999;w=60"), "cut between members: {policy}");
}

#[test]
fn the_old_service_chooses_the_least_remaining_but_the_last_that_is_over() {
    let scene = accepted();
    let base = scene.decision();
    let figure = base.statuses[0].figure.expect("a figure");
    let status = |remaining, refused, exposed| Status {
        refused,
        figure: Some(Figure { remaining, reset_secs: remaining * 10, ..figure }),
        exposed,
        unlimited: false,
        quota: false,
        met: None,
    };
    let silent = Status { refused: false, figure: None, exposed: true, unlimited: true, quota: false, met: None };
    let table = [
        (vec![status(5, false, true), status(3, false, true), status(4, false, true)], Some("3")),
        (vec![silent.clone(), status(7, false, true)], Some("7")),
        (vec![status(0, false, true), status(9, true, true), status(1, true, true), status(2, false, true)], Some("1")),
        (vec![status(1, false, false), status(2, false, true)], Some("2")),
        (vec![silent], None),
        (vec![], None),
    ];
    for (statuses, remaining) in table {
        let mut decision = base.clone();
        decision.statuses = statuses.into_iter().collect();
        let responses = [Response { headers: Headers::Envoyproxy(Arc::default()), ..Response::default() }];
        let mut answer = Collected::default();
        render(
            &decision,
            &scene.request(),
            &responses,
            Beside { store: "memory", repeats_request: false },
            &mut Vec::new(),
            &mut answer,
        );
        assert_eq!(answer.header("ratelimit-remaining"), remaining.map(str::as_bytes));
    }
}

/// One member of a structured field: its string, and its integer parameters.
type Member = (String, Vec<(char, u64)>);

/// A parser of lists of strings with integer parameters (RFC 9651, sections 4.2.1 to 4.2.5), as strict as the RFC.
fn members(field: &str) -> Option<Vec<Member>> {
    let mut rest = field;
    let mut members = Vec::new();
    loop {
        let (name, after) = string(rest.strip_prefix('"')?)?;
        rest = after;
        let mut parameters = Vec::new();
        while let Some(parameter) = rest.strip_prefix(';') {
            let key = parameter.chars().next().filter(char::is_ascii_lowercase)?;
            let value = parameter.get(1..)?.strip_prefix('=')?;
            let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = value.split_at_checked(digits).filter(|_| (1..=15).contains(&digits))?;
            parameters.push((key, number.parse().ok()?));
            rest = after;
        }
        members.push((name, parameters));
        if rest.is_empty() {
            return Some(members);
        }
        rest = rest.strip_prefix(", ")?;
    }
}

fn string(text: &str) -> Option<(String, &str)> {
    let mut string = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((string, chars.as_str())),
            '\\' => string.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => string.push(c),
            _ => return None,
        }
    }
}

fn list(headers: &[(&str, &str, Option<On>)]) -> Headers {
    let headers = headers.iter().map(|&(name, value, on)| Header::new(name, value, on).expect("a header"));
    Headers::List(List::new(headers.collect()).expect("a list"))
}

#[test]
fn a_list_sends_what_there_is_to_say() {
    let headers = || {
        list(&[
            ("RateLimit-Remaining", "{% if denied %}-1{% else %}{{ remaining }}{% endif %}", None),
            ("X-RateLimit-Who", "{{ descriptor.user }}", None),
            ("X-Why", "{{ message }}", None),
            ("X-Always", " as it is: 100% \u{fc}\n", Some(On::Always)),
            ("Retry-At", "{{ retry_after | http_date }}", Some(On::Always)),
        ])
    };
    let always = "X-Always: as it is: 100% %C3%BC".to_owned();
    assert_eq!(sent(headers(), &accepted()), ["RateLimit-Remaining: 118", &always]);
    assert_eq!(
        sent(headers(), &refused_by_the_second().entry("user", b"a\r\nb")),
        [
            "RateLimit-Remaining: -1",
            "X-RateLimit-Who: a%0D%0Ab",
            "X-Why: Retry after 1 s",
            &always,
            "Retry-At: Tue, 14 Nov 2023 22:13:22 GMT",
        ]
    );
    let hidden = Scene { exposed: false, ..accepted() };
    assert_eq!(sent(headers(), &hidden), ["X-Always: as it is: 100% %C3%BC"]);
    let deny = Scene::new("shop", "deny").refuse(0, None);
    assert_eq!(sent(headers(), &deny), ["RateLimit-Remaining: -1", "X-Why: This request is not allowed", &always]);
}

#[test]
fn a_list_that_sends_retry_after_sends_it_alone() {
    let own = || list(&[("Retry-After", "{{ retry_after | http_date }}", None)]);
    let response = Response { headers: own(), retry_after: true, ..Response::default() };
    let lines_of = |scene: &Scene| lines(&scene.play(&response));
    assert_eq!(lines_of(&refused_by_the_second()), ["Retry-After: Tue, 14 Nov 2023 22:13:22 GMT"]);
    assert_eq!(lines_of(&accepted()), [""; 0]);

    let silent = Response {
        headers: list(&[("Retry-After", "{{ descriptor.nothing }}", None)]),
        retry_after: true,
        ..Response::default()
    };
    assert_eq!(lines(&refused_by_the_second().play(&silent)), ["retry-after: 1"]);
}

#[test]
fn names_that_would_do_harm_are_refused() {
    for name in [
        "",
        "x y",
        "x:",
        ":status",
        "x\r\ny",
        "caf\u{e9}",
        "Host",
        "content-length",
        "Content-Type",
        "TE",
        "upgrade",
        "Transfer-Encoding",
        "connection",
        "content-encoding",
        "date",
        "server",
    ] {
        assert!(check_name(name).is_err(), "{name:?}");
        assert!(Header::new(name, "x", None).is_err(), "{name:?}");
    }
    assert!(check_name(&"x".repeat(bounds::NAME_MAX_CHARS + 1)).is_err());
    assert!(Header::new("Retry-After", "1", Some(On::Always)).is_err());
    assert!(Header::new("location", "/", Some(On::Always)).is_err());
    assert!(Header::new("retry-after", "1", None).is_ok());

    let twice = ["X-A", "x-a"].map(|name| Header::new(name, "x", None).expect("a header"));
    assert_eq!(List::new(twice.into()).unwrap_err().message, "the header `x-a` is set twice");
}

#[test]
fn a_header_template_is_one_line() {
    let fault = Header::new("x-a", "one\ntwo", None).unwrap_err();
    assert_eq!((fault.at, fault.message.as_str()), (3, "a header's value is one line of printable text"));
}

proptest! {
    #[test]
    fn a_parser_of_structured_fields_reads_every_name_and_number(
        windows in prop::collection::vec(("[ -~]{0,40}", any::<u64>(), any::<u64>()), 1..5),
    ) {
        let scene = windows.iter().fold(Scene::new("shop", "r"), |scene, (name, number, length)| {
            let stand = Stand { used: 0, available: 0, remaining: *number, reset_secs: *number };
            scene.window(name, *number, Nanos(*length), stand)
        });
        let headers = scene.play(&Response { headers: Headers::Ietf, ..Response::default() }).headers;
        let field = |at: usize| members(std::str::from_utf8(&headers[at].1).expect("ASCII"));

        let number = |number: u64| number.min(999_999_999_999_999);
        let policies = windows.iter().map(|(name, count, length)| {
            let w = (*length >= Nanos::SECOND.0).then(|| ('w', Nanos(*length).ceil_secs()));
            (name.clone(), [('q', number(*count))].into_iter().chain(w).collect())
        });
        prop_assert_eq!(field(0), Some(policies.collect::<Vec<Member>>()));
        let (name, left, _) = &windows[0];
        prop_assert_eq!(field(1), Some(vec![(name.clone(), vec![('r', number(*left)), ('t', number(*left))])]));
    }

    #[test]
    fn no_value_of_a_request_breaks_a_header(
        value: Vec<u8>,
        name in "\\PC{0,128}",
        number: u64,
        refused: bool,
        repeat in 1..200_usize,
    ) {
        let stand = Stand { used: number, available: number, remaining: number, reset_secs: number };
        let mut scene = Scene::new(&name, &name).window(&name, number, MINUTE, stand).entry("k", &value.repeat(repeat));
        if refused {
            scene = scene.refuse(0, Some(number));
        }
        let own = list(&[("x-ratelimit-k", "k={{ descriptor.k }}, %4{{ rule }}{{ window }}{{ domain }}", None)]);
        let profiles = Headers::NAMES.into_iter().filter_map(|name| Headers::named(name, &Arc::default())).chain([own]);
        for headers in profiles {
            let answer = scene.play(&Response { headers, ..Response::default() });
            for (name, value) in answer.headers {
                prop_assert!(is_header_value(&value), "{}: {:?}", name, value);
                prop_assert!(!value.is_empty() && value.len() <= bounds::HEADER_VALUE_MAX_BYTES);
            }
        }
    }
}
