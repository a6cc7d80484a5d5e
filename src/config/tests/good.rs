//! Files that load, and what they say.

use super::*;
use crate::{
    config::settings::Compat,
    render::headers::{HeaderNames, Headers},
    request::Entry,
    rules::{
        Action, Counted, Expose, Mode, OnStoreError, Report as Reported, RequestLimits, Slots, Value, identity::HashKey,
    },
};

#[test]
fn the_example_loads_without_a_word() {
    let compiled = load(&[("shop.yaml", SHOP)]).unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(lines(&compiled.warnings), "");
    let shop = &compiled.rules.domains[b"shop".as_slice()];
    let names: Vec<_> = shop.rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names[..4], ["per-key", "order-items", "acme", "acme/order-items"]);
    assert_eq!(limits(&shop.rules[2]), "minute=5000/length:60000000000, second=100/length:1000000000");
    assert_eq!(shop.rules.len(), 8);
}

#[test]
fn the_example_finds_what_envoy_sends() {
    let compiled = load(&[("shop.yaml", SHOP)]).unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    let shop = &compiled.rules.domains[b"shop".as_slice()];
    let found = |entries: &[(&str, &str)]| {
        let entries: Vec<_> =
            entries.iter().map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() }).collect();
        shop.find(&entries, None, &HashKey::Secret([0; 16])).matched.map_or("nothing", |matched| &matched.rule.name)
    };
    for (entries, name) in [
        (&[("api_key", "anyone")][..], "per-key"),
        (&[("api_key", "anyone"), ("path", "/v1/orders/7/items?page=2")], "order-items"),
        (&[("api_key", "anyone"), ("path", "/v1/carts")], "nothing"),
        (&[("api_key", "acme-7f3")], "acme"),
        (&[("api_key", "acme-7f3"), ("path", "/v1/orders/7/items")], "acme/order-items"),
        (&[("remote_address", "203.0.113.9")], "per-address"),
        (&[("remote_address", "10.99.3.4")], "our-networks"),
        (&[("remote_address", "::ffff:10.99.3.4")], "our-networks"),
    ] {
        assert_eq!(found(entries), name, "{entries:?}");
    }
}

#[test]
fn what_is_exceeded_blocks_the_descriptor_or_its_beginning() {
    let compiled = rules(
        "- {key: a, limits: [1/s], on_exceed: {block_for: 90s}}\n\
         - key: b\n  name: b\n  descriptors:\n\
         \x20 - {key: c, name: c, limits: [1/s], on_exceed: {block_for: 2h, block: b}}\n\
         \x20 - {key: c, value: v, name: v, extends: c, limits: [2/s]}\n\
         \x20 - {key: c, value: w, name: w, extends: c, on_exceed: {block_for: 1s, block: c}}\n\
         \x20 - {key: c, value: x, name: x, extends: c, deny: true}\n",
    );
    assert!(domain(&compiled).blocks);
    let block = |name: &str| rule(&compiled, name).on_exceed.map(|block| (block.length.ceil_secs(), block.levels));
    assert_eq!(block("a"), Some((90, None)));
    assert_eq!(block("c"), Some((7_200, Some(1))));
    assert_eq!((block("v"), block("w"), block("x")), (block("c"), Some((1, Some(2))), None));
    let blocked_as = |name: &str| rule(&compiled, name).blocked_as.len();
    assert_eq!(["a", "b", "c", "v", "w"].map(blocked_as), [0, 1, 0, 0, 1]);
    assert!(!domain(&rules("- {key: a, limits: [1/s]}")).blocks);
}

