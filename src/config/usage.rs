//! `usage`: the page on which clients see how they stand, and whether the rules have anything to show on it.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::{
    document::DomainDraft,
    fields::{Fields, brief},
    limits::OneLimit,
    report::{Report, Spot},
    response::fault_at,
    rule::{ADDRESS_KEY, Act, Child, Draft},
    shape::{Form, Shape, key},
    suggest::{did_you_mean, quoted},
    yaml::{Content, Node},
};
use crate::{
    bounds::{LEVELS_MAX, USAGE_DESCRIPTORS_MAX},
    render::{
        content_type::is_token,
        rehearse_page,
        template::Template,
        usage_page::{PageEntry, PageValue, TAKEN_PATHS, UsagePage, UsagePages},
    },
    rules::Matcher,
};

pub(super) const USAGE: Shape = Shape {
    id: "usage",
    name: "`usage`",
    keys: &[
        key("path", Form::Text, "the path of the page, such as `/rate-limit`"),
        key(
            "descriptors",
            Form::ListNotEmpty(&Form::ListNotEmpty(&Form::Map("entry"))),
            "whose windows: each a list of entries",
        ),
        key("template", Form::Text, "the page, in JSON, with `{{ variables }}`"),
    ],
    needs: &[&["path", "descriptors"]],
    exclusive: &[],
    unavailable: &[],
};

pub(super) const ENTRY: Shape = Shape {
    id: "entry",
    name: "an entry of `usage`",
    keys: &[
        key("key", Form::Text, "the key of the descriptor's entry"),
        key("header", Form::Text, "its value is that of this header of the request, one that Envoy overwrites"),
        key("value", Form::Text, "its value is always this one"),
    ],
    needs: &[&["key", "header"], &["key", "value"]],
    exclusive: &[&["header", "value"]],
    unavailable: &[],
};

/// A page as its author wrote it, checked as far as that goes without the rules.
#[derive(Debug)]
pub(super) struct UsageDraft {
    path: (Spot, Box<str>),
    descriptors: Vec<(Spot, Box<[PageEntry]>)>,
    template: Option<(Spot, Template)>,
}

/// Reads the `usage` of a domain.
pub(super) fn read(of: &Fields<'_, '_>, report: &mut Report) -> Option<UsageDraft> {
    let fields = Fields::of(of.node("usage")?, &USAGE, report)?;
    if fields.node("path").is_none() {
        report.error_help(fields.spot, "`usage` has no `path`", "for example `path: /rate-limit`".to_owned());
    }
    if fields.node("descriptors").is_none() {
        report.error_help(fields.spot, "`usage` has no `descriptors`", descriptors_help());
    }
    let path = fields.text("path", report).filter(|(spot, path)| check_path(*spot, path, report));
    let descriptors = read_descriptors(&fields, report);
    let template = fields.text("template", report);
    let template = template.and_then(|(spot, text)| Some((spot, read_template(spot, text, report)?)));
    let path = path.map(|(spot, path)| (spot, path.into()))?;
    Some(UsageDraft { path, descriptors, template })
}

/// The pages of all domains; their drafts are used up.
pub(super) fn pages(
    domains: &mut [DomainDraft],
    drafts: &[Draft],
    open_usage_pages: bool,
    report: &mut Report,
) -> UsagePages {
    let mut pages = UsagePages::new();
    let mut places: HashMap<Box<str>, Spot> = HashMap::new();
    for domain in domains {
        let Some((spot, usage)) = domain.usage.take() else { continue };
        let (path_spot, path) = usage.path;
        if let Some(first) = places.insert(path.clone(), path_spot) {
            let place = report.place(first);
            report.error(path_spot, format!("the path `{}` is given twice, first at {place}", brief(&path)));
        }
        if open_usage_pages {
            let message = "this page can be read from beyond this machine, by clients who name whom they like";
            let help = "set `usage_secret_file`, or let `http` listen on loopback".to_owned();
            report.warning(spot, message, help);
        }
        let windows = windows(&usage.descriptors, &domain.children, drafts, report);
        if let Some((spot, template)) = &usage.template {
            unknown_windows(*spot, template, &windows, report);
        }
        let descriptors = usage.descriptors.into_iter().map(|(_, entries)| entries).collect();
        let template = usage.template.map(|(_, template)| template);
        pages.insert(path, UsagePage { domain: domain.name.clone(), descriptors, template });
    }
    pages
}

