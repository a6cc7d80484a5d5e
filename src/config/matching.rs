//! What a rule matches at its level: `value`, `values`, `cidr`, `path`, `regex`, and lists in files of their own.

use std::{hash::Hasher as _, io, path::Path};

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use super::{
    fields::{Fields, brief},
    report::{Report, Spot},
};
use crate::{
    bounds::{RULE_FILE_MAX_BYTES, RULES_MAX},
    rules::{Matcher, address::canonical_network, path::Template, pattern::Pattern},
};

/// The keys of which a rule has at most one.
pub(super) const KEYS: [&str; 7] = ["value", "values", "values_file", "cidr", "cidr_file", "path", "regex"];

/// What one rule matches.
#[derive(Clone, Debug)]
pub(super) struct Matching {
    pub kind: Kind,
    /// Each with its place in the file: lists have many.
    pub matchers: Vec<(Spot, Matcher)>,
    /// Names what is matched: equal texts match the same. It is also what a counter shared by all of it is called.
    pub identity: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Value,
    Values,
    Networks,
    Path,
    Wildcard,
    Regex,
}

/// Where lists are found and how they are read.
pub(super) struct Lists<'l> {
    pub read: &'l mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    /// Where the rule file lies: lists are found beside it.
    pub beside: &'l Path,
    /// The same as errors name it.
    pub beside_name: &'l Path,
}

/// None where nothing can be made of it; what is wrong has been reported.
pub(super) fn matching(rule: &Fields<'_, '_>, lists: &mut Lists<'_>, report: &mut Report) -> Option<Matching> {
    let mut given = KEYS.into_iter().filter_map(|key| rule.key_spot(key).map(|spot| (key, spot)));
    let Some((key, spot)) = given.next() else { return Some(any(rule.spot)) };
    if let Some((second, at)) = given.next() {
        report.error(at, format!("a rule matches in one way: it has `{key}` and `{second}`"));
        return None;
    }
    match key {
        "value" => rule.text(key, report).map(|(spot, text)| value(spot, text)),
        "values" => {
            let texts = rule.texts(key, report);
            values(spot, texts.into_iter().map(|(spot, text)| (spot, text.as_bytes())), report)
        }
        "cidr" => {
            let texts = rule.texts(key, report);
            networks(spot, texts.into_iter(), report)
        }
        "path" => rule.text(key, report).and_then(|(spot, text)| path(spot, text, report)),
        "regex" => rule.text(key, report).and_then(|(spot, text)| regex(spot, text, report)),
        _ => {
            let (spot, file) = rule.text(key, report)?;
            let (number, bytes) = lists.open(spot, file, report)?;
            if key == "values_file" {
                return values(spot, lines(number, &bytes), report);
            }
            let texts = text_lines(number, &bytes, report)?;
            networks(spot, texts.into_iter(), report)
        }
    }
}

fn any(spot: Spot) -> Matching {
    Matching { kind: Kind::Any, matchers: vec![(spot, Matcher::Any)], identity: "any:".into() }
}

fn value(spot: Spot, text: &str) -> Matching {
    // envoyproxy/ratelimit reads an empty value as none at all.
    if text.is_empty() {
        return any(spot);
    }
    let (kind, identity, matcher) = match Pattern::wildcard(text) {
        Some(pattern) => (Kind::Wildcard, format!("glob:{}", pattern.text()), Matcher::Pattern(pattern)),
        None => (Kind::Value, format!("value:{text}"), Matcher::Value(text.as_bytes().into())),
    };
    Matching { kind, matchers: vec![(spot, matcher)], identity: identity.into() }
}

fn values<'v>(key: Spot, texts: impl Iterator<Item = (Spot, &'v [u8])>, report: &mut Report) -> Option<Matching> {
    let mut matchers = Vec::new();
    let mut sorted: Vec<&[u8]> = Vec::new();
    for (spot, text) in texts {
        if text.is_empty() {
            report.error_help(spot, "the value is empty", "a rule without `values` matches any value".to_owned());
        } else if text.contains(&b'*') {
            let help = "a rule with `value` for each of them".to_owned();
            report.error_help(spot, "a list of values has no wildcards", help);
        }
        matchers.push((spot, Matcher::Value(text.into())));
        sorted.push(text);
        if too_many(matchers.len(), spot, report) {
            return None;
        }
    }
    if matchers.is_empty() {
        report.error(key, "the list of values is empty: the rule matches nothing");
        return None;
    }
    sorted.sort_unstable();
    let identity = format!("values:{:016x}", stable_hash(&sorted)).into();
    Some(Matching { kind: Kind::Values, matchers, identity })
}

fn too_many(count: usize, spot: Spot, report: &mut Report) -> bool {
    if count > RULES_MAX {
        report.error(spot, format!("there are more than {RULES_MAX} rules, each value of a list counted"));
    }
    count > RULES_MAX
}