/// A form of envoyproxy/ratelimit counts whole addresses, ours their networks: blocks of both stand on one level.
#[test]
fn a_block_is_found_by_every_descriptor_that_begins_alike_however_its_own_rule_counts() {
    let compiled = rules(
        "- key: remote_address\n  descriptors:\n\
         \x20 - key: a\n    name: classic\n    rate_limit: {unit: second, requests_per_unit: 1}\n\
         \x20   on_exceed: {block_for: 1h, block: remote_address}\n\
         \x20 - {key: b, name: ours, limits: [1/s], on_exceed: {block_for: 2h, block: remote_address}}\n\
         \x20 - {key: c, limits: [1/s], on_exceed: {block_for: 3h}}\n",
    );
    let gates = |address: &str, more: Option<&str>| {
        let mut entries = vec![Entry { key: b"remote_address", value: address.as_bytes() }];
        entries.extend(more.map(|key| Entry { key: key.as_bytes(), value: b"v" }));
        let gates = domain(&compiled).find(&entries, None, &HashKey::Secret([0; 16])).gates;
        gates.iter().map(|gate| (gate.key, gate.starts.map(|length| length.ceil_secs() / 3_600))).collect::<Vec<_>>()
    };
    let starts = |more| gates("::1", more).iter().map(|(_, hours)| *hours).collect::<Vec<_>>();
    assert_eq!(starts(None), [None, None]);
    assert_eq!(starts(Some("unknown")), [None, None]);
    assert_eq!(starts(Some("a")), [Some(1), None]);
    assert_eq!(starts(Some("b")), [None, Some(2)]);
    assert_eq!(starts(Some("c")), [None, None, Some(3)]);

    let keys = |address, more| gates(address, more).iter().take(2).map(|(key, _)| *key).collect::<Vec<_>>();
    for more in [Some("unknown"), Some("a"), Some("b"), Some("c")] {
        assert_eq!(keys("::1", more), keys("::1", None), "{more:?}");
    }
    let (one, neighbour, other) = (keys("::1", None), keys("::2", None), keys("0:0:0:1::", None));
    assert_eq!((one[0] == neighbour[0], one[1] == neighbour[1]), (false, true));
    assert!(!one.iter().any(|key| other.contains(key)));
}

#[test]
fn what_a_rule_does_without_its_store_is_local_unless_it_or_what_it_extends_says_otherwise() {
    let compiled = rules(
        "- {key: a, name: a, limits: [1/s]}\n\
         - {key: b, name: b, limits: [1/s], on_store_error: allow}\n\
         - {key: b, value: v, name: v, extends: b, limits: [2/s]}\n\
         - {key: b, value: w, name: w, extends: b, on_store_error: deny}\n\
         - {key: b, value: x, name: x, extends: b, on_store_error: local}\n\
         - {key: c, name: c, rate_limit: {unit: day, requests_per_unit: 1}, on_store_error: deny}\n",
    );
    let of = |name: &str| rule(&compiled, name).on_store_error;
    assert_eq!(["a", "b", "v"].map(of), [OnStoreError::Local, OnStoreError::Allow, OnStoreError::Allow]);
    assert_eq!(["w", "x", "c"].map(of), [OnStoreError::Deny, OnStoreError::Local, OnStoreError::Deny]);
    assert_eq!(domain(&compiled).request_rule.on_store_error, OnStoreError::Local);
}

#[test]
fn limits_become_windows() {
    for (written, read) in [
        ("[120/minute, 4/second]", "minute=120/length:60000000000, second=4/length:1000000000"),
        ("[{rate: 5/10m, name: n}]", "n=5/length:600000000000"),
        ("[{requests: 1_000, per: day}]", "day=1000/length:86400000000000"),
        ("[{requests: 0x10, per: 500ms, algorithm: fixed_window}]", "500ms=16/length:500000000"),
        ("[1/week]", "week=1/calendar:Week:1:UTC"),
        ("[{rate: 1/week, align: epoch}]", "week=1/length:604800000000000"),
        ("[{rate: 1/month, anchor_day: 31}]", "month=1/calendar:Month:31:UTC"),
        ("[{rate: 1/day, time_zone: Europe/Berlin}]", "day=1/calendar:Day:1:Europe/Berlin"),
        ("[{rate: 1/hour, align: calendar}]", "hour=1/calendar:Hour:1:UTC"),
        ("[{rate: 1/minute, align: calendar}]", "minute=1/length:60000000000"),
        ("[{rate: 1/year, time_zone: asia/tokyo}]", "year=1/calendar:Year:1:Asia/Tokyo"),
        ("[{rate: 5/10m, algorithm: sliding_window}]", "10m=5/length:600000000000 SlidingWindow"),
        ("[{rate: 5/month, algorithm: sliding_window}]", "month=5/length:2592000000000000 SlidingWindow"),
        ("[{rate: 5/week, algorithm: token_bucket}]", "week=5/length:604800000000000 TokenBucket { burst: 5 }"),
        (
            "[{rate: 5/s, algorithm: token_bucket, burst: 20, align: epoch}]",
            "second=5/length:1000000000 TokenBucket { burst: 20 }",
        ),
        (
            "[5/s, {rate: 5/s, algorithm: token_bucket, name: b}, {rate: 5/s, algorithm: sliding_window, name: s}]",
            "second=5/length:1000000000, b=5/length:1000000000 TokenBucket { burst: 5 }, s=5/length:1000000000 SlidingWindow",
        ),
        (
            "[{rate: 9/s, mode: shadow}, {rate: 9/s, name: n}]",
            "second=9/length:1000000000 shadow, n=9/length:1000000000",
        ),
    ] {
        let compiled = rules(&format!("- {{key: k, name: r, limits: {written}}}"));
        assert_eq!(limits(rule(&compiled, "r")), read, "{written}");
    }
}

