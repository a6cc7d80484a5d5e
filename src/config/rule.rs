//! One rule: its keys, checked one by one and against each other. What it takes over from other rules comes later.

use std::sync::Arc;

use super::{
    extends::Unread,
    fields::{Fields, brief},
    limits::{self, Limits},
    matching::{self, Kind, Lists, Matching},
    metadata,
    on_exceed::{self, OnExceed},
    report::{Report, Spot},
    response::{Look, Looks},
    shape::{Form, Key, Shape, key},
    yaml::Node,
};
use crate::{
    bounds::{LEVELS_MAX, RULES_MAX},
    rules::{Mode, OnStoreError, Value},
};

pub(super) const RULE: Shape = Shape {
    id: "rule",
    name: "a rule",
    keys: &[
        key("key", Form::Text, "the key of a descriptor's entry"),
        key("value", Form::Text, "it matches this value; each `*` stands for any text"),
        key("values", Form::TEXTS, "it matches each of these values"),
        key("values_file", Form::Text, "the same from a file beside this one, a line each"),
        key("cidr", Form::TEXTS, "it matches addresses in these networks"),
        key("cidr_file", Form::Text, "the same from a file beside this one, a line each; `#` begins a comment"),
        key("path", Form::Text, "it matches paths: `{name}` is one segment, a last `{*rest}` whatever follows"),
        key("regex", Form::Text, "it matches values of which all is this regular expression"),
        LIMITS,
        key("rate_limit", Form::Map("rate_limit"), "one limit in the form of envoyproxy/ratelimit"),
        key("descriptors", Form::List(&Form::Map("rule")), "the rules of the next level"),
        key("name", Form::Text, "what operators see; unique in the domain"),
        key(
            "extends",
            Form::Text,
            "the name of a rule: its children and every key that is not set here are taken over",
        ),
        key("exempt", Form::Boolean, "the whole request is let through and nothing is counted"),
        key("deny", Form::Boolean, "the request is refused, without a counter"),
        key("count", Form::Words(&["each", "shared"]), "whether each value has a counter, or all of them one"),
        key(
            "share_threshold",
            Form::Boolean,
            "envoyproxy/ratelimit's name for `count: shared`, beside a `value` with `*`",
        ),
        key("ipv6_prefix", Form::Number(0, IPV6_BITS), "how many bits of an IPv6 address name its counter"),
        key(
            "mode",
            Form::Words(&["enforce", "shadow", "quota"]),
            "`shadow`: counts and refuses nobody; `quota`: of all quota rules one with room is enough",
        ),
        key("shadow_mode", Form::Boolean, "envoyproxy/ratelimit's name for `mode: shadow`"),
        key("quota_mode", Form::Boolean, "envoyproxy/ratelimit's name for `mode: quota`"),
        key("overdraw", Form::Boolean, "hits are charged in full, and refused only if nothing was left before"),
        key("on_exceed", Form::Map("on_exceed"), "the block that a refusal starts"),
        key(
            "on_store_error",
            Form::Words(&["local", "allow", "deny"]),
            "what becomes of the limits while the store is away",
        ),
        key("response", Form::Map("response"), "how answers look"),
        key("metadata", Form::AnyMap, "handed on to access logs and other filters as it is"),
        key("detailed_metric", Form::Boolean, "the labels of `compat_metrics` show the values of all levels"),
        key("value_to_metric", Form::Boolean, "the labels of `compat_metrics` show the value of this level"),
    ],
    needs: &[&["key"]],
    exclusive: &[
        &matching::KEYS,
        &["limits", "rate_limit"],
        &["mode", "shadow_mode"],
        &["mode", "quota_mode"],
        &["count", "share_threshold"],
    ],
    unavailable: &[],
};

/// Overrides have the same.
pub(super) const LIMITS: Key = key(
    "limits",
    Form::List(&Form::Either(&[Form::Rate, Form::Map("limit")])),
    "the windows, decided together; `COUNT/WINDOW` each, or a map",
);

