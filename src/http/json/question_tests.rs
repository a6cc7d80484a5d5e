//! What Go's protojson reads is read the same; what it refuses is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_question_is_read_in_all_its_spellings() {
    const ONE: &str = "shop 0 [k=v]";
    for (body, read) in [
        (r#"{"domain": "shop", "descriptors": [{"entries": [{"key": "k", "value": "v"}]}]}"#, ONE),
        (r#"{"descriptors":[{"entries":[{"value":"v","key":"k"}]}],"domain":"shop"}"#, ONE),
        (r#" {"domain":"\u0073hop","descriptors":[{"entries":[{"key":"\u006b","value":"v"}]}]} "#, ONE),
        (
            r#"{"domain":"shop","hitsAddend":null,"descriptors":[{"limit":null,"entries":[{"key":"k","value":"v"}]}]}"#,
            ONE,
        ),
        ("{}", " 0"),
        (r#"{"domain": null, "descriptors": null}"#, " 0"),
        (r#"{"domain":"d","hitsAddend":4294967295}"#, "d 4294967295"),
        (r#"{"domain":"d","hits_addend":"7"}"#, "d 7"),
        (r#"{"domain":"d","hitsAddend":1e2}"#, "d 100"),
        (r#"{"domain":"d","hitsAddend":3.0}"#, "d 3"),
        (r#"{"domain":"d","hitsAddend":"3.0e1"}"#, "d 30"),
        (r#"{"descriptors":[{},{"entries":[]},{"entries":null},{"entries":[{}]}]}"#, " 0 [] [] [] [=]"),
        (
            r#"{"descriptors":[{"hitsAddend":0},{"hits_addend":"0"},{"hitsAddend":5},{"hitsAddend":"18446744073709551615"}]}"#,
            " 0 []*0 []*0 []*5 []*18446744073709551615",
        ),
        (
            r#"{"descriptors":[{"hitsAddend":18446744073709551615,"isNegativeHits":true},{"is_negative_hits":false}]}"#,
            " 0 []*18446744073709551615 back []",
        ),
        (r#"{"descriptors":[{"limit":{}},{"limit":{"requestsPerUnit":5,"unit":"DAY"}}]}"#, " 0 []<0/0 []<5/4"),
        (r#"{"descriptors":[{"limit":{"requests_per_unit":"5","unit":2,"unit_multiplier":3}}]}"#, " 0 []<5/2x3"),
        (r#"{"descriptors":[{"limit":{"unit":-2147483648,"unitMultiplier":"0"}}]}"#, " 0 []<0/-2147483648x0"),
        (
            r#"{"descriptors":[{"limit":{"unit":6.0}},{"limit":{"unit":99}},{"limit":{"unit":null}}]}"#,
            " 0 []<0/6 []<0/99 []<0/0",
        ),
        (r#"{"domain":"ä\u0000\ud83d\ude00"}"#, "ä\0\u{1f600} 0"),
    ] {
        assert_eq!(told(body).as_deref(), Some(read), "{body}");
    }
}

#[test]
fn what_is_no_question_is_refused() {
    let entries = |inner: &str| format!(r#"{{"domain":"d","descriptors":[{{"entries":{inner}}}]}}"#);
    let deep = format!(r#"{{"descriptors":{}"#, "[".repeat(100_000));
    let limit = |inner: &str| format!(r#"{{"descriptors":[{{"limit":{inner}}}]}}"#);
    for body in [
        "",
        " ",
        "null",
        "[]",
        "7",
        "{",
        "{}x",
        "{} {}",
        "{'domain':'d'}",
        "{domain:\"d\"}",
        r#"{"domain":"d",}"#,
        r#"["d",[],1]"#,
        r#"{"Domain":"d"}"#,
        r#"{"domian":"d"}"#,
        r#"{"domian":null}"#,
        r#"{"@type":"x"}"#,
        r#"{"domain":1}"#,
        r#"{"domain":true}"#,
        r#"{"domain":["d"]}"#,
        r#"{"domain":"\ud800"}"#,
        // Once by each name, once more by the same, and once as null.
        r#"{"domain":"d","domain":"d"}"#,
        r#"{"hitsAddend":1,"hits_addend":1}"#,
        r#"{"domain":null,"domain":"d"}"#,
        r#"{"hitsAddend":-1}"#,
        r#"{"hitsAddend":-0}"#,
        r#"{"hitsAddend":4294967296}"#,
        r#"{"hitsAddend":0.5}"#,
        r#"{"hitsAddend":1e300}"#,
        r#"{"hitsAddend":""}"#,
        r#"{"hitsAddend":" 1"}"#,
        r#"{"hitsAddend":"0x1"}"#,
        r#"{"hitsAddend":"-1"}"#,
        r#"{"hitsAddend":true}"#,
        r#"{"hitsAddend":{"value":1}}"#,
        r#"{"descriptors":{}}"#,
        r#"{"descriptors":[null]}"#,
        r#"{"descriptors":[[]]}"#,
        r#"{"descriptors":[{"hitsAddend":18446744073709551616}]}"#,
        r#"{"descriptors":[{"hitsAddend":{"value":"1"}}]}"#,
        r#"{"descriptors":[{"isNegativeHits":"true"}]}"#,
        r#"{"descriptors":[{"isNegativeHits":1}]}"#,
        &entries("{}"),
        &entries("[null]"),
        &entries(r#"[{"key":"k","valeu":"v"}]"#),
        &entries(r#"["k","v"]"#),
        &entries(r#"[{"key":"k","key":"k"}]"#),
        &entries(r#"[{"key":["k"]}]"#),
        &limit("[]"),
        &limit("5"),
        &limit(r#"{"unit":"day"}"#),
        &limit(r#"{"unit":"FORTNIGHT"}"#),
        &limit(r#"{"unit":"4"}"#),
        &limit(r#"{"unit":4.5}"#),
        &limit(r#"{"unit":2147483648}"#),
        &limit(r#"{"unitMultiplier":{"value":3}}"#),
        &deep,
    ] {
        assert_eq!(told(body), None, "{body}");
    }
    assert!(read(b"{\"domain\":\"\xff\"}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_a_question_says_is_read((body, expected) in any_question()) {
        prop_assert_eq!(told(&body), Some(expected));
    }

    #[test]
    fn no_body_is_too_much(body in "[\\[{\"\\]}:, a-z0-9\\\\u]{0,60}") {
        let _ = told(&body);
    }
}

/// What was read, in a line.
fn told(body: &str) -> Option<String> {
    let question = read(body.as_bytes()).ok()?;
    let request = question.request();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut told = format!("{} {}", text(request.domain), request.hits);
    for descriptor in &request.descriptors {
        let entries = request.entries_of(descriptor).iter();
        let entries: Vec<String> = entries.map(|entry| format!("{}={}", text(entry.key), text(entry.value))).collect();
        told += &line(&entries, descriptor);
    }
    Some(told)
}

fn line(entries: &[String], descriptor: &Descriptor) -> String {
    let limit = descriptor.limit.map(|RequestLimit { requests_per_unit, unit, unit_multiplier }| {
        let times = unit_multiplier.map(|times| format!("x{times}")).unwrap_or_default();
        format!("<{requests_per_unit}/{unit}{times}")
    });
    let hits = descriptor.hits.map(|hits| format!("*{hits}")).unwrap_or_default();
    let back = if descriptor.gives_back { " back" } else { "" };
    format!(" [{}]{}{hits}{back}", entries.join(","), limit.unwrap_or_default())
}

/// A body, and what is in it.
fn any_question() -> impl Strategy<Value = (String, String)> {
    let descriptors = proptest::collection::vec(any_descriptor(), 0..4);
    (".{0,20}", any::<u32>(), any::<[bool; 2]>(), descriptors).prop_map(|(domain, hits, [snake, text], descriptors)| {
        let (values, lines): (Vec<Value>, Vec<String>) = descriptors.into_iter().unzip();
        let body = json!({
            "domain": domain,
            "descriptors": values,
            name("hitsAddend", snake): number(hits.into(), text),
        });
        (body.to_string(), format!("{domain} {hits}{}", lines.concat()))
    })
}

fn any_descriptor() -> impl Strategy<Value = (Value, String)> {
    let limit =
        (any::<u32>(), 0..7_i32, any::<Option<u32>>()).prop_map(|(requests_per_unit, unit, unit_multiplier)| {
            RequestLimit { requests_per_unit, unit, unit_multiplier }
        });
    let entries = proptest::collection::vec((".{0,9}", ".{0,9}"), 0..4);
    let rest = (proptest::option::of(limit), any::<Option<u64>>(), any::<bool>());
    (entries, rest, any::<[bool; 3]>()).prop_map(|(entries, (limit, hits, gives_back), [snake, text, named])| {
        let units = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR"];
        let mut value = json!({
            "entries": entries.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>(),
        });
        if gives_back {
            value[name("isNegativeHits", snake)] = json!(true);
        }
        value[name("hitsAddend", snake)] = hits.map_or(Value::Null, |hits| number(hits, text));
        value["limit"] = limit.map_or(Value::Null, |limit| {
            let unit = units[usize::try_from(limit.unit).unwrap()];
            json!({
                name("requestsPerUnit", snake): number(limit.requests_per_unit.into(), text),
                "unit": if named { json!(unit) } else { json!(limit.unit) },
                name("unitMultiplier", snake): limit.unit_multiplier.map(|times| number(times.into(), text)),
            })
        });
        let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
        (value, line(&entries, &Descriptor { limit, hits, gives_back, ..Descriptor::default() }))
    })
}

/// A field by its JSON name, or by that in the protocol's files.
fn name(camel: &str, snake: bool) -> String {
    if !snake {
        return camel.to_owned();
    }
    camel.chars().fold(String::new(), |name, c| match c {
        'A'..='Z' => name + "_" + &c.to_lowercase().to_string(),
        c => name + &c.to_string(),
    })
}

fn number(number: u64, text: bool) -> Value {
    if text { json!(number.to_string()) } else { json!(number) }
}
