//! Rules, requests, and the series that come of them.

use std::{io, path::Path, sync::Arc};

use super::*;
use crate::{
    config::{Compiled, DomainDefaults, RuleFile, compile},
    decision::plan,
    request::{Descriptor, Entry, Request, RequestLimit},
    rules::{find::Found, identity::HashKey},
    store::memory::Memory,
    units::{Nanos, Timestamp},
};

/// A service without the server around it.
struct Scene {
    compiled: Compiled,
    memory: Memory,
    telemetry: Arc<Telemetry>,
    charges: Charges,
}

/// What one request says beside its entries.
#[derive(Clone, Copy, Default)]
struct Asked {
    hits: Option<u64>,
    gives_back: bool,
    limit: Option<RequestLimit>,
    repeated: bool,
}

const ONE: Asked = Asked { hits: None, gives_back: false, limit: None, repeated: false };

impl Scene {
    /// With the rules that stand under `descriptors:` of the domain `d`, and these keys before them.
    fn with(keys: &str, rules: &str) -> Self {
        Self::under(DomainDefaults::default(), keys, rules)
    }

    fn under(defaults: DomainDefaults, keys: &str, rules: &str) -> Self {
        let telemetry = Telemetry::new(2);
        telemetry.speak_compat(0.8);
        let (compiled, charges) = load(&telemetry, defaults, keys, rules);
        Self { compiled, memory: Memory::new(1_000_000), telemetry, charges }
    }

    /// Asks with descriptors, each of `key=value` entries parted by blanks.
    fn ask_all(&self, descriptors: &[&str], asked: Asked) {
        self.ask_in("d", descriptors, asked);
    }

    fn ask_in(&self, domain: &str, descriptors: &[&str], asked: Asked) {
        let mut request = Request { domain: domain.as_bytes(), ..Request::default() };
        for text in descriptors {
            let first_entry = u32::try_from(request.entries.len()).unwrap();
            let entries = text.split(' ').map(|entry| entry.split_once('=').unwrap());
            request.entries.extend(entries.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() }));
            let entry_count = u32::try_from(request.entries.len()).unwrap() - first_entry;
            let Asked { hits, gives_back, limit, .. } = asked;
            request.descriptors.push(Descriptor { first_entry, entry_count, limit, hits, gives_back });
        }
        let domain = self.compiled.rules.domains.get(request.domain);
        let key = HashKey::Secret([1; 16]);
        let find = |descriptor: &Descriptor| {
            domain.map(|domain| domain.find(request.entries_of(descriptor), descriptor.limit, &key)).unwrap_or_default()
        };
        let found: Vec<Found<'_>> = request.descriptors.iter().map(find).collect();
        let plan = plan(domain, &request, &found);
        let verdicts = self.memory.charge(Timestamp::from_secs(1_000), &plan.charges);
        let (repeated, alone) = (asked.repeated, false);
        let (found, plan, verdicts) = (&found[..], &plan, &verdicts);
        self.charges.count(&Charged { core: 0, domain, request: &request, found, plan, verdicts, repeated, alone });
    }

    fn ask(&self, descriptor: &str, asked: Asked) {
        self.ask_all(&[descriptor], asked);
    }

    fn take(&self, descriptor: &str, hits: u64) {
        self.ask(descriptor, Asked { hits: Some(hits), ..ONE });
    }

    fn text(&self) -> String {
        self.charges.tell(&self.compiled.rules);
        self.telemetry.render()
    }

    /// The series by rule that are not zero, without what their names have in common, in order: `total_hits{…} 3`.
    fn counted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.series().into_iter().filter(|line| !line.ends_with(" 0")).collect();
        lines.sort();
        lines
    }

    fn series(&self) -> Vec<String> {
        let text = self.text();
        text.lines().filter_map(|line| line.strip_prefix("ratelimit_service_rate_limit_")).map(str::to_owned).collect()
    }

    /// The labels of what was counted, in order.
    fn labels(&self) -> Vec<String> {
        let labels =
            |line: &String| Some(line.strip_prefix("total_hits{domain=\"d\",")?.split_once("} ")?.0.to_owned());
        self.counted().iter().filter_map(labels).collect()
    }

    /// `total_hits`, `within_limit`, `near_limit`, `over_limit`, `shadow_mode` and `over_limit_with_local_cache` of the one
    /// rule there is.
    fn numbers(&self) -> [u64; 6] {
        let lines = self.series();
        ["total_hits", "within_limit", "near_limit", "over_limit", "shadow_mode", "over_limit_with_local_cache"].map(
            |name| {
                let line = lines.iter().find(|line| line.starts_with(&format!("{name}{{")));
                line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
            },
        )
    }
}