fn networks<'v>(key: Spot, texts: impl Iterator<Item = (Spot, &'v str)>, report: &mut Report) -> Option<Matching> {
    /// A counter's name is hashed with every request: longer lists are named by their hash.
    const NAMED_BYTES_MAX: usize = 128;
    let mut matchers = Vec::new();
    let mut names = Vec::new();
    let mut all_good = true;
    for (spot, text) in texts {
        let network = network(spot, text, report);
        all_good &= network.is_some();
        if let Some(network) = network {
            names.push(network.to_string());
            matchers.push((spot, Matcher::Network(network)));
        }
        if too_many(matchers.len(), spot, report) {
            return None;
        }
    }
    if matchers.is_empty() && all_good {
        report.error(key, "the list of networks is empty: the rule matches nothing");
    }
    names.sort_unstable();
    let joined = names.join(",");
    let identity = if joined.len() <= NAMED_BYTES_MAX {
        format!("cidr:{joined}")
    } else {
        let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        format!("cidrs:{:016x}", stable_hash(&names))
    };
    (all_good && !matchers.is_empty()).then(|| Matching { kind: Kind::Networks, matchers, identity: identity.into() })
}

/// `10.0.0.0/8`, or an address, which is a network of one.
fn network(spot: Spot, text: &str, report: &mut Report) -> Option<IpNet> {
    let parsed = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        let help = "for example `10.0.0.0/8` or `2001:db8::/32`".to_owned();
        report.error_help(spot, format!("`{}` is no network", brief(text)), help);
        return None;
    };
    if network.trunc() != network {
        let message = format!("`{}` has bits set beyond its prefix", brief(text));
        report.error_help(spot, message, format!("the network is `{}`", network.trunc()));
        return None;
    }
    Some(canonical_network(network))
}

fn path(spot: Spot, text: &str, report: &mut Report) -> Option<Matching> {
    match Template::parse(text) {
        Ok(template) => {
            let identity = format!("path:{}", template.canonical()).into();
            Some(Matching { kind: Kind::Path, matchers: vec![(spot, Matcher::Path(template))], identity })
        }
        Err(fault) => {
            let message = format!("the path `{}`, character {}: {}", brief(text), fault.at + 1, fault.fault);
            report.error(spot, message);
            None
        }
    }
}

fn regex(spot: Spot, text: &str, report: &mut Report) -> Option<Matching> {
    match Pattern::regex(text) {
        Ok(pattern) => {
            let identity = format!("regex:{text}").into();
            Some(Matching { kind: Kind::Regex, matchers: vec![(spot, Matcher::Pattern(pattern))], identity })
        }
        Err(fault) => {
            report.error(spot, format!("the regex `{}`: {fault}", brief(text)));
            None
        }
    }
}

impl Lists<'_> {
    /// The bytes of a list, and its number for places in it.
    fn open(&mut self, spot: Spot, file: &str, report: &mut Report) -> Option<(u32, Vec<u8>)> {
        match (self.read)(&self.beside.with_file_name(file)) {
            Ok(bytes) if bytes.len() as u64 > RULE_FILE_MAX_BYTES => {
                report.error(spot, format!("the file `{}` has more than {RULE_FILE_MAX_BYTES} bytes", brief(file)));
                None
            }
            Ok(bytes) => {
                let name = self.beside_name.with_file_name(file);
                Some((report.add_file(name.to_string_lossy().into()), bytes))
            }
            Err(fault) => {
                report.error(spot, format!("the file `{}` cannot be read: {fault}", brief(file)));
                None
            }
        }
    }
}

/// The lines of a list, empty ones left out.
fn lines(file: u32, bytes: &[u8]) -> impl Iterator<Item = (Spot, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let numbered = bytes.split(|byte| *byte == b'\n').zip(1..);
    numbered
        .map(move |(line, number)| (Spot { file, line: number, column: 1 }, line.strip_suffix(b"\r").unwrap_or(line)))
        .filter(|(_, line)| !line.is_empty())
}

/// The lines of a list of networks: published ones have comments.
fn text_lines<'b>(file: u32, bytes: &'b [u8], report: &mut Report) -> Option<Vec<(Spot, &'b str)>> {
    let mut texts = Vec::new();
    for (spot, line) in lines(file, bytes) {
        let Ok(text) = std::str::from_utf8(line) else {
            report.error(spot, "this line is not UTF-8");
            return None;
        };
        let text = text.split('#').next().unwrap_or_default().trim();
        if !text.is_empty() {
            texts.push((spot, text));
        }
    }
    Some(texts)
}

/// The same in every version and on every machine: names of rules and counters are made of it.
pub(super) fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish()
}
