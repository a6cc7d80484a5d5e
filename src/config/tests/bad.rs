//! Files that do not load, and what their authors are told.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn complaints(files: &[(&str, &str)]) -> String {
    match load(files) {
        Ok(compiled) => lines(&compiled.warnings),
        Err(errors) => lines(&errors),
    }
}

/// What is said of one rule in the second line of a file `f`, from column 4.
pub(super) fn of_rule(rule: &str) -> String {
    complaints(&[("f", &format!("descriptors:\n - {rule}\ndomain: d\n"))])
}

#[test]
fn rules_that_cannot_be_carried_out() {
    for (rule, said) in [
        ("{}", "f:2:4: error: the rule has no `key`"),
        ("text", "f:2:4: error: a rule is a map, this is a single value"),
        ("[]", "f:2:4: error: a rule is a map, this is a list"),
        ("~", "f:2:4: error: a rule is a map, this is nothing"),
        ("{key: }", "f:2:4: error: the rule has no `key`"),
        ("{key: ''}", "f:2:10: error: `key` is empty"),
        (
            "{key: 'a*'}",
            "f:2:10: error: wildcards in keys are not supported yet: `a*`; help: wildcards stand in `value`",
        ),
        ("{key: [a]}", "f:2:10: error: `key` is a text, this is a list"),
        (
            "{key: k, deny: true, mode: shadow}",
            "f:2:25: error: `deny` refuses in every mode; help: to try it out: `limits: [0/minute]` with `mode: shadow`",
        ),
        (
            "{key: k, cidr: 10.0.0.0/8, exempt: true, quota_mode: true}",
            "f:2:45: error: `exempt` lets through in every mode",
        ),
        (
            "{key: k, overdraw: true, mode: quota, limits: [1/day]}",
            "f:2:29: error: `overdraw` and the quota mode exclude each other",
        ),
        ("{key: k, kye: v}", "f:2:13: error: a rule has no key `kye`; help: did you mean `key`?"),
        (
            "{key: k, unit: day}",
            "f:2:13: error: a rule has no key `unit`; help: `unit` is a key of `rate_limit`; here envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        (
            "{key: k, domain: d}",
            "f:2:13: error: a rule has no key `domain`; help: `domain` is a key of a domain; here envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        ("{key: k, zzzzzz: 1}", "f:2:13: error: a rule has no key `zzzzzz`"),
        ("{key: k, value: v, regex: v}", "f:2:23: error: a rule matches in one way: it has `value` and `regex`"),
        ("{key: k, value: {a: b}}", "f:2:20: error: `value` is a text, this is a map"),
        ("{key: k, values: []}", "f:2:13: error: the list of values is empty: the rule matches nothing"),
        ("{key: k, values: [a, a]}", "f:2:25: error: this is given twice in its list"),
        (
            "{key: k, values: [a, '', 'b*', [c]]}",
            "f:2:25: error: the value is empty; help: a rule without `values` matches any value\nf:2:29: error: a list of values has no wildcards; help: a rule with `value` for each of them\nf:2:35: error: `values` is a list of texts, this is a list",
        ),
        ("{key: k, values_file: gone.txt}", "f:2:26: error: the file `gone.txt` cannot be read: entity not found"),
        (
            "{key: k, values_file: stars.txt}",
            "stars.txt:2:1: error: a list of values has no wildcards; help: a rule with `value` for each of them",
        ),
        (
            "{key: k, cidr_file: bad.txt}",
            "bad.txt:2:1: error: `nonsense` is no network; help: for example `10.0.0.0/8` or `2001:db8::/32`",
        ),
        (
            "{key: k, cidr: 10.0.0.0/33}",
            "f:2:19: error: `10.0.0.0/33` is no network; help: for example `10.0.0.0/8` or `2001:db8::/32`",
        ),
        (
            "{key: k, cidr: [10.0.0.1/8, x]}",
            "f:2:20: error: `10.0.0.1/8` has bits set beyond its prefix; help: the network is `10.0.0.0/8`\nf:2:32: error: `x` is no network; help: for example `10.0.0.0/8` or `2001:db8::/32`",
        ),
        ("{key: k, cidr: []}", "f:2:13: error: the list of networks is empty: the rule matches nothing"),
        ("{key: k, name: ''}", "f:2:19: error: `name` is empty"),
        ("{key: k, name: \"a\\nb\"}", "f:2:19: error: `name` has a control character in it"),
        (
            "{key: k, name: request-limit}",
            "f:2:13: error: the name `request-limit` is taken: it stands for limits that requests bring",
        ),
        (
            "{key: k, exempt: true, deny: true}",
            "f:2:4: warning: `exempt` without a matched address: clients may choose this value; help: exempt only what a client cannot choose: a network, by `cidr`\nf:2:27: error: `exempt` and `deny` exclude each other",
        ),
        ("{key: k, exempt: true, limits: [1/s]}", "f:2:13: error: `limits` and `exempt` exclude each other"),
        (
            "{key: k, limits: [1/s], rate_limit: {unit: day}}",
            "f:2:28: error: `limits` and `rate_limit` exclude each other",
        ),
        (
            "{key: k, exempt: 'true'}",
            "f:2:21: error: `exempt` is `true` or `false`, not `true`; help: write it without quotes",
        ),
        ("{key: k, deny: maybe}", "f:2:19: error: `deny` is `true` or `false`, not `maybe`"),
        ("{key: k, mode: shadw}", "f:2:19: error: `mode` cannot be `shadw`; help: did you mean `shadow`?"),
        ("{key: k, mode: shadow, shadow_mode: true}", "f:2:27: error: `mode` and `shadow_mode` exclude each other"),
        ("{key: k, mode: quota, quota_mode: true}", "f:2:26: error: `mode` and `quota_mode` exclude each other"),
        (
            "{key: k, shadow_mode: true, quota_mode: true}",
            "f:2:32: error: `shadow_mode` and `quota_mode` exclude each other; help: delete `quota_mode`: what is in shadow \
             refuses nobody",
        ),
        ("{key: k, count: all}", "f:2:20: error: `count` cannot be `all`; help: one of `each`, `shared`"),
        (
            "{key: k, count: each, share_threshold: true, value: 'a*'}",
            "f:2:26: error: `count` and `share_threshold` exclude each other",
        ),
        (
            "{key: k, share_threshold: true}",
            "f:2:13: error: `share_threshold` needs a `value` with `*`; help: `count: shared` does the same for every way of matching",
        ),
        (
            "{key: k, ipv6_prefix: 64}",
            "f:2:13: error: `ipv6_prefix` is for addresses: the key `remote_address`, or a `cidr`",
        ),
        (
            "{key: remote_address, ipv6_prefix: 129}",
            "f:2:39: error: `ipv6_prefix` is a whole number from 0 to 128, not `129`",
        ),
        ("{key: k, overdraw: 1}", "f:2:23: error: `overdraw` is `true` or `false`, not `1`"),
        ("{key: k, metadata: [a]}", "f:2:23: error: `metadata` is a map, this is a list"),
        (
            "{key: k, on_exceed: {block_for: 15m}}",
            "f:2:13: error: `on_exceed` needs `limits`: nothing of this rule can be exceeded",
        ),
        (
            "{key: k, deny: true, on_exceed: {block_for: 15m}}",
            "f:2:25: error: `on_exceed` needs `limits`: nothing of this rule can be exceeded",
        ),
        (
            "{key: k, limits: [1/s], on_exceed: {}}",
            "f:2:39: error: `on_exceed` has no `block_for`; help: for example `on_exceed: {block_for: 15m}`",
        ),
        ("{key: k, limits: [1/s], on_exceed: 15m}", "f:2:39: error: `on_exceed` is a map, this is a single value"),
        (
            "{key: k, limits: [1/s], on_exceed: {block_for: 999ms}}",
            "f:2:51: error: `block_for` is a duration from 1s to 3660d, not `999ms`; help: for example `15m`",
        ),
        (
            "{key: k, limits: [1/s], on_exceed: {block_for: month}}",
            "f:2:51: error: `block_for` is a duration from 1s to 3660d, not `month`; help: for example `15m`",
        ),
        (
            "{key: k, limits: [1/s], on_exceed: {block_for: 15m, block: j}}",
            "f:2:63: error: the rule has no level with the key `j`; help: the keys of its levels are `k`",
        ),
        (
            "{key: k, descriptors: [{key: k, limits: [1/s], on_exceed: {block_for: 15m, block: k}}]}",
            "f:2:86: error: `block: k` may mean two levels: both have the key `k`",
        ),
        (
            "{key: k, limits: [1/s], on_store_error: alow}",
            "f:2:44: error: `on_store_error` cannot be `alow`; help: did you mean `allow`?",
        ),
        (
            "{key: k, limits: [1/s], on_store_error: fail}",
            "f:2:44: error: `on_store_error` cannot be `fail`; help: one of `local`, `allow`, `deny`",
        ),
        ("{key: k, on_store_error: allow}", "f:2:13: error: `on_store_error` needs `limits`: this rule counts nothing"),
        (
            "{key: k, deny: true, on_store_error: deny}",
            "f:2:25: error: `on_store_error` needs `limits`: this rule counts nothing",
        ),
        ("{key: k, detailed_metric: maybe}", "f:2:30: error: `detailed_metric` is `true` or `false`, not `maybe`"),
        (
            "{key: k, value_to_metric: 'yes'}",
            "f:2:30: error: `value_to_metric` is `true` or `false`, not `yes`; help: write it without quotes",
        ),
        (
            "{key: k, descriptors: {key: l}}",
            "f:2:26: error: `descriptors` is a list, this is a map; help: put a `-` before each item",
        ),
        ("{key: k, descriptors: [l]}", "f:2:27: error: a rule is a map, this is a single value"),
        (
            "{key: k, extends: m}",
            "f:2:22: error: no rule of the domain is called `m`; help: rules are called by the `name` that is written at them",
        ),
        ("{key: k, name: mm, extends: mm}", "f:2:32: error: `extends` goes round in a circle: `mm` comes back to here"),
        (
            "{key: k, name: per-key, descriptors: [{key: l, extends: per-kye}]}",
            "f:2:60: error: no rule of the domain is called `per-kye`; help: did you mean `per-key`?",
        ),
        (
            "{key: k, name: p, descriptors: [{key: l, extends: p}]}",
            "f:2:54: error: `extends` goes round in a circle: `p` comes back to here",
        ),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn a_misspelt_key_is_known_in_every_map_and_a_misspelt_unit_in_every_place() {
    for shape in SHAPES {
        for key in shape.names() {
            let mut report = Report::default();
            let file = report.add_file("f".into());
            let text = format!("{{{key}x: 1}}");
            let nodes = yaml::documents(file, text.as_bytes(), &mut report);
            fields::Fields::of(&nodes[0], shape, &mut report);
            let help = format!("f:1:2: error: {} has no key `{key}x`; help: did you mean `{key}`?", shape.name);
            assert_eq!(lines(&report.finish()), help);
        }
    }
    for (written, meant) in
        [("minut", "minute"), ("hous", "hour"), ("secnds", "second"), ("wek", "week"), ("monht", "month")]
    {
        let rate = format!("limits: [9/{written}]");
        for rule in
            [rate, format!("limits: [{{requests: 9, per: {written}}}]"), format!("rate_limit: {{unit: {written}}}")]
        {
            let said = of_rule(&format!("{{key: k, {rule}}}"));
            assert!(said.ends_with(&format!("; help: did you mean `{meant}`?")), "{said}");
        }
    }
}

#[test]
fn limits_that_are_none() {
    for (rule, said) in [
        (
            "{key: k, limits: [{rate: 9/s, mode: shadow}, 9/s]}",
            "f:2:49: error: two limits of this rule are called `second`, the first on line 2; help: give one of them a `name`",
        ),
        (
            "{key: k, limits: 120/minute}",
            "f:2:21: error: `limits` is a list, this is a single value; help: write `limits: [120/minute]`",
        ),
        (
            "{key: k, limits: {rate: 1/s}}",
            "f:2:21: error: `limits` is a list, this is a map; help: put a `-` before each item",
        ),
        (
            "{key: k, limits: [120]}",
            "f:2:22: error: the rate `120` is not COUNT/WINDOW; help: for example `120/minute`",
        ),
        ("{key: k, limits: [5/m]}", "f:2:22: error: `m` is no window; help: `min` or `month`"),
        ("{key: k, limits: [[]]}", "f:2:22: error: a limit is a map, this is a list"),
        ("{key: k, limits: [{}]}", "f:2:22: error: the limit has no `rate`; help: for example `rate: 120/minute`"),
        (
            "{key: k, limits: [{rate: 1/s, requests: 1}]}",
            "f:2:34: error: a limit has either `rate` or `requests` with `per`, not both",
        ),
        ("{key: k, limits: [{requests: 1}]}", "f:2:22: error: the limit has no `per`"),
        ("{key: k, limits: [{per: day}]}", "f:2:22: error: the limit has no `requests`"),
        (
            "{key: k, limits: [{requests: -1, per: day}]}",
            "f:2:33: error: `requests` is a whole number from 0 to 18446744073709551615, not `-1`",
        ),
        (
            "{key: k, limits: [{requests: '1', per: dya}]}",
            "f:2:33: error: `requests` is a whole number from 0 to 18446744073709551615, not `1`; help: write it without quotes\nf:2:43: error: `dya` is no window; help: did you mean `day`?",
        ),
        (
            "{key: k, limits: [{rate: 1/s, burst: 5}]}",
            "f:2:34: error: `burst` means nothing to a `fixed_window`; help: only `algorithm: token_bucket` has one",
        ),
        (
            "{key: k, limits: [{rate: 1/s, algorithm: token_bucket, burst: 0}]}",
            "f:2:66: error: `burst` is a whole number from 1 to 18446744073709551615, not `0`",
        ),
        (
            "{key: k, limits: [{rate: 1/month, algorithm: sliding_window, time_zone: Asia/Tokyo}]}",
            "f:2:76: error: `time_zone` means nothing to a `sliding_window`; help: only a `fixed_window` follows a calendar",
        ),
        (
            "{key: k, limits: [{rate: 1/day, algorithm: token_bucket, align: calendar}]}",
            "f:2:61: error: `align: calendar` means nothing to a `token_bucket`; help: only a `fixed_window` follows a calendar",
        ),
        (
            "{key: k, limits: [{rate: 1/s, algorithm: sliding_window}, {rate: 2/s, algorithm: sliding_window}]}",
            "f:2:62: error: two limits of this rule share one counter, the first on line 2",
        ),
        (
            "{key: k, limits: [{rate: 1/s, algorithm: fixed_windo}]}",
            "f:2:45: error: `algorithm` cannot be `fixed_windo`; help: did you mean `fixed_window`?",
        ),
        (
            "{key: k, limits: [{rate: 1/s, align: kalendar}]}",
            "f:2:41: error: `align` cannot be `kalendar`; help: did you mean `calendar`?",
        ),
        (
            "{key: k, limits: [{rate: 1/s, time_zone: UTC}]}",
            "f:2:45: error: `time_zone` means nothing to a window of `second`; help: only hour, day, week, month and year have a calendar",
        ),
        (
            "{key: k, limits: [{rate: 1/30s, align: calendar}]}",
            "f:2:36: error: `align` means nothing to a window of `30s`; help: only hour, day, week, month and year have a calendar",
        ),
        (
            "{key: k, limits: [{rate: 1/day, anchor_day: 1}]}",
            "f:2:36: error: `anchor_day` means nothing to a window of `day`",
        ),
        (
            "{key: k, limits: [{rate: 1/month, anchor_day: 32}]}",
            "f:2:50: error: `anchor_day` is a whole number from 1 to 31, not `32`",
        ),
        (
            "{key: k, limits: [{rate: 1/month, anchor_day: 0}]}",
            "f:2:50: error: `anchor_day` is a whole number from 1 to 31, not `0`",
        ),
        (
            "{key: k, limits: [{rate: 1/month, time_zone: Europe/Berln}]}",
            "f:2:49: error: there is no time zone `Europe/Berln`; help: did you mean `Europe/Berlin`?",
        ),
        (
            "{key: k, limits: [{rate: 1/day, align: epoch, time_zone: UTC}]}",
            "f:2:61: error: `time_zone` means nothing with `align: epoch`",
        ),
        (
            "{key: k, limits: [{rate: 1/s, mode: quota}]}",
            "f:2:40: error: `mode` cannot be `quota`; help: one of `enforce`, `shadow`",
        ),
        (
            "{key: k, limits: [1/s, 2/s]}",
            "f:2:27: error: two limits of this rule share one counter, the first on line 2",
        ),
        (
            "{key: k, limits: [1/60s, 2/minute]}",
            "f:2:29: error: two limits of this rule share one counter, the first on line 2",
        ),
        (
            "{key: k, limits: [1/month, {rate: 1/month, align: epoch}]}",
            "f:2:31: error: two limits of this rule are called `month`, the first on line 2; help: give one of them a `name`",
        ),
        (
            "{key: k, limits: [{rate: 1/s, name: a}, {rate: 1/h, name: a}]}",
            "f:2:44: error: two limits of this rule are called `a`, the first on line 2; help: give one of them a `name`",
        ),
        (
            "{key: k, limits: [{rate: 1/s, unlimited: true}]}",
            "f:2:34: error: a limit has no key `unlimited`; help: `unlimited` is a key of `rate_limit`",
        ),
        (
            "{key: k, limits: [1/1s, 1/2s, 1/3s, 1/4s, 1/5s, 1/6s, 1/7s, 1/8s, 1/9s, 1/10s, 1/11s, 1/12s, 1/13s, 1/14s, 1/15s, 1/16s, 1/17s]}",
            "f:2:13: error: a rule has at most 16 limits, this one has 17",
        ),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn numbers_that_the_store_does_not_count_exactly_are_errors() {
    let complaints = |limits: &str, count_max| {
        let text = format!("domain: d\ndescriptors:\n - {{key: k, limits: [{limits}]}}");
        let file = RuleFile { name: "f".into(), path: "f".into(), text: text.into() };
        match compile(&[file], DomainDefaults { count_max, ..DomainDefaults::default() }, &mut read_list) {
            Ok(_) => String::new(),
            Err(errors) => lines(&errors),
        }
    };
    let redis = Some(crate::bounds::REDIS_COUNT_MAX);
    let most = "9007199254740991/s, {rate: 1/h, algorithm: token_bucket, burst: 9007199254740991}";
    assert_eq!(complaints(most, redis), "");
    let more = "9007199254740992/s, {rate: 1/h, algorithm: token_bucket, burst: 9007199254740993}, 1/day";
    assert_eq!(complaints(more, None), "");
    assert_eq!(
        complaints(more, redis),
        "f:3:22: error: the store does not count exactly up to 9007199254740992; help: at most 9007199254740991; who may have more needs no limit\n\
         f:3:42: error: the store does not count exactly up to 9007199254740993; help: at most 9007199254740991; who may have more needs no limit"
    );
}

#[test]
fn limits_in_the_form_of_envoyproxy_that_are_none() {
    for (rule, said) in [
        ("{key: k, rate_limit: []}", "f:2:25: error: `rate_limit` is a map, this is a list"),
        ("{key: k, rate_limit: {}}", "f:2:25: error: `rate_limit` has no `unit`"),
        (
            "{key: k, rate_limit: {unit: minuet}}",
            "f:2:32: error: `unit` cannot be `minuet`; help: did you mean `minute`?",
        ),
        (
            "{key: k, rate_limit: {unit: unknown}}",
            "f:2:32: error: `unit` cannot be `unknown`; help: one of `second`, `minute`, `hour`, `day`, `week`, `month`, `year`",
        ),
        (
            "{key: k, rate_limit: {unit: day, unlimited: true}}",
            "f:2:32: error: `unlimited` and a `unit` exclude each other",
        ),
        (
            "{key: k, rate_limit: {unit: eon, unlimited: true}}",
            "f:2:32: warning: the `unit` `eon` is not read beside `unlimited`",
        ),
        (
            "{key: k, rate_limit: {unit: day, requests_per_unit: 4294967296}}",
            "f:2:56: error: `requests_per_unit` is a whole number from 0 to 4294967295, not `4294967296`",
        ),
        (
            "{key: k, rate_limit: {unit: day, requests_per_unit: '5'}}",
            "f:2:56: error: `requests_per_unit` is a whole number from 0 to 4294967295, not `5`; help: write it without quotes",
        ),
        (
            "{key: k, rate_limit: {unit: day, shadow_mode: true}}",
            "f:2:37: error: `rate_limit` has no key `shadow_mode`; help: `shadow_mode` is a key of a rule; here envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        (
            "{key: k, rate_limit: {unit: day, name: a, replaces: [{name: a}, {}, {name: b}, c]}}",
            "f:2:64: error: the limit `a` replaces itself\nf:2:68: error: an entry of `replaces` has no `name`\nf:2:79: warning: no limit of the domain is called `b`\nf:2:83: error: an entry of `replaces` is a map, this is a single value",
        ),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn responses_that_are_none() {
    for (rule, said) in [
        ("{key: k, response: []}", "f:2:23: error: `response` is a map, this is a list"),
        (
            "{key: k, response: {headers: ratelimits}}",
            "f:2:33: error: there are no headers `ratelimits`; help: did you mean `ratelimit`?",
        ),
        ("{key: k, response: {headers: {}}}", "f:2:33: error: `headers` is a profile's name or a list, this is a map"),
        (
            "{key: k, response: {headers: [{name: a, value: b}, {name: A, value: c}]}}",
            "f:2:33: error: the header `A` is set twice",
        ),
        (
            "{key: k, response: {expose: nver, report: last, retry_after: 5}}",
            "f:2:32: error: `expose` cannot be `nver`; help: did you mean `never`?\nf:2:46: error: `report` cannot be `last`; help: one of `nearest`, `first`\nf:2:65: error: `retry_after` is `true` or `false`, not `5`",
        ),
        (
            "{key: k, response: {body: json}}",
            "f:2:30: error: `body` cannot be `json`; help: `none`, `problem+json`, or a map of `content_type` and `template`",
        ),
        ("{key: k, response: {body: {template: a}}}", "f:2:30: error: `body` has no `content_type`"),
        (
            "{key: k, response: {body: {content_type: application/json, template: '{\"a\": {{ message }}}'}}}",
            "f:2:73: error: the body is not JSON once it is filled: expected value at line 1 column 7; help: text stands in quotes, numbers do not: `\"{{ message }}\"`, `{{ retry_after }}`",
        ),
        (
            "{key: k, response: {body: {content_type: a/b, template: a, on: deny}}}",
            "f:2:63: error: `body` has no key `on`; help: `on` is a key of a header",
        ),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn what_loads_with_a_warning() {
    for (rule, said) in [
        (
            "{key: k, exempt: true}",
            "f:2:4: warning: `exempt` without a matched address: clients may choose this value; help: exempt only what a client cannot choose: a network, by `cidr`",
        ),
        (
            "{key: remote_address, exempt: true}",
            "f:2:4: warning: `exempt` without a matched address: clients may choose this value; help: exempt only what a client cannot choose: a network, by `cidr`",
        ),
        (
            "{key: k, path: /a}\n - {key: k, value: /a}\n - {key: k}",
            "f:3:4: warning: this rule sees `k` with its query, unlike the path template at f:2; help: `path: /{*rest}` is any path",
        ),
        (
            "{key: k, descriptors: [{key: l}]}\n - {key: k, value: a}\n - {key: k, values: [b, c], extends: n, name: m}\n - {key: x, name: n}",
            "f:3:4: warning: this rule hides the children of the rule for any `k` at f:2; help: give that rule a `name`, and take them over with `extends`",
        ),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn a_special_rule_that_hides_children_is_told_so() {
    let child = "descriptors: [{key: l}]";
    for (general, special, hidden) in [
        ("key: k", "key: k, value: a", true),
        ("key: k", "key: k, regex: a", true),
        ("key: k", "key: k, value: a, exempt: false, extends: g", false),
        ("key: k", "key: j, value: a", false),
        ("key: k, value: 'a*c*e'", "key: k, value: abcde", true),
        ("key: k, value: 'a*c*e'", "key: k, values: [x, ace]", true),
        ("key: k, value: 'a*a'", "key: k, value: a", false),
        ("key: k, cidr: 10.0.0.0/8", "key: k, cidr: 10.1.0.0/16", true),
        ("key: k, cidr: 10.0.0.0/8", "key: k, cidr: 11.0.0.0/8", false),
        ("key: k, cidr: 10.0.0.0/16", "key: k, cidr: 10.0.0.0/8", false),
    ] {
        let said = of_rule(&format!("{{{general}, name: g, {child}}}\n - {{{special}}}"));
        let help = "f:2; help: `extends: g` takes them over";
        assert_eq!(said.starts_with("f:3:4: warning: this rule hides") && said.ends_with(help), hidden, "{said}");
        assert_eq!(said.is_empty(), !hidden, "{said}");
    }
}

#[test]
fn rules_that_do_not_stand_together() {
    for (rule, said) in [
        ("{key: k}\n - {key: k}", "f:3:4: error: the rule for any `k` is given twice, first at f:2"),
        (
            "{key: k, value: a}\n - {key: k, values: [b, a]}",
            "f:3:25: error: a rule for this value of `k` is given twice, first at f:2",
        ),
        (
            "{key: k, name: a, descriptors: [{key: l}]}\n - {key: k, name: b, descriptors: [{key: m}]}",
            "f:3:4: error: the rule for any `k` is given twice, first at f:2",
        ),
        (
            "{key: k, name: a}\n - {key: l, name: a}",
            "f:3:13: error: two rules of the domain are called `a`, the first at f:2",
        ),
        (
            "{key: a, name: a, extends: b}\n - {key: b, name: b, extends: a}",
            "f:3:31: error: `extends` goes round in a circle: `a` comes back to here",
        ),
        ("{name: broken}\n - {key: k, extends: broken}", "f:2:4: error: the rule has no `key`"),
    ] {
        assert_eq!(of_rule(rule), said, "{rule}");
    }
}

#[test]
fn documents_that_are_no_domains() {
    for (document, said) in [
        ("descriptors: []", "f:1:1: error: the document has no `domain`; help: for example `domain: shop`"),
        ("domain: ''", "f:1:9: error: `domain` is empty"),
        ("domain: [a]", "f:1:9: error: `domain` is a text, this is a list"),
        ("- domain: d", "f:1:1: error: a domain is a map, this is a list"),
        ("just text", "f:1:1: error: a domain is a map, this is a single value"),
        (
            "domain: d\ncount_denied: true\ndescriptors:\n- {key: k, limits: [{rate: 1/s, algorithm: token_bucket}]}",
            "f:4:21: error: with `count_denied`, limits are fixed windows; help: refused hits would never leave a counter that slides or drains",
        ),
        (
            "domain: d\nslots: spread\ndescriptors:\n- {key: k, mode: quota, limits: [1/s]}\n- {key: l, limits: [1/s], on_exceed: {block_for: 1h}}",
            "f:4:3: error: `mode: quota` and `slots: spread` exclude each other; help: without `slots: spread`, or in a domain of its own\nf:5:27: error: `on_exceed` and `slots: spread` exclude each other; help: a hit that is about to be given back could start a block",
        ),
        ("domain: d\nslots: apart", "f:2:8: error: `slots` cannot be `apart`; help: one of `together`, `spread`"),
        (
            "domain: d\ncount_denied: perhaps\nrequest_limits: atmost",
            "f:2:15: error: `count_denied` is `true` or `false`, not `perhaps`\nf:3:17: error: `request_limits` cannot be `atmost`; help: did you mean `at_most`?",
        ),
        (
            "domain: d\nshadow_mode: true",
            "f:2:1: error: a domain has no key `shadow_mode`; help: `shadow_mode` is a key of a rule; here envoyproxy/ratelimit passes over it: move it, or delete it",
        ),
        (
            "domain: d\ndomain: e",
            "f:2:1: error: the key `domain` is given twice, first on line 1; help: keep one of them; for envoyproxy/ratelimit \
             the last one counts",
        ),
        (
            "domain: d\nresponse: {headers: ietf}\n---\ndomain: d\nresponse: {headers: none}",
            "f:5:1: error: `response` of the domain `d` is given twice, first at f:2",
        ),
    ] {
        assert_eq!(complaints(&[("f", document)]), said, "{document}");
    }
}

#[test]
fn usage_pages_that_cannot_be_shown() {
    let page = |usage: &str| {
        let rules =
            "- {key: ip, limits: [30/minute, {rate: 9/day, mode: shadow}]}\n- {key: user, value: a, limits: [1/s]}\n";
        complaints(&[("f", &format!("domain: d\nusage: {usage}\ndescriptors:\n{rules}- {{key: x, exempt: false}}\n"))])
    };
    let help = "help: for example `- [{key: remote_address, header: x-client-ip}]`";
    for (usage, said) in [
        (
            "{}",
            &*format!(
                "f:2:8: error: `usage` has no `descriptors`; {help}\nf:2:8: error: `usage` has no `path`; help: for example `path: /rate-limit`"
            ),
        ),
        ("text", "f:2:8: error: `usage` is a map, this is a single value"),
        (
            "{path: /r, descriptors: [[{key: ip, header: x}]], tempate: a}",
            "f:2:58: error: `usage` has no key `tempate`; help: did you mean `template`?",
        ),
        (
            "{path: rate-limit, descriptors: [[{key: ip, header: x}]]}",
            "f:2:15: error: `path` of a usage page begins with `/`, not `rate-limit`; help: `/rate-limit`",
        ),
        (
            "{path: /metrics, descriptors: [[{key: ip, header: x}]]}",
            "f:2:15: error: the path `/metrics` is taken by the service itself",
        ),
        (
            "{path: /v1/usage, descriptors: [[{key: ip, header: x}]]}",
            "f:2:15: error: the path `/v1/usage` is taken by the service itself",
        ),
        (
            "{path: '/rate?limit', descriptors: [[{key: ip, header: x}]]}",
            "f:2:15: error: `/rate?limit` is not the path of a page; help: letters, digits and `-._~`, without a query",
        ),
        ("{path: /r, descriptors: []}", &*format!("f:2:8: error: the list of descriptors is empty; {help}")),
        ("{path: /r, descriptors: [[]]}", &*format!("f:2:33: error: the descriptor has no entries; {help}")),
        (
            "{path: /r, descriptors: [{key: ip, header: x}]}",
            &*format!("f:2:33: error: a descriptor of `usage` is a list of entries, this is a map; {help}"),
        ),
        (
            "{path: /r, descriptors: [[{key: ip}]]}",
            "f:2:34: error: the entry has neither `header` nor `value`; help: `header`: from that header of the request; `value`: always this one",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, header: x, value: y}]]}",
            "f:2:62: error: `header` and `value` exclude each other",
        ),
        ("{path: /r, descriptors: [[{header: x}]]}", "f:2:34: error: the entry has no `key`"),
        (
            "{path: /r, descriptors: [[{key: ip, header: 'x y'}]]}",
            "f:2:52: error: `x y` is not a header's name; help: letters, digits and dashes",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, headr: x}]]}",
            "f:2:34: error: the entry has neither `header` nor `value`; help: `header`: from that header of the request; `value`: always this one\nf:2:44: error: an entry of `usage` has no key `headr`; help: did you mean `header`?",
        ),
        (
            "{path: /r, descriptors: [[{key: ipp, header: x}]]}",
            "f:2:33: warning: no rule limits this descriptor: there is nothing to show of it; help: did you mean `ip`?",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, header: x}, {key: k, header: x}]]}",
            "f:2:33: warning: no rule limits this descriptor: there is nothing to show of it",
        ),
        (
            "{path: /r, descriptors: [[{key: user, value: b}]]}",
            "f:2:33: warning: no rule limits this descriptor: there is nothing to show of it",
        ),
        (
            "{path: /r, descriptors: [[{key: x, header: x}]]}",
            "f:2:33: warning: no rule limits this descriptor: there is nothing to show of it",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, header: x}]], template: '{{ window.minte.limit }}'}",
            "f:2:68: error: no rule of this page has a window `minte`; help: did you mean `minute`?",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, header: x}]], template: '{{ window.day.limit }}'}",
            "f:2:68: error: no rule of this page has a window `day`; help: its windows are `minute`",
        ),
        (
            "{path: /r, descriptors: [[{key: ip, header: x}]], template: '[{{ limit }}]'}",
            "f:2:68: error: unknown variable `limit` (character 5 of the text); help: variables are `window.NAME.current`, `window.NAME.limit`, `window.NAME.remaining`, `window.NAME.reset`, `descriptor.KEY`, `domain`",
        ),
        ("{path: /r, descriptors: [[{key: ip, header: x}], [{key: user, value: a}]]}", ""),
        ("{path: /, descriptors: [[{key: user, header: x}]], template: '{{ window.second.limit }}'}", ""),
    ] {
        assert_eq!(page(usage), said, "{usage}");
    }
    let found = page("{path: /r, descriptors: [[{key: ip, header: x}]], template: '{\"ip\": {{ descriptor.ip }}}'}");
    assert!(found.starts_with("f:2:68: error: the page is not JSON once it is filled: "), "{found}");
    let many = page(&format!("{{path: /r, descriptors: [{}]}}", "[{key: ip, header: x}], ".repeat(17)));
    assert!(many.contains("a usage page has more than 16 descriptors"), "{many}");
}

