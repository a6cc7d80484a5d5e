//! Explanations of rule files, as people meet them.

// Rule files are what only `config` reads.
#![cfg(feature = "serve")]

use std::{io, path::Path};

use super::*;
use crate::{
    config::{Compiled, DomainDefaults, RuleFile, compile},
    rules::Rules,
};

const RULES: &str = "domain: shop
descriptors:
  - {key: api_key, name: per-key, limits: [9/min], descriptors: [{key: path, name: per-key-path, limits: [3/min]}]}
  - {key: api_key, value: acme, name: acme, limits: [99/min], descriptors: [{key: method, name: acme-method, limits: [1/s]}]}
  - {key: api_key, value: a*, name: early, limits: [8/min]}
  - {key: api_key, regex: '[a-c]+', name: letters, limits: [7/min]}
  - {key: path, path: '/v1/{id}', name: one, limits: [1/min]}
  - {key: path, path: '/v1/{*rest}', name: rest, limits: [1/min]}
  - {key: path, path: '/v2', name: two, limits: [1/min]}
  - {key: remote_address, cidr: 10.0.0.0/8, name: inside, limits: [1/min]}
  - {key: remote_address, cidr: 10.1.0.0/16, name: branch, limits: [1/min]}
  - {key: parent, name: parent, descriptors: [{key: child, value: deep, name: child, limits: [1/min]}]}
";

fn rules(text: &str) -> Rules {
    let file = RuleFile { name: "shop.yaml".into(), path: "/shop.yaml".into(), text: text.into() };
    let mut no_lists = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let Compiled { rules, .. } = compile(&[file], DomainDefaults::default(), &mut no_lists).expect("rules that load");
    rules
}

/// Walks `KEY=VALUE KEY=VALUE`.
fn told<T>(rules: &Rules, descriptor: &str, tell: impl FnOnce(Walk<'_>) -> T) -> T {
    let entries = descriptor.split_whitespace().map(|entry| entry.split_once('=').expect("KEY=VALUE"));
    let entries: Vec<Entry<'_>> =
        entries.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() }).collect();
    tell(rules.domains[b"shop".as_slice()].explain(&entries))
}

#[test]
fn who_won_is_told_before_who_came_too_late_before_who_differs() {
    let rules = rules(RULES);
    let levels = |walk: Walk<'_>| {
        let shown = |rule: &Considered<'_>| format!("{}:{:?}:{:?}", rule.rule.name, rule.way, rule.outcome);
        let steps = walk.steps.iter().map(|step| step.rules.iter().map(shown).collect::<Vec<_>>().join(" "));
        steps.collect::<Vec<_>>()
    };
    for (descriptor, level) in [
        ("api_key=acme", "acme:Value:Won early:Wildcard:Behind per-key:Any:Behind letters:Regex:Differs"),
        ("api_key=acne", "early:Wildcard:Won per-key:Any:Behind acme:Value:Differs letters:Regex:Differs"),
        ("api_key=ab", "early:Wildcard:Won letters:Regex:Behind per-key:Any:Behind acme:Value:Differs"),
        ("api_key=zz", "per-key:Any:Won acme:Value:Differs early:Wildcard:Differs letters:Regex:Differs"),
        ("path=/v1/7?x", "one:Path:Won rest:Path:Behind two:Path:Differs"),
        ("path=/v1", "rest:Path:Won one:Path:Differs two:Path:Differs"),
        ("remote_address=::ffff:10.1.2.3", "branch:Network:Won inside:Network:Behind"),
        ("remote_address=10.2.0.1", "inside:Network:Won branch:Network:Differs"),
    ] {
        assert_eq!(told(&rules, descriptor, levels), [level], "{descriptor}");
    }
    let both = told(&rules, "parent=x child=deep", levels);
    assert_eq!(both, ["parent:Any:Won", "child:Value:Won"]);
}

#[test]
fn what_nothing_matches_has_a_nearest_rule_and_what_differs() {
    let rules = rules(RULES);
    for (descriptor, nearest, level, why) in [
        ("", None, 0, "the descriptor has no entries"),
        ("api-key=x", Some("per-key"), 1, "no rule of this level has the key `api-key`; did you mean `api_key`?"),
        (
            "user=x",
            None,
            1,
            "no rule of this level has the key `user`; there are `api_key`, `parent`, `path`, `remote_address`",
        ),
        ("parent=x chld=deep", Some("child"), 2, "no rule of this level has the key `chld`; did you mean `child`?"),
        (
            "parent=x child=depe",
            Some("child"),
            2,
            "rules of this level have the key `child`, and none of them matches the value",
        ),
        (
            "remote_address=::1",
            Some("inside"),
            1,
            "rules of this level have the key `remote_address`, and none of them matches the value",
        ),
        (
            "method=GET api_key=zz",
            Some("per-key"),
            1,
            "rules expect `api_key` here, which is entry 2 of the descriptor: the order counts",
        ),
        (
            "path=/v2 x=y z=z",
            Some("two"),
            2,
            "the rule `two` matches 1 of the 3 entries and has no `descriptors` below it: the numbers must be equal",
        ),
        (
            "api_key=acme path=/",
            Some("per-key-path"),
            2,
            "the rule `acme` won level 1, and the first choice is final; the nearest rule lies below one that matches there \
             too: `extends` takes its children over",
        ),
    ] {
        told(&rules, descriptor, |walk| {
            let End::Unmatched(gap) = walk.end else { panic!("{descriptor} matches") };
            let found = (gap.nearest.map(|rule| &*rule.name), gap.level, gap.differs.to_string());
            assert_eq!(found, (nearest, level, why.to_owned()), "{descriptor}");
        });
    }
}

#[test]
fn a_rule_that_only_leads_on_says_where_to() {
    let rules = rules(RULES);
    assert_eq!(told(&rules, "parent=x", |walk| walk.leads_on()), ["child"]);
    assert_eq!(told(&rules, "api_key=zz", |walk| walk.leads_on()), [""; 0]);
}

#[test]
fn a_hundred_thousand_values_are_told_in_sixteen_and_the_nearest_is_first() {
    let customer = |number: u32| format!("  - {{key: api_key, value: customer-{number:06}, limits: [1/min]}}\n");
    let text = (0..100_000).map(customer).fold("domain: shop\ndescriptors:\n".to_owned(), |text, line| text + &line);
    let rules = rules(&text);
    told(&rules, "api_key=custmoer-070707", |walk| {
        let step = &walk.steps[0];
        assert_eq!((step.rules.len(), step.more), (16, 100_000 - 16));
        let End::Unmatched(gap) = walk.end else { panic!("it matches") };
        // The words that are compared are bounded, and so the nearest is near, but not always the very nearest.
        assert!(gap.nearest.is_some());
    });
}
