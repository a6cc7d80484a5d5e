//! The walk as a table and against a naive matcher, and limits that come with requests.

use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::rules::{
    Counted, Counting, Expose, Level, Matcher, NameId, OnStoreError, Place, Report, RuleIndex, Slots, ToldAs,
    explain::{End, Outcome},
    path::Template,
    pattern::Pattern,
};

const KEY: HashKey = HashKey::Secret([3; 16]);
const ADDRESS: Counted = Counted::Address { ipv6_prefix: 64 };

fn limit(id: u32, count: u64, secs: u64, shadow: bool) -> RuleLimit {
    let limit = Limit { count, window: Window::Length(Nanos::from_secs(secs)), algorithm: Algorithm::FixedWindow };
    let salt = window_salt(&limit, shadow);
    RuleLimit { name: format!("limit-{id}").into(), written_name: Some(NameId(id)), limit, shadow, salt }
}

fn rule(id: u32, action: Action, limits: Vec<RuleLimit>, counted: Vec<Counted>) -> Rule {
    Rule {
        id,
        first_limit: id,
        name: format!("rule-{id}").into(),
        place: Place { file: "rules.yaml".into(), line: 1 },
        action,
        mode: Mode::Enforce,
        overdraw: false,
        on_store_error: OnStoreError::default(),
        on_exceed: None,
        blocked_as: Vec::new(),
        counting: Arc::new(Counting { limits: limits.into(), counted: counted.into() }),
        replaces: Box::default(),
        expose: Expose::Always,
        report: Report::Nearest,
        response: 0,
        metadata: None,
        children: Level::default(),
        told_as: ToldAs::default(),
    }
}

fn domain() -> Domain {
    Domain {
        shadow: false,
        all_quota: false,
        name: "shop".into(),
        count_denied: false,
        request_limits: RequestLimits::Use,
        slots: Slots::default(),
        blocks: false,
        request_rule: rule(1_000, Action::Limits, vec![limit(1_000, 1, 1, false)], vec![]),
        override_limit: 2_000,
        top: Level::default(),
        rules: Vec::new(),
    }
}

/// Adds `rule` at the top, for any value of `key`.
fn with_any(mut domain: Domain, key: &str, rule: Rule) -> Domain {
    let index = RuleIndex(u32::try_from(domain.rules.len()).unwrap());
    domain.top.insert(key.as_bytes(), Matcher::Any, index).unwrap();
    domain.rules.push(rule);
    domain
}

fn entry<'a>(key: &'a str, value: &'a str) -> Entry<'a> {
    Entry { key: key.as_bytes(), value: value.as_bytes() }
}

fn asked(requests_per_unit: u32, unit: i32, unit_multiplier: Option<u32>) -> RequestLimit {
    RequestLimit { requests_per_unit, unit, unit_multiplier }
}

/// The windows that decide, as (number of the limit, count, seconds), and whether the request had a say.
type Windows = (Vec<(u32, u64, u64)>, bool);

fn windows(found: &Found<'_>) -> Option<Windows> {
    let found = found.matched.as_ref()?;
    let limits = (0..).map(|place| found.numbers.at(place)).zip(found.limits.as_slice());
    let secs = |limit: &Limit| limit.window.longest().ceil_secs();
    let windows = limits.map(|(number, own)| (number, own.limit.count, secs(&own.limit))).collect();
    Some((windows, found.limited_by_request))
}