#[test]
fn the_form_of_envoyproxy_is_read_with_its_windows() {
    for (written, read) in [
        ("{unit: second, requests_per_unit: 1}", "second=1/length:1000000000"),
        ("{unit: MINUTE, requests_per_unit: 1_000}", "minute=1000/length:60000000000"),
        ("{unit: Week, requests_per_unit: 4294967295}", "week=4294967295/length:604800000000000"),
        ("{unit: month, requests_per_unit: 017}", "month=15/length:2592000000000000"),
        ("{unit: year}", "year=0/length:31536000000000000"),
        ("{unit: day, requests_per_unit: 1, name: n, replaces: ~}", "n=1/length:86400000000000"),
    ] {
        let compiled = rules(&format!("- {{key: remote_address, name: r, rate_limit: {written}}}"));
        let rule = rule(&compiled, "r");
        assert_eq!(limits(rule), read, "{written}");
        assert_eq!(*rule.counted(), [Counted::Address { ipv6_prefix: 128 }]);
    }
    let compiled = rules(
        "- {key: a, name: a, rate_limit: {unlimited: yes, replaces: [{name: n}]}}\n\
         - {key: b, name: b, rate_limit: {unit: day, name: n}}",
    );
    assert_eq!(rule(&compiled, "a").action, Action::Unlimited);
    let name = rule(&compiled, "b").limits()[0].written_name.expect("it is written");
    assert!(rule(&compiled, "a").replaces.contains(&name));
    assert_eq!(lines(&compiled.warnings), "");
}

#[test]
fn every_key_of_a_rule_says_what_it_says() {
    let compiled = rules(
        "- {key: a, name: exempt, cidr: 10.0.0.0/8, exempt: true}\n\
         - {key: b, name: deny, deny: true}\n\
         - {key: c, name: shadow, shadow_mode: on, limits: [1/s]}\n\
         - {key: d, name: quota, quota_mode: true, limits: [1/s]}\n\
         - {key: e, name: enforce, mode: enforce, shadow_mode: ~, limits: [1/s]}\n\
         - {key: f, name: overdraw, overdraw: true, limits: [1/s]}\n\
         - {key: g, name: meta, metadata: {n: 1.5, t: '1', b: yes, l: [~]}}\n\
         - {key: h, name: mode, mode: quota, limits: []}\n",
    );
    assert_eq!(rule(&compiled, "exempt").action, Action::Exempt);
    assert_eq!(rule(&compiled, "deny").action, Action::Deny);
    assert_eq!(rule(&compiled, "shadow").mode, Mode::Shadow);
    assert!(rule(&compiled, "shadow").limits()[0].shadow);
    assert_eq!(rule(&compiled, "quota").mode, Mode::Quota);
    assert_eq!(rule(&compiled, "enforce").mode, Mode::Enforce);
    assert!(rule(&compiled, "overdraw").overdraw);
    assert_eq!((rule(&compiled, "mode").mode, rule(&compiled, "mode").action), (Mode::Quota, Action::Open));
    let metadata = rule(&compiled, "meta").metadata.as_deref();
    let pair = |key: &str, value| (Box::from(key), value);
    let map = [
        pair("n", Value::Number(1.5)),
        pair("t", Value::Text("1".into())),
        pair("b", Value::Bool(true)),
        pair("l", Value::List([Value::Null].into())),
    ];
    assert_eq!(metadata, Some(&Value::Map(map.into())));
}