fn load(telemetry: &Arc<Telemetry>, defaults: DomainDefaults, keys: &str, rules: &str) -> (Compiled, Charges) {
    let text = format!("domain: d\n{keys}\ndescriptors:\n{rules}\n").into_bytes();
    let file = RuleFile { name: "f".into(), path: "f".into(), text };
    let defaults = DomainDefaults { compat_metrics: true, ..defaults };
    let no_lists = &mut |_: &Path| Err(io::ErrorKind::NotFound.into());
    let mut compiled = compile(&[file], defaults, no_lists)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    assert!(compiled.warnings.is_empty(), "files of that service load without a word: {:?}", compiled.warnings);
    let labels = std::mem::take(&mut compiled.labels);
    let charges = Charges::new(telemetry, &compiled.rules, labels).unwrap();
    (compiled, charges)
}

/// A rule in the form of that service, of so many an hour.
fn limit(requests_per_unit: u32) -> String {
    format!("rate_limit: {{unit: hour, requests_per_unit: {requests_per_unit}}}")
}

#[test]
fn with_count_denied_the_numbers_are_those_of_envoyproxy_ratelimit() {
    for (limit_of, charged, numbers) in [
        // total, within, near, over
        (20, &[15, 7][..], [22, 15, 4, 2]),
        (20, &[19, 3], [22, 19, 3 + 1, 2]),
        (20, &[16, 3], [19, 19, 3, 0]),
        (15, &[15, 1], [16, 15, 3, 1]),
        (8, &[5, 2], [7, 7, 1, 0]),
        (10, &[27, 3], [30, 0, 2, 17 + 3]),
        (0, &[1, 5], [6, 0, 0, 6]),
    ] {
        let scene = Scene::with("count_denied: true", &format!("- {{key: k, {}}}", limit(limit_of)));
        for &hits in charged {
            scene.take("k=v", hits);
        }
        assert_eq!(scene.numbers()[..4], numbers, "{charged:?} of {limit_of}");
    }
}

#[test]
fn where_a_refused_request_charges_nothing_all_of_it_is_over() {
    let scene = Scene::with("", "- {key: k, limits: [20/hour]}");
    for (hits, numbers) in [
        (15, [15, 15, 0, 0]),
        (7, [22, 15, 0, 7]), // five would fit, none is charged
        (4, [26, 19, 3, 7]),
        (1, [27, 20, 4, 7]),
        (1, [28, 20, 4, 8]),
    ] {
        scene.take("k=v", hits);
        assert_eq!(scene.numbers()[..4], numbers, "after {hits}");
    }
}

#[test]
fn a_descriptor_that_had_room_on_a_refused_request_only_asked() {
    let scene = Scene::with("", "- {key: a, limits: [10/hour]}\n- {key: b, limits: [0/hour]}");
    scene.ask_all(&["a=1", "b=1"], ONE);
    let counted = [
        r#"over_limit{domain="d",key1="b"} 1"#,
        r#"total_hits{domain="d",key1="a"} 1"#,
        r#"total_hits{domain="d",key1="b"} 1"#,
    ];
    assert_eq!(scene.counted(), counted);
}

#[test]
fn looks_refunds_and_rules_without_a_limit_count_as_nothing() {
    let rules = "- {key: k, limits: [1/hour]}\n- {key: open}\n- {key: none, rate_limit: {unlimited: true}}\n\
                 - {key: deny, deny: true}";
    let scene = Scene::with("", rules);
    scene.ask("k=v", Asked { hits: Some(0), ..ONE });
    scene.ask("k=v", Asked { hits: Some(3), gives_back: true, ..ONE });
    for descriptor in ["open=1", "none=1", "deny=1", "unknown=1", "k=v k=v"] {
        scene.ask(descriptor, ONE);
    }
    assert_eq!(scene.counted(), [""; 0]);
}

#[test]
fn a_shadow_counts_as_over_and_as_shadow() {
    for (keys, numbers) in [("count_denied: true", [5, 2, 1, 2, 2]), ("", [5, 2, 0, 3, 3])] {
        let scene = Scene::with(keys, &format!("- {{key: k, shadow_mode: true, {}}}", limit(3)));
        scene.take("k=v", 2);
        scene.take("k=v", 3);
        assert_eq!(scene.numbers()[..5], numbers, "{keys}");
    }
}