#[test]
fn two_domains_have_no_page_in_common_and_one_has_no_two() {
    let page = |domain: &str| {
        format!(
            "domain: {domain}\nusage: {{path: /r, descriptors: [[{{key: k, header: x}}]]}}\ndescriptors: [{{key: k, value: {domain}, limits: [1/s]}}]\n"
        )
    };
    assert_eq!(
        complaints(&[("f", &page("d")), ("g", &page("e"))]),
        "g:2:15: error: the path `/r` is given twice, first at f:2"
    );
    let twice = page("d").replace("value: d", "value: e");
    assert_eq!(
        complaints(&[("f", &page("d")), ("g", &twice)]),
        "g:2:1: error: `usage` of the domain `d` is given twice, first at f:2"
    );
}

#[test]
fn a_page_that_anybody_can_reach_is_warned_of() {
    let text =
        "domain: d\nusage: {path: /r, descriptors: [[{key: k, header: x}]]}\ndescriptors: [{key: k, limits: [1/s]}]\n";
    let file = RuleFile { name: "f".into(), path: "f".into(), text: text.into() };
    let defaults = DomainDefaults { open_usage_pages: true, ..DomainDefaults::default() };
    let compiled = compile(&[file], defaults, &mut read_list).expect("it loads");
    assert_eq!(
        lines(&compiled.warnings),
        "f:2:1: warning: this page can be read from beyond this machine, by clients who name whom they like; help: set `usage_secret_file`, or let `http` listen on loopback"
    );
}

