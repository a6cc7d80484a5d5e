//! One document of a file: a domain, or a part of one. Several parts add up.

use hashbrown::HashMap;

use super::{
    fields::{Fields, brief},
    report::{Report, Spot},
    response::Look,
    rule::{self, Child, Reading},
    shape::{Form, Shape, key},
    usage::{self, UsageDraft},
    yaml::Node,
};
use crate::rules::{RequestLimits, Slots};

pub(super) const DOCUMENT: Shape = Shape {
    id: "domain",
    name: "a domain",
    keys: &[
        key("domain", Form::Text, "what Envoy's rate-limit filter calls it"),
        key("descriptors", Form::List(&Form::Map("rule")), "the rules of the first level"),
        key("response", Form::Map("response"), "how answers look, where a rule says nothing else"),
        key("usage", Form::Map("usage"), "a page on which clients see how they stand"),
        key("count_denied", Form::Boolean, "refused requests are charged too, as envoyproxy/ratelimit does"),
        key(
            "request_limits",
            Form::Words(&["use", "at_most", "ignore"]),
            "limits that come with a request: they replace those of the rule, may only lower them, or are passed over",
        ),
        key(
            "slots",
            Form::Words(&["together", "spread"]),
            "whether the servers of a Redis cluster share the domain's counters out among them",
        ),
    ],
    needs: &[&["domain"]],
    exclusive: &[],
    unavailable: &[],
};

/// A domain as its files give it.
#[derive(Debug)]
pub(super) struct DomainDraft {
    pub name: Box<str>,
    pub look: Once<Look>,
    pub count_denied: Once<bool>,
    pub request_limits: Once<RequestLimits>,
    pub slots: Once<Slots>,
    pub usage: Once<UsageDraft>,
    /// Its top level.
    pub children: Vec<Child>,
}

/// A key of a domain, and where it stands: in one of its files only.
pub(super) type Once<T> = Option<(Spot, T)>;

/// All domains, in the order in which they first appear.
#[derive(Debug)]
pub(super) struct Domains {
    pub list: Vec<DomainDraft>,
    /// Where in the list, and in which file each is first named.
    places: HashMap<Box<str>, (usize, Spot)>,
    /// Several documents may add to one domain.
    merge: bool,
}

impl Domains {
    pub(super) fn new(merge: bool) -> Self {
        Self { list: Vec::new(), places: HashMap::new(), merge }
    }

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
        let words = [("together", Slots::Together), ("spread", Slots::Spread)];
        let slots = fields.key_spot("slots").zip(fields.word("slots", &words, report));
        let usage = fields.key_spot("usage").zip(usage::read(&fields, report));
        let children = rule::rules(&fields, 0, reading, report);

        let domain = self.domain(name, fields.key_spot("domain").unwrap_or(fields.spot), report);
        once("response", name, &mut domain.look, look, report);
        once("count_denied", name, &mut domain.count_denied, count_denied, report);
        once("request_limits", name, &mut domain.request_limits, request_limits, report);
        once("slots", name, &mut domain.slots, slots, report);
        once("usage", name, &mut domain.usage, usage, report);
        domain.children.extend(children);
    }

    fn domain(&mut self, name: &str, spot: Spot, report: &mut Report) -> &mut DomainDraft {
        let (place, first) = *self.places.entry(name.into()).or_insert((self.list.len(), spot));
        if place < self.list.len() && !self.merge {
            let message = format!("the domain `{}` is given twice, first at {}", brief(name), report.place(first));
            let help = "`merge_domains: true` in the settings (MERGE_DOMAIN_CONFIG=true) lets several files add to one";
            report.error_help(spot, message, help.to_owned());
        }
        if place == self.list.len() {
            let (look, count_denied, request_limits, slots, usage) = (None, None, None, None, None);
            let (name, children) = (name.into(), Vec::new());
            self.list.push(DomainDraft { name, look, count_denied, request_limits, slots, usage, children });
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