#[test]
fn the_units_of_requests_have_these_lengths() {
    const DAY: u64 = 86_400;
    let domain = domain();
    for (unit, multiplier, secs) in [
        (1, None, Some(1)),
        (2, None, Some(60)),
        (3, Some(0), Some(3_600)),
        (4, Some(1), Some(DAY)),
        (5, None, Some(30 * DAY)),
        (6, None, Some(365 * DAY)),
        (7, Some(2), Some(14 * DAY)),
        (1, Some(90), Some(90)),
        (6, Some(10), Some(3_650 * DAY)),
        (6, Some(11), None),
        (6, Some(u32::MAX), None),
        (1, Some(u32::MAX), None),
        (0, None, None),
        (8, None, None),
        (-1, Some(3), None),
        (i32::MIN, None, None),
    ] {
        let found = domain.find(&[entry("k", "v")], Some(asked(5, unit, multiplier)), &KEY);
        assert_eq!(windows(&found), secs.map(|secs| (vec![(1_000, 5, secs)], true)), "{unit} × {multiplier:?}");
        assert_eq!(found.ignored_request_limit, secs.is_none(), "{unit} × {multiplier:?}");
    }
}

#[test]
fn a_limit_of_the_request_does_what_the_domain_lets_it() {
    use RequestLimits::{AtMost, Ignore, Use};
    let own = || vec![limit(1, 10, 60, false), limit(2, 2, 1, false)];
    let kept = (vec![(0, 10, 60), (1, 2, 1)], false);
    let five = Some(asked(5, 2, None));
    let cases: Vec<(Action, RequestLimits, Option<RequestLimit>, Windows)> = vec![
        (Action::Limits, Use, None, kept.clone()),
        (Action::Limits, Use, five, (vec![(1_000, 5, 60)], true)),
        (Action::Limits, Use, Some(asked(0, 4, None)), (vec![(1_000, 0, 86_400)], true)),
        (Action::Limits, Use, Some(asked(5, 0, None)), kept.clone()),
        (Action::Limits, AtMost, five, (vec![(0, 5, 60), (1, 2, 1)], true)),
        (Action::Limits, AtMost, Some(asked(50, 2, None)), kept.clone()),
        (Action::Limits, AtMost, Some(asked(5, 1, Some(60))), (vec![(0, 5, 60), (1, 2, 1)], true)),
        (Action::Limits, AtMost, Some(asked(50, 3, None)), (vec![(0, 10, 60), (1, 2, 1), (1_000, 50, 3_600)], true)),
        (Action::Limits, Ignore, five, kept),
        (Action::Open, Use, five, (vec![(1_000, 5, 60)], true)),
        (Action::Open, AtMost, five, (vec![(1_000, 5, 60)], true)),
        (Action::Open, Ignore, five, (vec![], false)),
        (Action::Unlimited, Use, five, (vec![(1_000, 5, 60)], true)),
        (Action::Unlimited, AtMost, five, (vec![(1_000, 5, 60)], true)),
        (Action::Exempt, Use, five, (vec![], false)),
        (Action::Exempt, AtMost, five, (vec![], false)),
        (Action::Deny, Use, five, (vec![(1_000, 5, 60)], true)),
        (Action::Deny, AtMost, five, (vec![], false)),
        (Action::Deny, Ignore, five, (vec![], false)),
    ];
    for (action, policy, asked, expected) in cases {
        let limits = if action == Action::Limits { own() } else { vec![] };
        let mut domain = with_any(domain(), "k", rule(0, action, limits, vec![Counted::Value]));
        domain.request_limits = policy;
        let found = domain.find(&[entry("k", "v")], asked, &KEY);
        assert_eq!(windows(&found), Some(expected), "{action:?} {policy:?} {asked:?}");
        assert_eq!(found.matched.unwrap().rule.id, 0);
    }
}

#[test]
fn a_request_limit_stands_beside_shadow_windows_and_within_quota_windows() {
    for (mode, shadow, expected) in
        [(Mode::Shadow, true, vec![(0, 10, 60), (1_000, 20, 60)]), (Mode::Quota, false, vec![(0, 10, 60)])]
    {
        let mut own = rule(0, Action::Limits, vec![limit(1, 10, 60, shadow)], vec![Counted::Value]);
        own.mode = mode;
        let mut domain = with_any(domain(), "k", own);
        domain.request_limits = RequestLimits::AtMost;
        let found = domain.find(&[entry("k", "v")], Some(asked(20, 2, None)), &KEY);
        assert_eq!(windows(&found), Some((expected, true)), "{mode:?}");
    }
}