#[test]
fn what_other_modules_refuse_is_said_at_its_place() {
    for (rule, said) in [
        ("{key: k, path: 'v1'}", "f:2:19: error: the path `v1`, character "),
        ("{key: k, regex: '(a'}", "f:2:20: error: the regex `(a`: "),
        ("{key: k, response: {headers: [{name: a b, value: c}]}}", "f:2:41: error: "),
        ("{key: k, response: {headers: [{name: a, value: '{{ limits }}'}]}}", "f:2:51: error: "),
        ("{key: k, response: {body: {content_type: json, template: a}}}", "f:2:45: error: "),
        ("{key: k, response: {body: {content_type: text/plain, template: 'a{{ }}'}}}", "f:2:67: error: "),
    ] {
        let found = of_rule(rule);
        assert!(found.starts_with(said) && found.lines().count() == 1, "{rule}: {found}");
    }
}

#[test]
fn what_is_no_yaml_is_said_at_its_place() {
    for (document, place) in [("domain: d\n\tx: 1", "f:1:9: "), ("domain: 'a: b", "f:1:9: "), ("a: b: c", "f:1:5: ")] {
        let found = complaints(&[("f", document)]);
        assert!(found.starts_with(&format!("{place}error: this is no YAML: ")), "{document}: {found}");
    }
}

