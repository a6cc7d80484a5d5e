//! Rules that never match and limits that are never reached are warned of, and nothing else is.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{bad::of_rule, *};
use crate::rules::Level;

/// The lines of a file, of its rules alone, that never match.
fn never(rules: &str) -> Vec<u32> {
    let text = format!("domain: d\ndescriptors:\n{rules}");
    let warnings = good(&text).warnings;
    let mut lines: Vec<u32> =
        warnings.iter().filter(|it| it.message.contains("never matches")).map(|it| it.line - 2).collect();
    lines.dedup();
    lines
}

#[test]
fn a_rule_that_never_matches_is_told_so() {
    for (rules, lines) in [
        ("- {key: k, value: 'a*'}\n- {key: k, value: 'ab*'}", vec![2]),
        ("- {key: k, value: 'ab*'}\n- {key: k, value: 'a*'}", vec![]),
        ("- {key: k, value: 'a*'}\n- {key: j, value: 'ab*'}", vec![]),
        ("- {key: k, value: 'a*c'}\n- {key: k, value: 'a*b*c'}\n- {key: k, value: 'a*b'}", vec![2]),
        ("- {key: k, value: '*'}\n- {key: k, regex: 'a+'}\n- {key: k}", vec![2, 3]),
        ("- {key: k}\n- {key: k, regex: 'a+'}\n- {key: k, regex: '.*'}", vec![1]),
        ("- {key: k, regex: 'a.*'}\n- {key: k, value: 'ab*'}", vec![]),
        // Values and paths are looked for first, wherever they stand.
        ("- {key: k, value: '*'}\n- {key: k, value: a}\n- {key: k, values: [b, c]}\n- {key: k, path: /a}", vec![]),
        ("- {key: k, cidr: 10.0.0.0/8}\n- {key: k, cidr: [10.0.0.0/9, 10.128.0.0/9]}", vec![1]),
        ("- {key: k, cidr: 10.0.0.0/8}\n- {key: k, cidr: [10.0.0.0/9, 10.128.0.0/10]}", vec![]),
        ("- {key: k, cidr: 10.0.0.0/8}\n- {key: k, cidr: [10.128.0.0/9, 10.0.0.0/10, 10.64.0.0/10]}", vec![1]),
        ("- {key: k, cidr: 10.0.0.0/8}\n- {key: k, cidr: [10.128.0.0/9, 10.0.0.0/10]}", vec![]),
        // What a list has of its own is matched by the narrower ones of the same list.
        ("- {key: k, cidr: [10.0.0.0/8, 10.0.0.0/9, 10.128.0.0/9]}\n- {key: k, value: x}", vec![]),
        ("- {key: k, cidr: [10.0.0.0/8, 11.0.0.0/8]}\n- {key: k, cidr: [10.0.0.0/9, 10.128.0.0/9]}", vec![]),
        ("- {key: k, cidr: '::1'}\n- {key: k, value: '0::1'}", vec![1]),
        ("- {key: k, cidr: ['::/127']}\n- {key: k, values: ['::', '::1']}", vec![1]),
        ("- {key: k, cidr: ['::/0', 0.0.0.0/0]}\n- {key: k, value: '10.*'}\n- {key: k}", vec![]),
        ("- {key: k, cidr: 255.255.255.254/31}\n- {key: k, values: [255.255.255.255, 255.255.255.254]}", vec![1]),
        // What is taken over may be hidden.
        (
            "- {key: k, value: a, name: a, descriptors: [{key: l, value: 'x*'}]}\n- {key: k, value: b, extends: a, descriptors: [{key: l, value: '*'}]}",
            vec![],
        ),
    ] {
        assert_eq!(never(rules), lines, "{rules}");
    }
}

#[test]
fn what_hides_a_rule_is_named() {
    assert_eq!(
        of_rule("{key: k, value: '*'}\n - {key: k, regex: a}\n - {key: k}"),
        "f:3:4: warning: this rule never matches: the one at f:2 is tried before and takes all of its values; help: the narrower one comes first\n\
         f:4:4: warning: this rule never matches: the one at f:2 is tried before and takes all of its values"
    );
    assert_eq!(
        of_rule("{key: k, cidr: 10.0.0.1}\n - {key: k, value: 10.0.0.1}"),
        "f:2:4: warning: this rule never matches: narrower networks and addresses take all that it has"
    );
}