#[test]
fn a_request_limit_needs_no_rule_but_an_entry() {
    let mut domain = domain();
    let five = Some(asked(5, 2, None));
    assert!(domain.find(&[], five, &KEY).matched.is_none());
    let entries = [entry("remote_address", "2001:db8::1"), entry("k", "v")];
    let found = domain.find(&entries, five, &KEY).matched.unwrap();
    assert_eq!((found.rule.id, found.limited_by_request), (1_000, true));
    assert_eq!(found.key, descriptor_key(&KEY, "shop", &entries, &[ADDRESS, Counted::Value]));
    domain.request_limits = RequestLimits::Ignore;
    assert!(domain.find(&entries, five, &KEY).matched.is_none());
}

#[test]
fn a_request_limit_meets_the_counter_of_an_equal_window() {
    let own = limit(1, 10, 60, false);
    let domain = with_any(domain(), "k", rule(0, Action::Limits, vec![own.clone()], vec![Counted::Value]));
    let entries = [entry("k", "v")];
    let [by_rule, by_request] = [None, Some(asked(5, 2, None))].map(|asked| domain.find(&entries, asked, &KEY));
    let (by_rule, by_request) = (by_rule.matched.unwrap(), by_request.matched.unwrap());
    assert_eq!(by_rule.key, by_request.key);
    let Limits::Request(made) = by_request.limits else { panic!("the request's own") };
    assert_eq!((made[0].salt, made[0].written_name, made[0].shadow), (own.salt, None, false));
}

/// One rule of the naive matcher, with what stands below it.
#[derive(Clone, Debug)]
struct Naive {
    key: &'static str,
    what: What,
    below: Vec<Naive>,
}

