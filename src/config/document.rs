//! One document of a file: a domain, or a part of one. Several parts add up.

use hashbrown::HashMap;

use super::{
    fields::{Fields, Shape, brief},
    report::{Report, Spot},
    response::Look,
    rule::{self, Child, Reading},
    usage::{self, UsageDraft},
    yaml::Node,
};
use crate::rules::RequestLimits;

pub(super) const DOCUMENT: Shape = Shape {
    name: "a domain",
    keys: &["domain", "descriptors", "response", "usage", "count_denied", "request_limits"],
    unavailable: &[],
};

/// A domain as its files give it.
#[derive(Debug)]
pub(super) struct DomainDraft {
    pub name: Box<str>,
    pub look: Once<Look>,
    pub count_denied: Once<bool>,
    pub request_limits: Once<RequestLimits>,
    pub usage: Once<UsageDraft>,
    /// Its top level.
    pub children: Vec<Child>,
}

/// A key of a domain, and where it stands: in one of its files only.
pub(super) type Once<T> = Option<(Spot, T)>;

/// All domains, in the order in which they first appear.
#[derive(Debug, Default)]
pub(super) struct Domains {
    pub list: Vec<DomainDraft>,
    places: HashMap<Box<str>, usize>,
}

impl Domains {
    /// Reads one document into its domain.
    pub(super) fn read(&mut self, document: &Node<'_>, reading: &mut Reading<'_>, report: &mut Report) {
        let Some(fields) = Fields::of(document, &DOCUMENT, report) else { return };
        let name = match fields.text("domain", report) {
            Some((_, name)) if !name.is_empty() => name,
            Some((spot, _)) => {
                report.error(spot, "`domain` is empty");
                ""
            }
            None if fields.node("domain").is_none() => {
                report.error_help(fields.spot, "the document has no `domain`", "for example `domain: shop`".to_owned());
                ""
            }
            None => "",
        };
        let words =
            [("use", RequestLimits::Use), ("at_most", RequestLimits::AtMost), ("ignore", RequestLimits::Ignore)];
        let look = fields.key_spot("response").map(|spot| (spot, reading.looks.read(&fields, report)));
        let count_denied = fields.key_spot("count_denied").zip(fields.boolean("count_denied", report));
        let request_limits = fields.key_spot("request_limits").zip(fields.word("request_limits", &words, report));
        let usage = fields.key_spot("usage").zip(usage::read(&fields, report));
        let children = rule::rules(&fields, 0, reading, report);

        let domain = self.domain(name);
        once("response", name, &mut domain.look, look, report);
        once("count_denied", name, &mut domain.count_denied, count_denied, report);
        once("request_limits", name, &mut domain.request_limits, request_limits, report);
        once("usage", name, &mut domain.usage, usage, report);
        domain.children.extend(children);
    }

    fn domain(&mut self, name: &str) -> &mut DomainDraft {
        let place = *self.places.entry(name.into()).or_insert(self.list.len());
        if place == self.list.len() {
            let (look, count_denied, request_limits, usage) = (None, None, None, None);
            let children = Vec::new();
            self.list.push(DomainDraft { name: name.into(), look, count_denied, request_limits, usage, children });
        }
        &mut self.list[place]
    }
}

fn once<T>(key: &str, domain: &str, there: &mut Once<T>, new: Once<T>, report: &mut Report) {
    match (&there, new) {
        (_, None) => {}
        (None, new) => *there = new,
        (Some((first, _)), Some((spot, _))) => {
            let place = report.place(*first);
            let domain = brief(domain).into_owned();
            report.error(spot, format!("`{key}` of the domain `{domain}` is given twice, first at {place}"));
        }
    }
}
