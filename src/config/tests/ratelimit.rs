//! Files as people write them for envoyproxy/ratelimit: in its place they load as there, elsewhere they say what to change.

use super::*;
use crate::config::settings::Compat;

fn load_as(compat: Compat, merge_domains: bool, files: &[(&str, &str)]) -> Result<Compiled, Vec<Diagnostic>> {
    let file = |(name, text): &(&str, &str)| RuleFile {
        name: (*name).into(),
        path: format!("/rules/{name}").into(),
        text: text.as_bytes().to_vec(),
    };
    let files: Vec<RuleFile> = files.iter().map(file).collect();
    compile(&files, DomainDefaults { compat, merge_domains, ..DomainDefaults::default() }, &mut read_list)
}

fn told(loaded: &Result<Compiled, Vec<Diagnostic>>) -> String {
    lines(loaded.as_ref().map_or_else(|errors| errors, |compiled| &compiled.warnings))
}

#[test]
fn what_that_service_passes_over_is_a_warning_in_its_place_and_elsewhere_an_error_that_says_what_to_change() {
    for (text, said) in [
        (
            "domain: d\nshadow_mode: true\n",
            "f:2:1: @: a domain has no key `shadow_mode`; help: `shadow_mode` is a key of a rule; here envoyproxy/ratelimit \
             passes over it: move it, or delete it",
        ),
        (
            "domain: d\ndescriptors:\n- key: k\n  rate_limit: {unit: day, requests_per_unit: 1, quota_mode: true}\n",
            "f:4:49: @: `rate_limit` has no key `quota_mode`; help: `quota_mode` is a key of a rule; here \
             envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, unit: day, requests_per_unit: 1}\n",
            "f:3:12: @: a rule has no key `unit`; help: `unit` is a key of `rate_limit`; here envoyproxy/ratelimit passes \
             over it: move it, or delete it\n\
             f:3:23: @: a rule has no key `requests_per_unit`; help: `requests_per_unit` is a key of `rate_limit`; here \
             envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, rate_limit: {unit: day, unit: hour, requests_per_unit: 1}}\n",
            "f:3:36: @: the key `unit` is given twice, first on line 3; help: keep one of them; for envoyproxy/ratelimit the \
             last one counts",
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, shadow_mode: true, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}",
            "f:3:31: @: `shadow_mode` and `quota_mode` exclude each other; help: delete `quota_mode`: what is in shadow \
             refuses nobody",
        ),
        (
            "domain: d\ndescriptors:\n- {key: a, name: n}\n- {key: b, name: n}\n",
            "f:4:12: @: two rules of the domain are called `n`, the first at f:3",
        ),
    ] {
        let (strict, forgiven) =
            (load_as(Compat::None, true, &[("f", text)]), load_as(Compat::Ratelimit, false, &[("f", text)]));
        assert!(strict.is_err() && forgiven.is_ok(), "{text}\n{}", told(&forgiven));
        assert_eq!(told(&strict), said.replace('@', "error"), "{text}");
        assert_eq!(told(&forgiven), said.replace('@', "warning"), "{text}");
    }
}

#[test]
fn of_keys_that_are_given_twice_the_last_counts() {
    let text =
        "domain: d\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 5, requests_per_unit: 7}}\n";
    let compiled = load_as(Compat::Ratelimit, false, &[("f", text)]).expect("it loads");
    assert_eq!(domain(&compiled).rules[0].limits()[0].limit.count, 7);
}

#[test]
fn only_the_first_document_of_a_file_is_read() {
    for text in ["---\ndomain: d\n---\ndomain: e\n", "domain: d\n---\n[broken\n"] {
        let compiled = load_as(Compat::Ratelimit, false, &[("f", text)]).expect("it loads");
        assert_eq!(compiled.rules.domains.len(), 1);
        let said = "warning: only the first document of a file is read, as by envoyproxy/ratelimit; help: make a file of its \
                    own of each document";
        assert!(lines(&compiled.warnings).ends_with(said), "{text}: {}", lines(&compiled.warnings));
    }
    assert_eq!(
        load_as(Compat::None, true, &[("f", "domain: d\n---\ndomain: e\n")]).expect("it loads").rules.domains.len(),
        2
    );
}

#[test]
fn a_domain_in_two_files_is_an_error_unless_they_are_to_be_merged() {
    let files = [("a", "domain: d\ndescriptors: [{key: a}]\n"), ("b", "domain: d\ndescriptors: [{key: b}]\n")];
    let refused = load_as(Compat::Ratelimit, false, &files);
    assert_eq!(
        told(&refused),
        "b:1:1: error: the domain `d` is given twice, first at a:1; help: `merge_domains: true` in the settings \
         (MERGE_DOMAIN_CONFIG=true) lets several files add to one"
    );
    let merged = load_as(Compat::Ratelimit, true, &files).expect("it loads");
    assert_eq!(domain(&merged).rules.len(), 2);
}

#[test]
fn an_empty_name_of_a_limit_is_none() {
    let text = "domain: d\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1, name: ''}}\n";
    for compat in [Compat::None, Compat::Ratelimit] {
        let compiled = load_as(compat, false, &[("f", text)]).expect("it loads");
        assert_eq!(domain(&compiled).rules[0].limits()[0].written_name, None);
    }
}

#[test]
fn what_that_service_refuses_is_refused_in_its_place_too() {
    for text in [
        "domain: ''\n",
        "descriptors: []\n",
        "domain: d\nsurprise: true\n",
        "domain: d\ndescriptors: [{value: v}]\n",
        "domain: d\ndescriptors: [{key: k}, {key: k}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {requests_per_unit: 1}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: fortnight, requests_per_unit: 1}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: day, unlimited: true}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: day, requests_per_unit: -1}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: day, requests_per_unit: '1'}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: day, name: n, replaces: [{name: n}]}}]\n",
        "domain: d\ndescriptors: [{key: k, rate_limit: {unit: day, replaces: [{}]}}]\n",
        "domain: d\ndescriptors: [{key: k, value: v, share_threshold: true}]\n",
        "domain: d\ndescriptors: [text]\n",
        "domain: d\ndescriptors: [~]\n",
    ] {
        assert!(load_as(Compat::Ratelimit, false, &[("f", text)]).is_err(), "{text}");
    }
}