#[test]
fn where_all_is_in_shadow_mode_a_request_above_a_limit_is_counted_as_that_too() {
    let defaults = DomainDefaults { shadow_mode: true, ..DomainDefaults::default() };
    let scene = Scene::under(defaults, "count_denied: true", "- {key: k, limits: [1/hour]}");
    for _ in 0..3 {
        scene.ask_all(&["k=v", "k=w"], ONE);
    }
    assert_eq!(scene.numbers()[..5], [6, 2, 2, 4, 0]);
    let text = scene.text();
    assert!(text.contains("\nratelimit_service_global_shadow_mode 2\n"), "{text}");
}

#[test]
fn a_rule_of_several_windows_counts_a_descriptor_once_by_the_one_that_decides() {
    let scene = Scene::with("", "- {key: k, limits: [50/day, 4/hour, {rate: 1/minute, mode: shadow}]}");
    for numbers in [[1, 1, 0, 0, 0], [2, 2, 0, 0, 1], [3, 3, 0, 0, 2], [4, 4, 1, 0, 3], [5, 4, 1, 1, 3]] {
        scene.ask("k=v", ONE);
        assert_eq!(scene.numbers()[..5], numbers);
    }
}

#[test]
fn what_a_block_refuses_is_over() {
    let scene = Scene::with("", "- {key: k, limits: [2/s], on_exceed: {block_for: 60s}}");
    for hits in [2, 1, 5] {
        scene.take("k=v", hits);
    }
    assert_eq!(scene.numbers()[..4], [8, 2, 1, 6]);
}

#[test]
fn a_refusal_that_is_repeated_is_over_once_and_told_apart() {
    let scene = Scene::with("", "- {key: k, descriptors: [{key: l, limits: [0/hour]}]}");
    scene.ask("k=v l=w", ONE);
    scene.ask("k=v l=w", Asked { repeated: true, ..ONE });
    assert_eq!(scene.numbers(), [2, 0, 0, 2, 0, 1]);
}