/// The bits of an IPv6 address.
const IPV6_BITS: u64 = 128;

/// One rule, checked, as its author wrote it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub spot: Spot,
    pub key: Box<str>,
    pub matching: Matching,
    pub name: Option<(Spot, Box<str>)>,
    pub extends: Option<(Spot, Box<str>)>,
    pub settings: Settings,
    pub children: Vec<Child>,
    /// It says nothing but what it matches and its children.
    pub bare: bool,
}

/// What a rule says about a descriptor; each key can be taken over from another rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// `limits`, `rate_limit`, `exempt` and `deny` exclude each other, so they are taken over as one.
    pub action: Option<Act>,
    pub mode: Option<Mode>,
    pub overdraw: Option<bool>,
    pub on_exceed: Option<OnExceed>,
    pub on_store_error: Option<OnStoreError>,
    pub count: Option<Count>,
    pub ipv6_prefix: Option<u8>,
    pub look: Look,
    pub metadata: Option<Arc<Value>>,
    pub detailed_metric: Option<bool>,
    pub value_to_metric: Option<bool>,
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Limits(Arc<Limits>),
    Exempt,
    Deny,
    /// `exempt: false` or `deny: false`, where the rule that is extended says otherwise.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Each,
    Shared,
}

/// The place of a [`Draft`] among all of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DraftId(pub usize);

/// A rule at a level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub draft: DraftId,
    /// Through `extends`: it yields to what its new parent says itself.
    pub taken_over: bool,
}

/// What rules are read with.
pub(super) struct Reading<'r> {
    pub drafts: &'r mut Vec<Draft>,
    pub looks: &'r mut Looks,
    pub lists: Lists<'r>,
    pub unread: &'r mut Unread,
    /// Rules of all files so far, values of lists counted each.
    pub count: &'r mut usize,
}

/// Reads `descriptors` of a domain or a rule, `depth` levels down.
pub(super) fn rules(of: &Fields<'_, '_>, depth: usize, reading: &mut Reading<'_>, report: &mut Report) -> Vec<Child> {
    let nodes = of.list("descriptors", report);
    if depth >= LEVELS_MAX && !nodes.is_empty() {
        report.error(of.spot, format!("rules stand more than {LEVELS_MAX} levels deep"));
        return Vec::new();
    }
    let mut children = Vec::with_capacity(nodes.len());
    // To grow step by step would copy all of them again and again, into fresh memory each time.
    reading.drafts.reserve(nodes.len().min(RULES_MAX));
    for node in nodes {
        if report.is_full() || *reading.count > RULES_MAX {
            break;
        }
        if let Some(draft) = rule(node, depth, reading, report) {
            reading.drafts.push(draft);
            children.push(Child { draft: DraftId(reading.drafts.len() - 1), taken_over: false });
        }
    }
    children
}

fn rule(node: &Node<'_>, depth: usize, reading: &mut Reading<'_>, report: &mut Report) -> Option<Draft> {
    let fields = Fields::of(node, &RULE, report)?;
    let key = key_of(&fields, report);
    let matching = matching::matching(&fields, &mut reading.lists, report);
    *reading.count += matching.as_ref().map_or(1, |matching| matching.matchers.len());
    if *reading.count > RULES_MAX {
        report.error(fields.spot, format!("there are more than {RULES_MAX} rules, each value of a list counted"));
        return None;
    }
    let name = limits::name(&fields, report).and_then(|name| Some((fields.key_spot("name")?, name.into())));
    let extends = fields.text("extends", report).map(|(spot, name)| (spot, name.into()));
    let settings = Settings {
        action: action(&fields, report),
        mode: mode(&fields, report),
        overdraw: fields.boolean("overdraw", report),
        on_exceed: on_exceed::on_exceed(&fields, report),
        on_store_error: on_store_error(&fields, report),
        count: matching.as_ref().and_then(|matching| count(&fields, matching.kind, report)),
        ipv6_prefix: ipv6_prefix(&fields, key, matching.as_ref(), report),
        look: reading.looks.read(&fields, report),
        metadata: fields.node("metadata").and_then(|node| metadata::value(node, report)).map(Arc::new),
        detailed_metric: fields.boolean("detailed_metric", report),
        value_to_metric: fields.boolean("value_to_metric", report),
    };
    unheeded(&fields, &settings, report);
    if extends.is_none() && !matches!(settings.action, Some(Act::Limits(_))) {
        needs_limits(&fields, &settings, report);
    }
    let bare = RULE.names().all(|key| is_place(key) || fields.node(key).is_none());
    // Children are read even where the rule itself is wrong: their errors are wanted, too.
    let children = rules(&fields, depth + 1, reading, report);
    let (Some(key), Some(matching)) = (key, matching) else {
        reading.unread.names.extend(name.map(|(_, name)| name));
        return None;
    };
    let key = key.into();
    Some(Draft { spot: fields.spot, key, matching, name, extends, settings, children, bare })
}