/// The addresses of a network so small that all of them can be tried.
fn network() -> impl Strategy<Value = String> {
    (0..16_u8, 0..5_u8).prop_map(|(address, free)| format!("10.0.0.{}/{}", address >> free << free, 32 - free))
}

proptest! {
    #[test]
    fn a_network_is_said_to_be_used_up_if_it_is(
        networks in proptest::collection::btree_set(network(), 1..12), address in prop::option::of(0..16_u8),
    ) {
        let mut rules: Vec<String> = networks.iter().map(|net| format!("- {{key: k, cidr: {net}}}")).collect();
        rules.extend(address.map(|address| format!("- {{key: k, value: 10.0.0.{address}}}")));
        let compiled = super::rules(&rules.join("\n"));
        let level: &Level = &domain(&compiled).top;
        let found: Vec<u32> =
            (0..16).filter_map(|last| level.find(b"k", format!("10.0.0.{last}").as_bytes())).map(|rule| rule.0 + 1).collect();
        let unmatched: Vec<u32> = (1..).take(rules.len()).filter(|rule| !found.contains(rule)).collect();
        prop_assert_eq!(never(&rules.join("\n")), unmatched, "{}", rules.join("\n"));
    }
}

#[test]
fn a_limit_that_another_one_makes_pointless_is_told_so() {
    let never = |column, name, other, most| {
        let why =
            format!("`{other}` on line 2 lets in no more than {most} in its time; help: lower it, or leave it out");
        format!("f:2:{column}: warning: the limit `{name}` is never reached: {why}")
    };
    for (limits, said) in [
        ("[60/minute, 1/second]", never(22, "minute", "second", 60)),
        ("[100/hour, 200/minute]", never(32, "minute", "hour", 100)),
        ("[100/month, 200/day]", never(33, "day", "month", 100)),
        (
            "[{rate: 60/minute, algorithm: token_bucket, burst: 10, name: smooth}, 69/minute]",
            never(91, "minute", "smooth", 69),
        ),
        ("[59/minute, 1/second]", String::new()),
        ("[100/hour, 99/minute]", String::new()),
        ("[120/minute, 4/second]", String::new()),
        ("[1000/day, 30/minute]", String::new()),
        // A share of the last window counts, too.
        ("[{rate: 60/minute, algorithm: sliding_window}, 1/second]", String::new()),
        ("[{rate: 60/minute, mode: shadow}, 1/second]", String::new()),
        ("[60/minute, {rate: 1/second, mode: shadow}]", String::new()),
        ("[60/minute, 1/second], overdraw: true", String::new()),
        ("[60/minute, 1/second], mode: quota", String::new()),
        ("[5/minute, 0/second]", String::new()),
    ] {
        assert_eq!(of_rule(&format!("{{key: k, limits: {limits}}}")), said, "{limits}");
    }
    let denied = "domain: d\ncount_denied: true\ndescriptors: [{key: k, limits: [60/minute, 1/second]}]";
    assert_eq!(lines(&good(denied).warnings), "", "what was refused fills the minute");
}

#[test]
fn nothing_of_it_is_said_of_the_manual_and_the_rules_that_come_with_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![SHOP.to_owned()];
    // Not decisions.md: it shows what becomes of rules that hide each other.
    for page in ["docs/rules.md", "docs/redis.md", "docs/algorithms.md", "docs/admin.md", "README.md"] {
        let page = fs::read_to_string(root.join(page)).expect("a page");
        texts.extend(
            page.split("```yaml rules\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned),
        );
    }
    assert!(texts.len() > 10, "{}", texts.len());
    for text in texts {
        let said = lines(&good(&text).warnings);
        assert!(!said.contains("never"), "{text}\n{said}");
    }
}