#[test]
fn every_error_of_every_file_is_said_at_once_in_their_order() {
    let found = complaints(&[
        ("a", "domain: d\ndescriptors:\n - {key: k, limits: [5/x, 1/0s]}\n - {kee: k}\n"),
        ("b", "domain: d\ndescriptors: [{key: m}, {key: l, exempt: 1}]\n---\nusag: {}\ndomain: e\n"),
        ("c", "domain: d\ndescriptors: [{key: m}"),
        ("d", "domain: d\ndescriptors: [{key: m}]"),
    ]);
    let places: Vec<_> = found.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(places, ["a:3:22", "a:3:27", "a:4:4", "a:4:5", "b:2:42", "b:4:1", "c:2:14", "d:2:15"], "{found}");
}

#[test]
fn a_thousand_errors_are_shown_and_the_rest_is_counted() {
    let text = format!("domain: d\ndescriptors:\n{}", "- {}\n".repeat(5_000));
    let Err(errors) = load(&[("f", &text)]) else { panic!("it loads") };
    assert!(errors.len() <= crate::bounds::DIAGNOSTICS_MAX + 1, "{}", errors.len());
}

#[test]
fn sizes_are_bounded() {
    let nested = |depth: usize| {
        let open = "{key: k, descriptors: [".repeat(depth - 1);
        format!("domain: d\ndescriptors: [{open}{{key: k}}{}]", "]}".repeat(depth - 1))
    };
    assert_eq!(complaints(&[("f", &nested(crate::bounds::LEVELS_MAX))]), "");
    for depth in [crate::bounds::LEVELS_MAX + 1, crate::bounds::YAML_DEPTH_MAX, 10_000] {
        let found = complaints(&[("f", &nested(depth))]);
        assert!(found.contains("error"), "{depth}: {found}");
    }
    let name = "n".repeat(crate::bounds::NAME_MAX_CHARS);
    assert_eq!(of_rule(&format!("{{key: k, name: {name}}}")), "");
    assert!(of_rule(&format!("{{key: k, name: {name}n}}")).contains("more than 128 characters"));
    let body = "x".repeat(crate::bounds::BODY_MAX_BYTES + 1);
    let found = of_rule(&format!("{{key: k, response: {{body: {{content_type: a/b, template: {body}}}}}}}"));
    assert!(found.contains("at most 65536 may be"), "{found}");
}