#[test]
fn counters_are_named_level_by_level() {
    let shared = |text: &str| Counted::Shared(text.as_bytes().into());
    let address = |ipv6_prefix| Counted::Address { ipv6_prefix };
    for (level, counted) in [
        ("key: k", Counted::Value),
        ("key: k, value: v", Counted::Value),
        ("key: k, value: v, count: shared", Counted::Value),
        ("key: k, count: shared", shared("any:")),
        ("key: k, value: 404", Counted::Value),
        ("key: k, value: 'foo*'", Counted::Value),
        ("key: k, value: 'foo*', count: shared", shared("glob:foo*")),
        ("key: k, value: 'foo*', share_threshold: true", shared("glob:foo*")),
        ("key: k, value: 'foo*', share_threshold: false", Counted::Value),
        ("key: k, regex: 'a|b'", Counted::Value),
        ("key: k, regex: 'a|b', count: shared", shared("regex:a|b")),
        ("key: k, path: '/a/{id}'", shared("path:/a/{}")),
        ("key: k, path: '/a/{id}', count: each", Counted::Path),
        ("key: k, values: [a, b]", Counted::Value),
        ("key: k, values_file: keys.txt", Counted::Value),
        ("key: k, cidr: [10.0.0.0/8, fd00::/8]", address(64)),
        ("key: k, cidr: [fd00::/8, 10.0.0.0/8], count: shared", shared("cidr:10.0.0.0/8,fd00::/8")),
        ("key: k, cidr: '::ffff:10.0.0.0/104', count: shared", shared("cidr:10.0.0.0/8")),
        ("key: k, cidr_file: nets.txt, count: shared", shared("cidr:10.0.0.0/8,2001:db8::/32")),
        ("key: k, cidr: 10.1.2.3, ipv6_prefix: 48", address(48)),
        ("key: remote_address", address(64)),
        ("key: remote_address, ipv6_prefix: 128", address(128)),
        ("key: remote_address, value: 10.0.0.1", address(64)),
    ] {
        let compiled = rules(&format!("- {{{level}, name: r, limits: [1/s]}}"));
        assert_eq!(*rule(&compiled, "r").counted(), *std::slice::from_ref(&counted), "{level}");
        let below = rules(&format!("- {{{level}, descriptors: [{{key: z, name: r, limits: [1/s]}}]}}"));
        assert_eq!(*rule(&below, "r").counted(), [counted, Counted::Value], "{level}");
    }
    let values = |list: &str| {
        let compiled = rules(&format!("- {{key: k, name: r, values: {list}, count: shared, limits: [1/s]}}"));
        rule(&compiled, "r").counted()[0].clone()
    };
    assert_eq!(values("[a, b]"), values("[b, a]"));
    assert_ne!(values("[ab, c]"), values("[a, bc]"));
}

#[test]
fn default_names_hide_values_and_are_unique() {
    let compiled = rules(
        "- key: api_key\n  descriptors: [{key: path}, {key: path, value: secret}]\n\
         - {key: api_key, value: secret}\n- {key: other, name: 'api_key/path'}\n",
    );
    let names = names(&compiled);
    assert_eq!(names[0], "api_key");
    assert_eq!(names[1], "api_key/path-2", "a written name has precedence");
    assert!(names[2].starts_with("api_key/path:") && names[3].starts_with("api_key:"), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("secret")));
    // Names go into metrics and dashboards: they stay what they are.
    assert_eq!(names[3], "api_key:6ddd6215");
    let long = rules(&format!("- key: {}\n", "k".repeat(1_000)));
    assert!(domain(&long).rules[0].name.len() <= crate::bounds::NAME_MAX_CHARS);
}

#[test]
fn numbers_are_dense_over_all_domains() {
    let compiled = load(&[
        ("a", "domain: a\ndescriptors: [{key: k, limits: [1/s, 2/m1]}]".replace("2/m1", "2/min").as_str()),
        ("b", "domain: b\n---\ndomain: a\ndescriptors: [{key: l, limits: [1/s]}]"),
    ])
    .unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    let all = compiled.rules.domains.values().flat_map(|domain| domain.rules.iter().chain([&domain.request_rule]));
    let mut rule_ids: Vec<_> = all.clone().map(|rule| rule.id).collect();
    let mut limit_ids: Vec<_> =
        all.flat_map(|rule| (rule.first_limit..).zip(rule.limits()).map(|(number, _)| number)).collect();
    limit_ids.extend(compiled.rules.domains.values().map(|domain| domain.override_limit));
    rule_ids.sort_unstable();
    limit_ids.sort_unstable();
    assert_eq!(rule_ids, (0..compiled.rules.rule_count).collect::<Vec<_>>());
    assert_eq!(limit_ids, (0..compiled.rules.limit_count).collect::<Vec<_>>());
    assert_eq!((rule_ids.len(), limit_ids.len()), (4, 7));
}