/// Whether a key says where a rule stands, not what it does.
fn is_place(key: &str) -> bool {
    matches!(key, "key" | "descriptors") || matching::KEYS.contains(&key)
}

fn key_of<'n>(fields: &Fields<'n, '_>, report: &mut Report) -> Option<&'n str> {
    let Some((spot, key)) = fields.text("key", report) else {
        if fields.node("key").is_none() {
            report.error(fields.spot, "the rule has no `key`");
        }
        return None;
    };
    if key.is_empty() {
        report.error(spot, "`key` is empty");
        return None;
    }
    if key.contains('*') {
        let help = "wildcards stand in `value`".to_owned();
        report.error_help(spot, format!("wildcards in keys are not supported yet: `{}`", brief(key)), help);
        return None;
    }
    Some(key)
}

fn action(fields: &Fields<'_, '_>, report: &mut Report) -> Option<Act> {
    let exempt = fields.boolean("exempt", report);
    let deny = fields.boolean("deny", report);
    let said = [
        ("limits", fields.node("limits").is_some()),
        ("rate_limit", fields.node("rate_limit").is_some()),
        ("exempt", exempt == Some(true)),
        ("deny", deny == Some(true)),
    ];
    let mut said = said.into_iter().filter(|(_, said)| *said).map(|(key, _)| key);
    let (first, second) = (said.next(), said.next());
    if let (Some(first), Some(second)) = (first, second) {
        let spot = fields.key_spot(second).unwrap_or(fields.spot);
        report.error(spot, format!("`{first}` and `{second}` exclude each other"));
    }
    match first {
        Some("limits") => Some(Act::Limits(Arc::new(limits::limits(fields, report)))),
        Some("rate_limit") => {
            let limits = fields.node("rate_limit").and_then(|node| limits::rate_limit(node, report));
            Some(Act::Limits(Arc::new(limits.unwrap_or_default())))
        }
        Some("exempt") => Some(Act::Exempt),
        Some(_) => Some(Act::Deny),
        None => exempt.or(deny).map(|_| Act::Open),
    }
}

/// `mode`, or the two names that envoyproxy/ratelimit has for it.
fn mode(fields: &Fields<'_, '_>, report: &mut Report) -> Option<Mode> {
    let words = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow), ("quota", Mode::Quota)];
    let mode = fields.word("mode", &words, report);
    let shadow = fields.boolean("shadow_mode", report);
    let quota = fields.boolean("quota_mode", report);
    let conflict = |report: &mut Report, first: &str, second: &str| {
        let spot = fields.key_spot(second).unwrap_or(fields.spot);
        report.error(spot, format!("`{first}` and `{second}` exclude each other"));
    };
    match (fields.node("mode").is_some(), shadow, quota) {
        (true, Some(_), _) => conflict(report, "mode", "shadow_mode"),
        (true, _, Some(_)) => conflict(report, "mode", "quota_mode"),
        // There the quota is asked for no more than any limit in shadow.
        (_, Some(true), Some(true)) => {
            let spot = fields.key_spot("quota_mode").unwrap_or(fields.spot);
            let help = "delete `quota_mode`: what is in shadow refuses nobody".to_owned();
            report.slip(spot, "`shadow_mode` and `quota_mode` exclude each other", help);
        }
        _ => {}
    }
    match (mode, shadow, quota) {
        (Some(mode), ..) => Some(mode),
        (None, Some(true), _) => Some(Mode::Shadow),
        (None, _, Some(true)) => Some(Mode::Quota),
        (None, None, None) => None,
        (None, ..) => Some(Mode::Enforce),
    }
}