#[test]
fn rules_that_multiply_by_extending_are_bounded() {
    let mut text = "domain: d\ndescriptors:\n- {key: k, value: v0, name: r0}\n".to_owned();
    for i in 1..40 {
        let child = |key: &str| format!("{{key: {key}, extends: r{}}}", i - 1);
        let children: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(child).into();
        let children = children.join(", ");
        let _ = writeln!(text, "- {{key: k, value: v{i}, name: r{i}, descriptors: [{children}]}}");
    }
    let found = complaints(&[("f", &text)]);
    assert!(found.contains("rules"), "{found}");
    let mut chain = "domain: d\ndescriptors:\n".to_owned();
    for i in 0..10_000 {
        let _ = writeln!(chain, "- {{key: k, value: v{i}, name: r{i}, extends: r{}}}", i + 1);
    }
    assert!(complaints(&[("f", &chain)]).contains("deep"));
}

#[test]
fn no_beginning_of_a_good_file_makes_it_panic() {
    for end in 0..SHOP.len() {
        if let Some(text) = SHOP.get(..end) {
            let _ = load(&[("f", text)]);
        }
    }
}

#[test]
fn a_hundred_thousand_rules_load() {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for i in 0..100_000 {
        let _ = writeln!(text, "  - key: api_key\n    value: customer-{i}\n    limits: [{}/minute, 4/second]", i + 1);
    }
    let compiled = good(&text);
    assert_eq!(domain(&compiled).rules.len(), 100_000);
    assert_eq!(compiled.responses.len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let files = [RuleFile { name: "f".into(), path: "f".into(), text: bytes }];
        let _ = compile(&files, DomainDefaults::default(), &mut read_list);
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0..SHOP.len(), bytes in "[-{}\\[\\]:*&a0/ \n]{0,8}") {
        let mut text = SHOP.as_bytes().to_vec();
        text.splice(at..at, bytes.into_bytes());
        let files = [RuleFile { name: "f".into(), path: "f".into(), text }];
        let _ = compile(&files, DomainDefaults::default(), &mut read_list);
    }

    #[test]
    fn no_words_of_the_language_in_any_order_make_it_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "domain", "descriptors", "key", "value", "limits", "rate_limit", "extends", "name", "response", "body",
                ":", ": ", "\n", "\n- ", "\n  ", "{", "}", "[", "]", ", ", "k", "1/s", "*a", "&a ", "<<: ", "~", "---\n",
            ]),
            0..60,
        ),
    ) {
        let _ = load(&[("f", &words.concat())]);
    }
}