#[test]
fn responses_are_inherited_key_by_key_and_shared() {
    let compiled = good(
        "domain: d\n\
         response: {headers: ietf, expose: never, report: first, body: problem+json}\n\
         descriptors:\n\
         - key: a\n  name: a\n  response: {headers: none, retry_after: false}\n\
         \x20 descriptors: [{key: b, name: b, response: {expose: on_deny}}]\n\
         - {key: c, name: c}\n- {key: d, name: d, response: {report: nearest, headers: ietf}}\n",
    );
    let (a, b, c, d) = (rule(&compiled, "a"), rule(&compiled, "b"), rule(&compiled, "c"), rule(&compiled, "d"));
    assert_eq!((a.expose, b.expose, c.expose), (Expose::Never, Expose::OnDeny, Expose::Never));
    assert_eq!((a.report, d.report), (Reported::First, Reported::Nearest));
    assert_eq!((a.response, c.response), (b.response, d.response));
    assert_eq!(compiled.responses.len(), 2);
    assert!(!compiled.responses[a.response as usize].retry_after);
    assert!(compiled.responses[c.response as usize].retry_after);
    assert_eq!(domain(&compiled).request_rule.response, c.response);
}

#[test]
fn domain_keys_are_read() {
    let compiled = good("domain: d\ncount_denied: yes\nrequest_limits: at_most\nslots: spread\ndescriptors: ~\n");
    let domain = domain(&compiled);
    assert_eq!(domain.slots, Slots::Spread);
    assert!(domain.count_denied && domain.request_limits == RequestLimits::AtMost && domain.top.is_empty());
    assert_eq!((&*domain.request_rule.name, &*domain.request_rule.limits()[0].name), ("request-limit", "request"));
    let files = [RuleFile { name: "f".into(), path: "f".into(), text: b"domain: d".to_vec() }];
    let compiled = compile(&files, DomainDefaults { count_denied: true, ..DomainDefaults::default() }, &mut read_list)
        .expect("it loads");
    assert!(compiled.rules.domains[b"d".as_slice()].count_denied);
}

#[test]
fn an_extending_rule_takes_over_what_it_does_not_say() {
    let compiled = rules(
        "- key: k\n  name: base\n  limits: [1/s]\n  mode: shadow\n  count: each\n  overdraw: true\n  ipv6_prefix: ~\n\
         \x20 metadata: {a: 1}\n  response: {headers: ietf}\n\
         \x20 descriptors:\n\
         \x20   - {key: x, name: x, limits: [2/s]}\n\
         \x20   - {key: y, name: y, limits: [2/s]}\n\
         \x20   - {key: z, descriptors: [{key: u, name: u}, {key: v, name: v}]}\n\
         - key: k\n  value: one\n  name: one\n  extends: base\n  response: {expose: never}\n\
         \x20 descriptors:\n\
         \x20   - {key: x, name: own-x, limits: [3/s]}\n\
         \x20   - {key: z, descriptors: [{key: u, name: own-u}]}\n\
         - {key: k, value: two, name: two, extends: one, deny: true}\n",
    );
    assert_eq!(lines(&compiled.warnings), "");
    let one = rule(&compiled, "one");
    assert_eq!((limits(one), one.mode, one.overdraw), (limits(rule(&compiled, "base")), Mode::Shadow, true));
    assert_eq!((one.expose, one.metadata.is_some()), (Expose::Never, true));
    assert_eq!(one.response, rule(&compiled, "base").response);
    assert_eq!(rule(&compiled, "two").action, Action::Deny);
    assert!(rule(&compiled, "two").limits().is_empty());
    assert_eq!(
        names(&compiled).into_iter().filter(|name| !name.starts_with("k/") && !name.contains(':')).collect::<Vec<_>>(),
        ["base", "x", "y", "u", "v", "one", "own-x", "own-u", "one/y", "two", "two/own-x", "two/y"]
    );
}