/// A mode that the rule could not heed: someone who tries out a `deny` must not find that it refuses.
fn unheeded(fields: &Fields<'_, '_>, settings: &Settings, report: &mut Report) {
    let Some(mode) = settings.mode.filter(|mode| *mode != Mode::Enforce) else { return };
    let written = ["mode", "shadow_mode", "quota_mode"].into_iter().find_map(|key| fields.key_spot(key));
    let spot = written.unwrap_or(fields.spot);
    match (&settings.action, mode) {
        (Some(Act::Deny), _) => {
            let help = "to try it out: `limits: [0/minute]` with `mode: shadow`".to_owned();
            report.error_help(spot, "`deny` refuses in every mode", help);
        }
        (Some(Act::Exempt), _) => report.error(spot, "`exempt` lets through in every mode"),
        (_, Mode::Quota) if settings.overdraw == Some(true) => {
            report.error(spot, "`overdraw` and the quota mode exclude each other");
        }
        _ => {}
    }
}

/// What means nothing to a rule without limits, where `extends` cannot bring any.
fn needs_limits(fields: &Fields<'_, '_>, settings: &Settings, report: &mut Report) {
    if let Some(on_exceed) = &settings.on_exceed {
        report.error(on_exceed.spot, "`on_exceed` needs `limits`: nothing of this rule can be exceeded");
    }
    if let Some(spot) = fields.key_spot("on_store_error") {
        report.error(spot, "`on_store_error` needs `limits`: this rule counts nothing");
    }
}

fn on_store_error(fields: &Fields<'_, '_>, report: &mut Report) -> Option<OnStoreError> {
    let words = [("local", OnStoreError::Local), ("allow", OnStoreError::Allow), ("deny", OnStoreError::Deny)];
    fields.word("on_store_error", &words, report)
}

/// `count`, or envoyproxy/ratelimit's name for `shared`.
fn count(fields: &Fields<'_, '_>, kind: Kind, report: &mut Report) -> Option<Count> {
    let count = fields.word("count", &[("each", Count::Each), ("shared", Count::Shared)], report);
    let threshold = fields.boolean("share_threshold", report);
    if let (Some(spot), Some(shared)) = (fields.key_spot("share_threshold"), threshold) {
        if fields.node("count").is_some() {
            report.error(spot, "`count` and `share_threshold` exclude each other");
        } else if shared && kind != Kind::Wildcard {
            let help = "`count: shared` does the same for every way of matching".to_owned();
            report.error_help(spot, "`share_threshold` needs a `value` with `*`", help);
        }
    }
    count.or(threshold.map(|shared| if shared { Count::Shared } else { Count::Each }))
}

fn ipv6_prefix(
    fields: &Fields<'_, '_>,
    key: Option<&str>,
    matching: Option<&Matching>,
    report: &mut Report,
) -> Option<u8> {
    let prefix = fields.number("ipv6_prefix", 0..=IPV6_BITS, report)?;
    let addresses = key == Some(ADDRESS_KEY) || matching.is_some_and(|matching| matching.kind == Kind::Networks);
    if let (false, Some(spot)) = (addresses, fields.key_spot("ipv6_prefix")) {
        let message = format!("`ipv6_prefix` is for addresses: the key `{ADDRESS_KEY}`, or a `cidr`");
        report.error(spot, message);
    }
    u8::try_from(prefix).ok()
}

/// The key under which Envoy sends the client's address: its values are read as addresses.
pub(super) const ADDRESS_KEY: &str = "remote_address";