/// A matcher as written.
#[derive(Clone, Debug)]
enum What {
    Any,
    Value(&'static str),
    Path(&'static str),
    Network(&'static str),
    Wildcard(&'static str),
    Regex(&'static str),
}

const KEYS: [&str; 3] = ["remote_address", "k", "l"];
const VALUES: [&str; 12] = [
    "",
    "a",
    "/a",
    "/a/b",
    "/a//b?q",
    "/b/a",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "10.0.1.1",
    "2001:db8::1",
    "[2001:DB8:0::1]",
    "2001:db8:1::1",
];

impl What {
    fn matcher(&self) -> Matcher {
        match *self {
            Self::Any => Matcher::Any,
            Self::Value(text) => Matcher::Value(text.as_bytes().into()),
            Self::Path(text) => Matcher::Path(Template::parse(text).unwrap()),
            Self::Network(text) => Matcher::Network(text.parse().unwrap()),
            Self::Wildcard(text) => Matcher::Pattern(Pattern::wildcard(text).unwrap()),
            Self::Regex(text) => Matcher::Pattern(Pattern::regex(text).unwrap()),
        }
    }

    /// How early it is asked (the class, then what decides within it), if `value` matches at all.
    fn rank(&self, value: &str, addresses: bool) -> Option<(u8, Vec<u8>)> {
        let address =
            |text: &str| text.trim_matches(['[', ']']).parse().ok().map(|ip: std::net::IpAddr| ip.to_canonical());
        let normal = |text: &str| match address(text) {
            Some(ip) if addresses => ip.to_string(),
            _ => text.to_owned(),
        };
        let value = normal(value);
        match *self {
            Self::Any => Some((4, vec![])),
            Self::Value(text) => (normal(text) == value).then_some((0, vec![])),
            Self::Path(text) => path_rank(text, &value).map(|rank| (1, rank)),
            Self::Network(text) => {
                let network: IpNet = text.parse().unwrap();
                let inside = address(&value).is_some_and(|ip| network.contains(&ip));
                inside.then_some((2, vec![128 - network.prefix_len()]))
            }
            Self::Wildcard(text) => {
                let inner = text.trim_matches('*');
                let fits = match (text.starts_with('*'), text.ends_with('*')) {
                    (true, true) => value.contains(inner),
                    (true, false) => value.ends_with(inner),
                    (false, _) => value.starts_with(inner),
                };
                fits.then_some((3, vec![]))
            }
            // The only regular expressions here are alternatives of literals.
            Self::Regex(text) => text.split('|').any(|literal| literal == value).then_some((3, vec![])),
        }
    }
}

/// How `value` fits a template, segment by segment: 0 fixed, 1 a name, 2 the rest.
fn path_rank(template: &str, value: &str) -> Option<Vec<u8>> {
    let path = value.split(['?', '#']).next().filter(|path| path.starts_with('/'))?;
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let parts: Vec<&str> = template.split('/').filter(|part| !part.is_empty()).collect();
    let mut ranks = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        match segments.get(place) {
            _ if part.starts_with("{*") => return Some([ranks, vec![2]].concat()),
            Some(segment) if segment == part => ranks.push(0),
            Some(_) if part.starts_with('{') => ranks.push(1),
            _ => return None,
        }
    }
    (segments.len() == parts.len()).then_some(ranks)
}

fn arbitrary_what() -> impl Strategy<Value = What> {
    let of = prop::sample::select::<&'static str>;
    prop_oneof![
        Just(What::Any),
        of(VALUES.to_vec()).prop_map(What::Value),
        of(vec!["/a", "/{x}", "/{y}/", "/a/{x}", "/{x}/b", "/{*r}", "/a/{*r}"]).prop_map(What::Path),
        of(vec!["10.0.0.0/8", "10.0.0.0/24", "0.0.0.0/0", "2001:db8::/32", "2001:db8::/48"]).prop_map(What::Network),
        of(vec!["*", "a*", "*a", "/*", "*.1*", "2001:db8::*"]).prop_map(What::Wildcard),
        of(vec!["a|/a", "10.0.0.1|2001:db8::1", "a"]).prop_map(What::Regex),
    ]
}

fn arbitrary_rules() -> impl Strategy<Value = Vec<Naive>> {
    let rule = |below: BoxedStrategy<Vec<Naive>>| {
        (prop::sample::select(KEYS.to_vec()), arbitrary_what(), below).prop_map(|(key, what, below)| Naive {
            key,
            what,
            below,
        })
    };
    let leaf = prop::collection::vec(rule(Just(Vec::new()).boxed()), 0..4).boxed();
    let middle = prop::collection::vec(rule(leaf), 0..6).boxed();
    prop::collection::vec(rule(middle), 1..16)
}

/// Builds the level of `rules`, and drops those whose place was taken.
fn build(rules: &mut Vec<Naive>, compiled: &mut Vec<Rule>) -> Level {
    let mut level = Level::default();
    rules.retain_mut(|naive| {
        let index = u32::try_from(compiled.len()).unwrap();
        if level.insert(naive.key.as_bytes(), naive.what.matcher(), RuleIndex(index)).is_err() {
            return false;
        }
        compiled.push(rule(index, Action::Limits, vec![], vec![]));
        let children = build(&mut naive.below, compiled);
        compiled[index as usize].children = children;
        true
    });
    level
}

/// The number of the rule that a scan of all rules finds; they are numbered parents first, as [`build`] does.
fn scan(rules: &[Naive], entries: &[Entry<'_>]) -> Option<u32> {
    fn size(rules: &[Naive]) -> u32 {
        rules.iter().map(|rule| 1 + size(&rule.below)).sum()
    }
    let (first, deeper) = entries.split_first()?;
    let of_key = |rule: &Naive| rule.key.as_bytes() == first.key;
    let networks = rules.iter().any(|rule| of_key(rule) && matches!(rule.what, What::Network(_)));
    let addresses = networks || first.key == b"remote_address";
    let value = std::str::from_utf8(first.value).unwrap();
    let ranked = rules.iter().enumerate().filter(|(_, rule)| of_key(rule));
    let ranked = ranked.filter_map(|(place, rule)| Some((rule.what.rank(value, addresses)?, place)));
    let (_, place) = ranked.min()?;
    let number = size(&rules[..place]);
    match deeper {
        [] => Some(number),
        _ => scan(&rules[place].below, deeper).map(|below| number + 1 + below),
    }
}

/// An explanation comes to the same rule, and says of each level what the walk finds there.
fn explains_what_it_finds(domain: &Domain, entries: &[Entry<'_>]) -> Result<(), TestCaseError> {
    let walk = domain.explain(entries);
    prop_assert_eq!(walk.matched().map(|rule| rule.id), domain.rule_of(entries).map(|rule| rule.id));
    let (mut level, mut won) = (&domain.top, None);
    for (step, entry) in walk.steps.iter().zip(entries) {
        won = level.find(entry.key, entry.value).map(|found| &domain.rules[found.0 as usize]);
        let first = step.rules.first().filter(|first| first.outcome != Outcome::Differs);
        prop_assert_eq!(first.map(|first| (first.rule.id, first.outcome)), won.map(|won| (won.id, Outcome::Won)));
        prop_assert!(step.rules.iter().skip(1).all(|other| other.outcome != Outcome::Won));
        // Whoever matches comes before whoever does not, and is asked later than who comes before him.
        prop_assert!(step.rules.is_sorted_by_key(|rule| rule.outcome == Outcome::Differs));
        level = won.map_or(level, |won| &won.children);
    }
    prop_assert_eq!(won.is_some() && walk.steps.len() == entries.len(), walk.matched().is_some());
    if let End::Unmatched(gap) = &walk.end {
        prop_assert_eq!(gap.level, walk.steps.len());
        prop_assert!(!gap.differs.to_string().is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_walk_finds_what_a_scan_of_all_rules_finds(
        rules in arbitrary_rules(),
        descriptors in prop::collection::vec(
            prop::collection::vec((prop::sample::select(KEYS.to_vec()), prop::sample::select(VALUES.to_vec())), 0..4),
            16,
        ),
    ) {
        let mut rules = rules;
        let mut domain = domain();
        domain.top = build(&mut rules, &mut domain.rules);
        for descriptor in descriptors {
            let entries: Vec<_> = descriptor.iter().map(|(key, value)| entry(key, value)).collect();
            let found = domain.find(&entries, None, &KEY).matched.map(|found| found.rule.id);
            prop_assert_eq!(found, scan(&rules, &entries), "{:?} in {:#?}", descriptor, rules);
            explains_what_it_finds(&domain, &entries)?;
        }
    }

    #[test]
    fn no_bytes_make_a_decision_fail(
        rules in arbitrary_rules(),
        values: Vec<Vec<u8>>,
        unit: i32,
        unit_multiplier: Option<u32>,
        requests_per_unit: u32,
    ) {
        let mut rules = rules;
        let mut domain = domain();
        domain.top = build(&mut rules, &mut domain.rules);
        let entries: Vec<_> = values.iter().map(|value| Entry { key: b"k", value }).collect();
        let _ = domain.find(&entries, Some(RequestLimit { requests_per_unit, unit, unit_multiplier }), &KEY);
    }
}

#[test]
fn huge_values_are_matched_in_every_way() {
    let mut rules: Vec<Naive> = [
        What::Any,
        What::Value("a"),
        What::Path("/a/{x}"),
        What::Path("/{x}/b"),
        What::Network("::/0"),
        What::Wildcard("*a"),
        What::Regex("a|b"),
    ]
    .map(|what| Naive { key: "k", what, below: vec![] })
    .into();
    let mut domain = domain();
    domain.top = build(&mut rules, &mut domain.rules);
    for byte in 0..=u8::MAX {
        let value = vec![byte; 65_536];
        let expected = if byte == b'a' { Some(5) } else { Some(0) };
        let found = domain.find(&[Entry { key: b"k", value: &value }], None, &KEY);
        assert_eq!(found.matched.map(|found| found.rule.id), expected, "{byte}");
    }
}