#[test]
fn equal_parents_of_several_files_are_one() {
    let compiled = load(&[
        ("a", "domain: d\ndescriptors: [{key: k, descriptors: [{key: x, limits: [1/s]}]}]"),
        ("b", "domain: d\ndescriptors: [{key: k, name: k, count: shared, descriptors: [{key: y, limits: [1/s]}]}]"),
        ("c", "domain: d\ndescriptors: [{key: k, descriptors: [{key: z, limits: [1/s]}]}]"),
    ])
    .unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert_eq!(names(&compiled), ["k", "k/x", "k/y", "k/z"]);
    assert_eq!(rule(&compiled, "k/z").counted()[0], Counted::Shared(b"any:".as_slice().into()));
}

#[test]
fn anchors_and_merge_keys_are_read() {
    let compiled = rules(
        "- &base {key: a, name: a, limits: &limits [1/s]}\n- {<<: *base, key: b, name: b}\n\
         - {key: c, name: c, limits: *limits}\n",
    );
    assert_eq!(limits(rule(&compiled, "b")), limits(rule(&compiled, "c")));
}

#[test]
fn headers_and_bodies_of_ones_own_are_read() {
    let compiled = rules(
        "- key: k\n  name: r\n  response:\n    headers:\n\
         \x20     - {name: x-limit, value: '{{ limit }}'}\n      - {name: x-why, value: '', on: deny}\n\
         \x20     - {name: x-always, value: a, on: always}\n\
         \x20   body: {content_type: application/json, template: '{\"m\": \"{{ message }}\"}'}\n",
    );
    let response = &compiled.responses[rule(&compiled, "r").response as usize];
    assert!(matches!(&response.headers, crate::render::headers::Headers::List(_)));
    assert!(!matches!(response.body, crate::render::body::Body::None));
    let none = good("domain: d\nresponse: {headers: none, body: none}");
    assert_eq!(none.responses.len(), 1);
}

#[test]
fn every_key_is_tried_in_a_test() {
    let tests = [include_str!("good.rs"), include_str!("bad.rs"), SHOP].concat();
    for shape in SHAPES {
        for key in shape.names().chain(shape.unavailable.iter().copied()) {
            assert!(tests.contains(&format!("{key}:")), "`{key}` of {}", shape.name);
        }
    }
}

#[test]
fn the_settings_say_how_domains_look_that_say_nothing() {
    let names = HeaderNames { limit: "X-L".into(), remaining: "X-R".into(), reset: "X-S".into() };
    let defaults = |compat, count_denied| DomainDefaults {
        compat,
        count_denied,
        headers: "envoyproxy".to_owned(),
        header_names: Arc::new(names.clone()),
        ..DomainDefaults::default()
    };
    for (compat, count_denied, text, own_names, retry_after) in [
        (Compat::None, false, "domain: d", true, true),
        (Compat::None, true, "domain: d", true, true),
        (Compat::Ratelimit, false, "domain: d", true, true),
        // There every answer is that of envoyproxy/ratelimit to the letter, unless somebody asks for more.
        (Compat::Ratelimit, true, "domain: d", true, false),
        (Compat::Ratelimit, true, "domain: d\nresponse: {retry_after: true, headers: ietf}", false, true),
    ] {
        let files = [RuleFile { name: "f".into(), path: "f".into(), text: text.as_bytes().to_vec() }];
        let compiled = compile(&files, defaults(compat, count_denied), &mut read_list).expect("it loads");
        let response = &compiled.responses[domain(&compiled).request_rule.response as usize];
        assert_eq!(response.retry_after, retry_after, "{compat:?} {text}");
        let found = matches!(&response.headers, Headers::Envoyproxy(found) if **found == names);
        assert_eq!(found, own_names, "{compat:?} {text}");
    }
}

#[test]
fn a_global_mode_is_one_of_every_domain() {
    let defaults = DomainDefaults { shadow_mode: true, quota_mode: true, ..DomainDefaults::default() };
    let text =
        "domain: d\ndescriptors: [{key: a, name: a, limits: [1/s]}, {key: b, name: b, mode: shadow, limits: [1/s]}]";
    let files = [RuleFile { name: "f".into(), path: "f".into(), text: text.as_bytes().to_vec() }];
    let compiled = compile(&files, defaults, &mut read_list).expect("it loads");
    assert!(domain(&compiled).shadow && domain(&compiled).all_quota);
    assert_eq!(["a", "b"].map(|name| rule(&compiled, name).mode), [Mode::Quota, Mode::Shadow]);
}