/// Whether it can be the path of a page, as requests spell it.
fn check_path(spot: Spot, path: &str, report: &mut Report) -> bool {
    let taken = TAKEN_PATHS.contains(&path) || path.starts_with("/v1/");
    // RFC 3986, 3.3: what a path holds as it is. A page with escapes in it would have several spellings.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    if !path.starts_with('/') {
        let help = format!("`/{}`", brief(path));
        report.error_help(spot, format!("`path` of a usage page begins with `/`, not `{}`", brief(path)), help);
    } else if taken {
        report.error(spot, format!("the path `{}` is taken by the service itself", brief(path)));
    } else if !path.bytes().all(plain) {
        let help = "letters, digits and `-._~`, without a query".to_owned();
        report.error_help(spot, format!("`{}` is not the path of a page", brief(path)), help);
    } else {
        return true;
    }
    false
}

fn descriptors_help() -> String {
    "for example `- [{key: remote_address, header: x-client-ip}]`".to_owned()
}

fn read_descriptors(fields: &Fields<'_, '_>, report: &mut Report) -> Vec<(Spot, Box<[PageEntry]>)> {
    let nodes = fields.list("descriptors", report);
    if let (Some(Content::List(_)), []) = (fields.node("descriptors").map(|node| &node.content), nodes) {
        report.error_help(fields.spot, "the list of descriptors is empty", descriptors_help());
    }
    if let Some(first) = nodes.get(USAGE_DESCRIPTORS_MAX) {
        report.error(first.spot, format!("a usage page has more than {USAGE_DESCRIPTORS_MAX} descriptors"));
        return Vec::new();
    }
    nodes.iter().filter_map(|node| Some((node.spot, read_descriptor(node, report)?))).collect()
}

fn read_descriptor(node: &Node<'_>, report: &mut Report) -> Option<Box<[PageEntry]>> {
    let Content::List(entries) = &node.content else {
        let message = format!("a descriptor of `usage` is a list of entries, this is {}", node.kind());
        report.error_help(node.spot, message, descriptors_help());
        return None;
    };
    if entries.is_empty() {
        report.error_help(node.spot, "the descriptor has no entries", descriptors_help());
        return None;
    }
    if entries.len() > LEVELS_MAX {
        report.error(node.spot, format!("the descriptor has more than {LEVELS_MAX} entries, and no rule is that deep"));
        return None;
    }
    entries.iter().map(|entry| read_entry(entry, report)).collect()
}

fn read_entry(node: &Node<'_>, report: &mut Report) -> Option<PageEntry> {
    let fields = Fields::of(node, &ENTRY, report)?;
    if fields.node("key").is_none() {
        report.error(fields.spot, "the entry has no `key`");
    }
    let key = fields.text("key", report).map(|(_, key)| key);
    let header = fields.text("header", report);
    let value = fields.text("value", report);
    let value = match (header, value) {
        (Some((spot, header)), None) if !is_token(header) => {
            let message = format!("`{}` is not a header's name", brief(header));
            report.error_help(spot, message, "letters, digits and dashes".to_owned());
            return None;
        }
        (Some((_, header)), None) => PageValue::Header(header.to_ascii_lowercase().into()),
        (None, Some((_, value))) => PageValue::Fixed(value.into()),
        (Some(_), Some((spot, _))) => {
            report.error(spot, "`header` and `value` exclude each other");
            return None;
        }
        (None, None) => {
            let help = "`header`: from that header of the request; `value`: always this one".to_owned();
            report.error_help(fields.spot, "the entry has neither `header` nor `value`", help);
            return None;
        }
    };
    Some(PageEntry { key: key?.into(), value })
}