/// The keys that a descriptor gives the metrics, by the flags of its rules: RL's table.
#[test]
fn labels_are_the_first_two_levels() {
    let deep = "- key: a\n  rate_limit: {unit: hour, requests_per_unit: 9}\n  descriptors:\n  \
                - key: b\n    value: x\n    rate_limit: {unit: hour, requests_per_unit: 9}\n    descriptors:\n    \
                - {key: c, rate_limit: {unit: hour, requests_per_unit: 9}}\n    \
                - {key: d, rate_limit: {unit: hour, requests_per_unit: 9}}";
    let scene = Scene::with("", deep);
    for descriptor in ["a=1", "a=2", "a=1 b=x", "a=1 b=x c=3", "a=1 b=x d=4"] {
        scene.ask(descriptor, ONE);
    }
    let total: Vec<_> = scene.counted().into_iter().filter(|line| line.starts_with("total_hits")).collect();
    let expected = [r#"total_hits{domain="d",key1="a",key2="b_x"} 3"#, r#"total_hits{domain="d",key1="a"} 2"#];
    assert_eq!(total, expected, "what is deeper is summed up");
}

#[test]
fn labels_show_what_the_flags_of_a_rule_ask_for() {
    for (rule, descriptor, labels) in [
        ("{key: k, value: v, L}", "k=v", r#"key1="k_v""#),
        ("{key: k, L}", "k=v", r#"key1="k""#),
        ("{key: k, value_to_metric: true, L}", "k=v", r#"key1="k_v""#),
        ("{key: k, value_to_metric: true, L}", "k=", r#"key1="k""#),
        ("{key: k, value_to_metric: false, L}", "k=v", r#"key1="k""#),
        ("{key: k, value: 'a*', L}", "k=ab", r#"key1="k_a*""#),
        ("{key: k, value: 'a*', value_to_metric: true, L}", "k=ab", r#"key1="k_ab""#),
        ("{key: k, value: 'a*', value_to_metric: true, share_threshold: true, L}", "k=ab", r#"key1="k_a*""#),
        ("{key: k, detailed_metric: true, L}", "k=v", r#"key1="k_v""#),
        ("{key: k, detailed_metric: true, L}", "k=", r#"key1="k_""#),
        ("{key: k, value: 'a*', detailed_metric: true, share_threshold: true, L}", "k=ab", r#"key1="k_a*""#),
        ("{key: k, descriptors: [{key: l, detailed_metric: true, L}]}", "k=v l=w", r#"key1="k_v",key2="l_w""#),
        ("{key: k, descriptors: [{key: l, value_to_metric: true, L}]}", "k=v l=w", r#"key1="k",key2="l_w""#),
        ("{key: k, value_to_metric: true, descriptors: [{key: l, L}]}", "k=v l=w", r#"key1="k_v",key2="l""#),
        // Details are those of the rule that has the limit.
        ("{key: k, detailed_metric: true, descriptors: [{key: l, L}]}", "k=v l=w", r#"key1="k",key2="l""#),
        (
            "{key: k, value: 'a*', share_threshold: true, descriptors: [{key: l, detailed_metric: true, L}]}",
            "k=ab l=",
            r#"key1="k_a*",key2="l""#,
        ),
        (
            "{key: k, descriptors: [{key: l, descriptors: [{key: m, detailed_metric: true, L}]}]}",
            "k=v l=w m=x",
            r#"key1="k_v",key2="l_w""#,
        ),
        (
            "{key: k, descriptors: [{key: l, descriptors: [{key: m, value_to_metric: true, L}]}]}",
            "k=v l=w m=x",
            r#"key1="k",key2="l""#,
        ),
        // What that service has no rules of.
        ("{key: k, name: k, value_to_metric: true, L}\n- {key: l, extends: k}", "l=w", r#"key1="l_w""#),
        ("{key: k, values: [v, w], L}", "k=v", r#"key1="k""#),
        ("{key: k, values: [v, w], value_to_metric: true, L}", "k=v", r#"key1="k_v""#),
        ("{key: k, path: '/v1/{id}', L}", "k=/v1/7", r#"key1="k_/v1/{}""#),
        ("{key: k, path: '/v1/{id}', value_to_metric: true, L}", "k=/v1/7", r#"key1="k_/v1/{}""#),
        ("{key: k, path: '/v1/{id}', count: each, value_to_metric: true, L}", "k=/v1/7", r#"key1="k_/v1/7""#),
        ("{key: k, regex: '[a-z]', L}", "k=v", r#"key1="k_[a-z]""#),
        ("{key: k, cidr: 10.0.0.0/8, L}", "k=10.1.2.3", r#"key1="k_10_0_0_0/8""#),
        ("{key: k, count: shared, detailed_metric: true, L}", "k=v", r#"key1="k""#),
    ] {
        let scene = Scene::with("", &format!("- {}", rule.replace('L', "limits: [9/hour]")));
        scene.ask(descriptor, ONE);
        assert_eq!(scene.labels(), [labels], "{rule} and {descriptor}");
    }
}

#[test]
fn dots_shift_no_labels_and_nothing_breaks_a_line() {
    let scene = Scene::with("", "- {key: host, value_to_metric: true, limits: [9/hour]}");
    for value in ["api.example.com", "10.0.0.1:80", "a\"b\\c", "a\nb", "a|b"] {
        scene.ask(&format!("host={value}"), ONE);
    }
    let labels = ["10_0_0_1_80", "a\\\"b\\\\c", "a_b", "api.example.com"].map(|value| format!("key1=\"host_{value}\""));
    assert_eq!(scene.labels(), labels);
}

#[test]
fn limits_that_come_with_requests_are_named_by_what_they_ask_for() {
    let scene = Scene::with("", "- {key: k, limits: [9/hour]}");
    let limit = Some(RequestLimit { requests_per_unit: 1, unit: 3, unit_multiplier: None });
    for descriptor in ["k=v", "k= l=w", "l=w m=x n=y"] {
        scene.ask(descriptor, Asked { limit, ..ONE });
    }
    assert_eq!(scene.labels(), [r#"key1="k",key2="l_w""#, r#"key1="k_v""#, r#"key1="l_w",key2="m_x""#]);
}

#[test]
fn a_hundred_thousand_values_make_so_many_series_and_every_hit_is_in_one() {
    const VALUES: usize = 100_000;
    let scene = Scene::with("", "- {key: k, detailed_metric: true, limits: [9/hour]}");
    for value in 0..VALUES {
        scene.ask(&format!("k={value}"), ONE);
    }
    let text = scene.text();
    let of = |name: &str| -> Vec<(String, usize)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
    };
    for name in ["total_hits", "within_limit"] {
        let series = of(&format!("ratelimit_service_rate_limit_{name}"));
        assert_eq!(series.len(), COMPAT_SERIES_MAX + 1, "{name}");
        assert_eq!(series.iter().map(|(_, value)| value).sum::<usize>(), VALUES, "{name}");
        let rest = series.iter().find(|(labels, _)| labels == r#"{domain="d",key1="k"}"#).unwrap();
        assert_eq!(rest.1, VALUES - COMPAT_SERIES_MAX, "{name}");
    }
    assert_eq!(of("tallygate_compat_series"), [(String::new(), COMPAT_SERIES_MAX)]);
    assert_eq!(of("tallygate_compat_unplaced_total"), [(String::new(), VALUES - COMPAT_SERIES_MAX)]);
}

#[test]
fn series_are_there_from_the_start_and_those_of_shadows_where_there_are_any() {
    let scene = Scene::with("", "- {key: a, limits: [1/s]}\n- {key: b, shadow_mode: true, limits: [1/s]}\n- {key: c}");
    let mut series = scene.series();
    series.sort();
    let mut expected: Vec<String> = ["near_limit", "over_limit", "total_hits", "within_limit"]
        .iter()
        .flat_map(|name| ["a", "b"].map(|key| format!("{name}{{domain=\"d\",key1=\"{key}\"}} 0")))
        .chain(["domain_not_found 0".to_owned(), r#"shadow_mode{domain="d",key1="b"} 0"#.to_owned()])
        .collect();
    expected.sort();
    assert_eq!(series, expected);
}

#[test]
fn series_go_on_over_a_reload() {
    let mut scene =
        Scene::with("", "- {key: k, value_to_metric: true, limits: [9/hour]}\n- {key: l, limits: [9/hour]}");
    let ask = |scene: &Scene| scene.ask_all(&["k=v", "l=w"], ONE);
    ask(&scene);
    scene.charges.tell(&scene.compiled.rules);
    let reordered = "- {key: l, limits: [8/hour]}\n- {key: k, value_to_metric: true, limits: [8/hour]}";
    (scene.compiled, scene.charges) = load(&scene.telemetry, DomainDefaults::default(), "", reordered);
    ask(&scene);
    let total: Vec<_> = scene.counted().into_iter().filter(|line| line.starts_with("total_hits")).collect();
    assert_eq!(total, [r#"total_hits{domain="d",key1="k_v"} 2"#, r#"total_hits{domain="d",key1="l"} 2"#]);
}

#[test]
fn descriptors_of_unknown_domains_are_counted_in_one_series_whatever_they_are_called() {
    let scene = Scene::with("", "- {key: k, limits: [9/hour]}");
    for domain in ["shpo", "x.y", "\n"] {
        scene.ask_in(domain, &["k=v", "k=w"], ONE);
    }
    assert_eq!(scene.counted(), ["domain_not_found 6"]);
}

#[test]
fn calls_and_their_errors_are_counted() {
    let telemetry = Telemetry::new(2);
    telemetry.speak_compat(0.8);
    let compat = telemetry.compat().unwrap();
    for (core, millis, failed) in [(0, 2, false), (1, 30, false), (0, 0, true)] {
        compat.called(core, Nanos::from_millis(millis), failed);
    }
    let text = telemetry.render();
    for line in [
        r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"} 3"#,
        r#"ratelimit_service_should_rate_limit_error{err_type="service_error"} 1"#,
        r#"ratelimit_service_should_rate_limit_error{err_type="redis_error"} 0"#,
        r#"ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.005"} 2"#,
        r#"ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="+Inf"} 3"#,
        r#"ratelimit_service_response_time_seconds_sum{grpc_method="ShouldRateLimit"} 0.032"#,
        r#"ratelimit_service_response_time_seconds_count{grpc_method="ShouldRateLimit"} 3"#,
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn nothing_of_it_is_there_unless_asked_for() {
    let telemetry = Telemetry::new(1);
    assert!(Charges::new(&telemetry, &Compiled::default().rules, Vec::new()).is_none());
    assert!(!telemetry.render().contains("ratelimit_service"));
}

#[test]
fn every_name_is_described_once_and_none_ends_as_prometheus_would_have_it() {
    for metric in metrics::ALL {
        assert!(metric.name.starts_with("ratelimit_service_") && !metric.name.ends_with("_total"), "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        assert_eq!(metrics::ALL.iter().filter(|other| other.name == metric.name).count(), 1, "{}", metric.name);
    }
}
