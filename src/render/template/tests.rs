use proptest::prelude::*;

use super::*;
use crate::{
    bounds,
    render::scene::{Scene, Stand},
    units::{Nanos, Timestamp},
};

/// Refused by 5 an hour, after 59 seconds.
fn refused() -> Scene {
    let hour = Stand { used: 5, available: 2, remaining: 0, reset_secs: 59 };
    let mut scene = Scene::new("shop", "per \"key\"")
        .window("hour", 5, Nanos::from_secs(3_600), hour)
        .entry("user", b"o'neil <x>")
        .entry("odd key", b"odd")
        .entry("x-api-key", b"k1")
        .entry("user", b"second")
        .refuse(0, Some(59));
    scene.now = Timestamp::from_secs(784_111_718);
    scene
}

fn accepted() -> Scene {
    Scene { refused: false, retry_after_secs: None, ..refused() }
}

fn json(text: &str, scene: &Scene) -> String {
    match Template::parse(text, Escape::Json) {
        Ok(template) => scene.fill(&template).0,
        Err(fault) => panic!("{text}: {fault:?}"),
    }
}

#[test]
fn every_variable_and_filter_has_its_value() {
    for (text, expected) in [
        ("plain { } }} text", "plain { } }} text"),
        ("{{ message }}", "Retry after 1 min"),
        ("{{ retry_after }}", "59"),
        ("{{limit}}/{{used}}/{{remaining}}/{{available}}/{{reset}}", "5/5/0/2/59"),
        ("{{ denied }}", "true"),
        ("{{ policies }}", "5;w=3600"),
        ("{{ rule }} {{ window }} {{ domain }}", "per \\\"key\\\" hour shop"),
        ("{{ descriptor.user }}", "o'neil \\u003Cx\\u003E"),
        ("{{ descriptor.x-api-key }}", "k1"),
        ("{{ descriptor[\"odd key\"] }}{{ descriptor[ 'odd key' ] }}", "oddodd"),
        ("[{{ descriptor.absent }}]", "[]"),
        ("{{ 'text' }} {{ \"}}\" }} {{ '{{' }} {{ 'it\\'s \\\\' }} {{ 42 }}", "text }} {{ it's \\\\ 42"),
        ("{{ retry_after | humanize }}", "1 min"),
        ("{{ 7200 | humanize }}", "2 h"),
        ("{{ retry_after | epoch }}", "784111777"),
        ("{{ retry_after | http_date }}", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("{{ retry_after | json }} {{ denied | json }}", "59 true"),
        ("{{ rule | json }} {{ retry_after | humanize | json }}", "\"per \\\"key\\\"\" \"1 min\""),
        ("{\"a\":{\"b\":{{ limit }}}}", "{\"a\":{\"b\":5}}"),
    ] {
        assert_eq!(json(text, &refused()), expected, "{text}");
    }
}

#[test]
fn the_documentation_names_every_variable_and_filter() {
    let documented: String =
        include_str!("expression.rs").lines().filter(|line| line.starts_with("//! |")).collect::<Vec<_>>().join("\n");
    for name in expression::VARIABLES {
        let text = if name == "descriptor" { "{{ descriptor.x }}".to_owned() } else { format!("{{{{ {name} }}}}") };
        assert!(Template::parse(&text, Escape::Json).is_ok(), "{name}");
    }
    for filter in expression::FILTERS {
        assert!(Template::parse(&format!("{{{{ reset | {filter} }}}}"), Escape::Json).is_ok(), "{filter}");
    }
    for name in expression::VARIABLES.into_iter().chain(expression::FILTERS) {
        let named = documented.contains(&format!("`{name}`")) || documented.contains(&format!("`{name}."));
        assert!(named, "`{name}` is not in the tables");
    }
}

#[test]
fn the_first_entry_of_a_key_speaks_for_it() {
    assert_eq!(json("{{ descriptor.user }}", &refused().entry("user", b"third")), "o'neil \\u003Cx\\u003E");
}

#[test]
fn what_an_answer_does_not_have_is_lacking() {
    for (text, scene, expected) in [
        ("{{ retry_after }}", accepted(), ("0", Filled::Lacking)),
        ("{{ message }}", accepted(), ("", Filled::Whole)),
        ("{% if retry_after %}{{ retry_after }}{% endif %}", accepted(), ("", Filled::Whole)),
        ("{{ limit }}", Scene::new("shop", "deny").refuse(0, None), ("0", Filled::Lacking)),
        ("{{ limit }}", Scene { exposed: false, ..refused() }, ("0", Filled::Lacking)),
        ("{{ retry_after }}", Scene { exposed: false, ..refused() }, ("59", Filled::Whole)),
        ("{{ policies }}{{ window }}", Scene { exposed: false, ..refused() }, ("", Filled::Whole)),
        ("{{ message }}", Scene::new("d", "deny").refuse(0, None), ("This request is not allowed", Filled::Whole)),
        (
            "{{ message }}",
            Scene { never: true, ..refused() },
            ("This request asks for more than the limit allows", Filled::Whole),
        ),
    ] {
        let template = Template::parse(text, Escape::Json).expect(text);
        let (filled, whole) = scene.fill(&template);
        assert_eq!((filled.as_str(), whole), expected, "{text}");
    }
}

#[test]
fn conditions_choose() {
    for (condition, holds) in [
        ("denied", true),
        ("not denied", false),
        ("not not denied", true),
        ("remaining", false),
        ("limit", true),
        ("message", true),
        ("policies", true),
        ("descriptor.absent", false),
        ("'text'", true),
        ("''", false),
        ("limit == 5", true),
        ("limit != 5", false),
        ("limit < 6 and limit <= 5 and limit > 4 and limit >= 5", true),
        ("used == limit", true),
        ("window == 'hour'", true),
        ("'a' < 'b'", true),
        ("descriptor.x-api-key >= 'k2'", false),
        ("remaining or limit", true),
        ("remaining and limit or denied", true),
        ("remaining and (limit or denied)", false),
        ("denied or remaining and remaining", true),
        ("not (denied and limit == 5)", false),
        ("not remaining == 1", true),
        ("((((denied))))", true),
        ("remaining or (remaining or (remaining or (remaining and denied or denied)))", true),
    ] {
        let text = format!("{{% if {condition} %}}yes{{% else %}}no{{% endif %}}");
        assert_eq!(json(&text, &refused()), if holds { "yes" } else { "no" }, "{condition}");
    }
}

#[test]
fn branches_nest_and_chain() {
    let text = "<{% if limit > 100 %}a{%elif limit > 4%}b{% if denied %}c{% else %}d{% endif %}e\
                {% elif limit > 3 %}f{% else %}g{% endif %}>";
    assert_eq!(json(text, &refused()), "<bce>");
    assert_eq!(json(text, &accepted()), "<bde>");
    assert_eq!(json("{% if not denied %}a{% endif %}{% if denied %}{% endif %}z", &refused()), "z");
}

#[test]
fn faults_say_where_and_what_was_meant() {
    let deep = bounds::TEMPLATE_NESTING_MAX + 1;
    let too_deep = format!("{{% if {}denied{} %}}{{% endif %}}", "(".repeat(deep), ")".repeat(deep));
    let table: [(&str, usize, &str, Option<&str>); 27] = [
        ("ü{{ limt }}", 4, "unknown variable `limt`", Some("did you mean `limit`?")),
        ("{{ retry-after }}", 3, "unknown variable `retry-after`", Some("did you mean `retry_after`?")),
        ("{{ retry_after | humanise }}", 17, "unknown filter `humanise`", Some("did you mean `humanize`?")),
        ("{{ rule | humanize }}", 10, "`humanize` needs a number of seconds, such as `retry_after`", None),
        ("{{ reset | epoch | epoch }}", 19, "`epoch` needs a number of seconds, such as `retry_after`", None),
        ("{{ reset | json | epoch }}", 18, "`epoch` behind `json`", Some("`json` comes last")),
        ("{{ }}", 3, "expected a variable, a text in quotes or a number, found `}}`", None),
        ("{{ limit", 8, "expected `|` or `}}`, found the end of the template", None),
        ("{{ limit }", 9, "unexpected `}`", None),
        ("{{ limit used }}", 9, "expected `|` or `}}`, found `used`", None),
        ("{{ 'abc }}", 3, "the text that begins here has no closing '", None),
        ("{{ 'a\\n' }}", 5, "a backslash that escapes nothing", Some("a backslash itself is written `\\\\`")),
        ("{{ 18446744073709551616 }}", 3, "`18446744073709551616` is no number that can be compared", None),
        ("{{ 1.5 }}", 3, "`1.5` is no number that can be compared", None),
        ("{{ descriptor }}", 3, "`descriptor` needs a key", None),
        ("{{ descriptor[user] }}", 3, "`descriptor` needs a key", None),
        ("{{ descriptor. }}", 3, "`descriptor` needs a key", None),
        ("{% if denied %}", 0, "this `if` has no `{% endif %}`", None),
        ("{% endif %}", 3, "`endif` without an `if`", None),
        ("{% else %}", 3, "`else` without an `if`", None),
        ("{% if denied %}{% else %}{% elif denied %}{% endif %}", 28, "`elif` behind `else`", None),
        ("{% elseif denied %}", 3, "unknown tag `elseif`", Some("did you mean `elif`?")),
        ("{% if denied == 'true' %}{% endif %}", 6, "`denied` is not compared", None),
        ("{% if limit == '5' %}{% endif %}", 15, "a number is compared with a text", None),
        (
            "{% if message == '' %}{% endif %}",
            6,
            "`message` and `policies` are made up for people and not compared",
            None,
        ),
        ("{% if (denied %}{% endif %}", 14, "expected `)`, found `%}`", None),
        (&too_deep, 6 + deep - 1, "parentheses nested more than 16 deep", None),
    ];
    for (text, at, message, help) in table {
        let fault = Template::parse(text, Escape::Json).expect_err(text);
        assert_eq!((fault.at, fault.message.as_str()), (at, message), "{text}");
        assert!(help.is_none() || fault.help.as_deref() == help, "{text}: {:?}", fault.help);
    }
}

#[test]
fn a_template_looks_at_a_bounded_number_of_values() {
    let inserts = |count| "{{ limit }}".repeat(count);
    assert!(Template::parse(&inserts(bounds::TEMPLATE_VALUES_MAX), Escape::Json).is_ok());
    let fault = Template::parse(&inserts(bounds::TEMPLATE_VALUES_MAX + 1), Escape::Json).unwrap_err();
    assert_eq!(fault.message, "the template inserts or tests 257 values, at most 256 may be");
    let tests = format!("{{% if denied{} %}}{{% endif %}}", " or denied".repeat(bounds::TEMPLATE_VALUES_MAX));
    assert!(Template::parse(&tests, Escape::Json).is_err());
}

#[test]
fn a_requests_values_need_a_place_with_known_escapes() {
    for escape in [Escape::Header, Escape::Json, Escape::Markup] {
        assert!(Template::parse("{{ descriptor.user }}", escape).is_ok(), "{escape:?}");
    }
    let fault = Template::parse("hello {{ descriptor.user }}", Escape::Plain).unwrap_err();
    assert_eq!(fault.message, "a request's value in a body whose type has no known escapes");
    assert_eq!(fault.at, 9);
    assert!(Template::parse("{% if descriptor.user == 'x' %}{{ rule }}{% endif %}", Escape::Plain).is_ok());

    for escape in [Escape::Header, Escape::Markup, Escape::Plain] {
        assert_eq!(Template::parse("{{ rule | json }}", escape).unwrap_err().message, "`json` outside of a JSON body");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in template_text()) {
        for escape in [Escape::Header, Escape::Json, Escape::Markup, Escape::Plain] {
            match Template::parse(&text, escape) {
                Ok(template) => {
                    for scene in [refused(), accepted(), Scene::new("d", "r").refuse(0, None)] {
                        prop_assert!(scene.fill(&template).0.len() <= template.longest());
                    }
                }
                Err(fault) => prop_assert!(fault.at <= text.chars().count()),
            }
        }
    }

    #[test]
    fn parentheses_change_nothing_where_there_is_one_operator(bits: [bool; 5], and: bool) {
        let word = |bit| if bit { "limit" } else { "remaining" };
        let operator = if and { "and" } else { "or" };
        let [a, b, c, d, e] = bits.map(word);
        let text = format!(
            "{{% if {a} {operator} ({b} {operator} ({c} {operator} {d}) {operator} {e}) %}}true{{% else %}}false{{% endif %}}"
        );
        let expected = if and { bits.iter().all(|&bit| bit) } else { bits.iter().any(|&bit| bit) };
        prop_assert_eq!(json(&text, &refused()), expected.to_string());
    }
}

/// Texts that look like templates more often than chance would have it.
fn template_text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "if",
            "elif",
            "else",
            "endif",
            "{% if denied %}",
            "{% else %}",
            "{% endif %}",
            "and",
            "or",
            "not",
            "(",
            ")",
            "==",
            "<=",
            "<",
            "|",
            "json",
            "humanize",
            "epoch",
            "limit",
            "retry_after",
            "rule",
            "message",
            "descriptor.user",
            "descriptor[",
            "'a'",
            "]",
            "\"",
            "'",
            "\\",
            "12",
            "99999999999999999999",
            " ",
            "{{ limit }}",
            "{{ rule }}",
            "\n",
            "ü",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}