/// Compiles the template, and fills it with hostile values: the page must be JSON whatever a client sends.
fn read_template(spot: Spot, text: &str, report: &mut Report) -> Option<Template> {
    let template = match UsagePage::template(text) {
        Ok(template) => template,
        Err(fault) => {
            fault_at(spot, fault, report);
            return None;
        }
    };
    let broken = |page: Vec<u8>| serde_json::from_slice::<serde::de::IgnoredAny>(&page).err();
    if let Some(fault) = rehearse_page(&template).into_iter().find_map(broken) {
        let help = "text stands in quotes, numbers do not: `\"{{ descriptor.KEY }}\"`, `{{ window.NAME.limit }}`";
        report.error_help(spot, format!("the page is not JSON once it is filled: {fault}"), help.to_owned());
        return None;
    }
    Some(template)
}

/// The names of the windows that a page may show; a descriptor without any is warned of.
fn windows<'d>(
    descriptors: &[(Spot, Box<[PageEntry]>)],
    top: &[Child],
    drafts: &'d [Draft],
    report: &mut Report,
) -> BTreeSet<&'d str> {
    let mut all = BTreeSet::new();
    for (spot, entries) in descriptors {
        let (found, keys) = rules_for(entries, top, drafts);
        let shown: Vec<&str> = found.iter().flat_map(|draft| windows_of(draft)).collect();
        if shown.is_empty() {
            let last = entries.get(keys.depth).map_or("", |entry| &entry.key);
            let misspelt = !keys.known.contains(last);
            let help = did_you_mean(last, keys.known.iter().copied()).filter(|_| misspelt);
            report.warning(*spot, "no rule limits this descriptor: there is nothing to show of it", help);
        }
        all.extend(shown);
    }
    all
}

/// Where a walk ended: the keys that its level has.
#[derive(Default)]
struct Keys<'d> {
    depth: usize,
    known: BTreeSet<&'d str>,
}

/// The rules that a descriptor may match, as far as that can be told without its values.
fn rules_for<'d>(entries: &[PageEntry], top: &[Child], drafts: &'d [Draft]) -> (Vec<&'d Draft>, Keys<'d>) {
    let mut level: Vec<&Draft> = top.iter().map(|child| &drafts[child.draft.0]).collect();
    for (depth, entry) in entries.iter().enumerate() {
        let found: Vec<&Draft> = level.iter().copied().filter(|draft| may_match(draft, entry)).collect();
        if found.is_empty() {
            return (found, Keys { depth, known: level.iter().map(|draft| &*draft.key).collect() });
        }
        if depth + 1 == entries.len() {
            return (found, Keys::default());
        }
        level = found.iter().flat_map(|draft| &draft.children).map(|child| &drafts[child.draft.0]).collect();
    }
    (Vec::new(), Keys::default())
}

fn may_match(draft: &Draft, entry: &PageEntry) -> bool {
    let PageValue::Fixed(value) = &entry.value else { return draft.key == entry.key };
    // Only exact values are surely another; addresses have several spellings.
    let matches = |matcher: &Matcher| match matcher {
        Matcher::Value(own) => **own == *value.as_bytes() || *entry.key == *ADDRESS_KEY,
        Matcher::Pattern(pattern) => pattern.matches(value.as_bytes()),
        Matcher::Any | Matcher::Path(_) | Matcher::Network(_) => true,
    };
    draft.key == entry.key && draft.matching.matchers.iter().any(|(_, matcher)| matches(matcher))
}

/// The windows of a rule that clients may know of.
fn windows_of(draft: &Draft) -> impl Iterator<Item = &str> {
    let mode = draft.settings.mode.unwrap_or_default();
    let limits = match &draft.settings.action {
        Some(Act::Limits(limits)) if !limits.unlimited => &*limits.list,
        _ => &[],
    };
    limits.iter().filter(move |limit| !limit.is_shadow(mode)).map(OneLimit::called)
}

/// A misspelt name would show a 0 for ever.
fn unknown_windows(spot: Spot, template: &Template, known: &BTreeSet<&str>, report: &mut Report) {
    // Where no rule is known there is a warning already.
    let unknown: BTreeSet<&str> =
        template.windows().filter(|name| !known.is_empty() && !known.contains(name)).collect();
    for name in unknown {
        let names: Vec<&str> = known.iter().copied().collect();
        let help =
            did_you_mean(name, names.iter().copied()).unwrap_or_else(|| format!("its windows are {}", quoted(&names)));
        report.error_help(spot, format!("no rule of this page has a window `{}`", brief(name)), help);
    }
}
