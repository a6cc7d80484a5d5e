//! `/rlconfig`: a line for each limit that is live, in the words of envoyproxy/ratelimit:
//! `shop.api_key_acme: unit=MINUTE requests_per_unit=60, shadow_mode: false, quota_mode: false`.
//!
//! What that service could not say is said as nearly as possible: windows of several units as `30*SECOND`, and behind the
//! rest whatever is not a fixed window from 1970 on, or no window at all. Lines come in the order of the rules.

use std::{borrow::Cow, fmt::Write as _};

use crate::{
    bounds::RULES_LISTED_MAX,
    limit::{Algorithm, Limit, Unit, Window},
    rules::{Action, Domain, Level, Mode, Rule, RuleLimit, Rules},
};

/// The page; at most [`RULES_LISTED_MAX`] lines, and then that there are more.
pub(super) fn text(rules: &Rules) -> String {
    let mut domains: Vec<&Domain> = rules.domains.values().collect();
    domains.sort_unstable_by_key(|domain| &domain.name);
    let mut page = Page { text: String::new(), room: RULES_LISTED_MAX, full: false };
    for domain in domains {
        page.level(&domain.name, &domain.top, domain);
    }
    if page.full {
        page.text.push_str("# and more: GET /v1/rules of the admin API lists the rules of one domain\n");
    }
    page.text
}

struct Page {
    text: String,
    /// For so many lines more.
    room: usize,
    full: bool,
}

impl Page {
    /// The limits of all rules of a level, and below it; as deep as the rules are, which is bounded.
    fn level(&mut self, above: &str, level: &Level, domain: &Domain) {
        for (key, value, index) in level.listed() {
            let Some(rule) = domain.rules.get(index.0 as usize) else { continue };
            let mut path = format!("{above}.{}", shown(key));
            if let Some(value) = value {
                path.push('_');
                path.push_str(&shown(&value));
            }
            self.rule(&path, rule);
            self.level(&path, &rule.children, domain);
            if self.full {
                return;
            }
        }
    }

    fn rule(&mut self, path: &str, rule: &Rule) {
        let quota = rule.mode == Mode::Quota;
        let shadow = rule.mode == Mode::Shadow;
        match rule.action {
            Action::Limits => rule.limits().iter().for_each(|limit| {
                self.line(path, &unit(&limit.limit), limit.limit.count, (limit.shadow, quota), &peculiar(limit));
            }),
            Action::Unlimited => self.line(path, "UNKNOWN", 0, (shadow, quota), ", unlimited: true"),
            Action::Deny => self.line(path, "UNKNOWN", 0, (shadow, quota), ", deny: true"),
            Action::Open | Action::Exempt => {}
        }
    }

    fn line(&mut self, path: &str, unit: &str, count: u64, (shadow, quota): (bool, bool), more: &str) {
        if self.room == 0 {
            self.full = true;
            return;
        }
        self.room -= 1;
        writeln!(
            self.text,
            "{path}: unit={unit} requests_per_unit={count}, shadow_mode: {shadow}, quota_mode: {quota}{more}"
        )
        .expect("a String can be written to");
    }
}

/// A window's unit, with how many of it where that is not one.
fn unit(limit: &Limit) -> Cow<'static, str> {
    match (limit.window.in_units(), &limit.window) {
        ((Unit::Unknown, _), Window::Length(length)) => format!("{}*MILLISECOND", length.0 / 1_000_000).into(),
        ((unit, 1), _) => unit.name().into(),
        ((unit, times), _) => format!("{times}*{}", unit.name()).into(),
    }
}

/// What makes it another limit than that service has.
fn peculiar(limit: &RuleLimit) -> String {
    let mut text = match limit.limit.algorithm {
        Algorithm::FixedWindow => String::new(),
        Algorithm::SlidingWindow => ", algorithm: sliding_window".to_owned(),
        Algorithm::TokenBucket { burst } => format!(", algorithm: token_bucket, burst: {burst}"),
    };
    if let Window::Calendar(calendar) = &limit.limit.window {
        text += ", calendar: ";
        text += calendar.zone.iana_name().unwrap_or("UTC");
    }
    text
}

/// Text of a rule file in one line.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{DomainDefaults, RuleFile, compile};

    fn page(text: &str) -> String {
        let file = RuleFile { name: "f".into(), path: "/f".into(), text: text.into() };
        let mut no_lists = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        super::text(&compile(&[file], DomainDefaults::default(), &mut no_lists).unwrap().rules)
    }

    #[test]
    fn every_limit_of_that_service_has_its_line() {
        let told = page(
            "
domain: shop
descriptors:
  - {key: zone, value: eu, rate_limit: {unit: minute, requests_per_unit: 60}}
  - key: zone
    rate_limit: {unit: week, requests_per_unit: 0}
    descriptors:
      - {key: api_key, shadow_mode: true, rate_limit: {unit: month, requests_per_unit: 5}}
      - {key: api_key, value: acme, quota_mode: true, rate_limit: {unit: year, requests_per_unit: 4294967295}}
      - {key: api_key, value: open}
  - {key: path, value: /v1/*, rate_limit: {unlimited: true}}
",
        );
        let expected = "\
shop.zone_eu: unit=MINUTE requests_per_unit=60, shadow_mode: false, quota_mode: false
shop.zone: unit=WEEK requests_per_unit=0, shadow_mode: false, quota_mode: false
shop.zone.api_key: unit=MONTH requests_per_unit=5, shadow_mode: true, quota_mode: false
shop.zone.api_key_acme: unit=YEAR requests_per_unit=4294967295, shadow_mode: false, quota_mode: true
shop.path_/v1/*: unit=UNKNOWN requests_per_unit=0, shadow_mode: false, quota_mode: false, unlimited: true
";
        assert_eq!(told, expected);
    }

    #[test]
    fn what_that_service_could_not_say_is_said_in_its_words() {
        let told = page(
            "
domain: b
descriptors:
  - {key: k, limits: [10/30s, 5/1500ms, {rate: 9/minute, mode: shadow}]}
  - {key: s, limits: [{rate: 3/hour, algorithm: sliding_window}]}
  - {key: t, limits: [{rate: 3/2h, algorithm: token_bucket, burst: 12}]}
  - {key: c, limits: [{rate: 1/month, align: calendar, time_zone: Europe/Berlin}]}
  - {key: ip, cidr: [10.0.0.0/8, 2001:db8::/32], limits: [1/day]}
  - {key: path, path: '/v1/orders/{id}/{*rest}', limits: [1/day]}
  - {key: name, regex: 'a|b', limits: [1/day]}
  - {key: user, values: [zoe, amy], limits: [1/day]}
  - {key: bad, value: \"x\\ny\", deny: true}
  - {key: staff, exempt: true}
---
domain: a
descriptors: []
",
        );
        let plain = "requests_per_unit=1, shadow_mode: false, quota_mode: false";
        let expected = format!(
            "\
b.k: unit=30*SECOND requests_per_unit=10, shadow_mode: false, quota_mode: false
b.k: unit=1500*MILLISECOND requests_per_unit=5, shadow_mode: false, quota_mode: false
b.k: unit=MINUTE requests_per_unit=9, shadow_mode: true, quota_mode: false
b.s: unit=HOUR requests_per_unit=3, shadow_mode: false, quota_mode: false, algorithm: sliding_window
b.t: unit=2*HOUR requests_per_unit=3, shadow_mode: false, quota_mode: false, algorithm: token_bucket, burst: 12
b.c: unit=MONTH {plain}, calendar: Europe/Berlin
b.ip_10.0.0.0/8: unit=DAY {plain}
b.ip_2001:db8::/32: unit=DAY {plain}
b.path_/v1/orders/{{}}/{{*}}: unit=DAY {plain}
b.name_a|b: unit=DAY {plain}
b.user_amy: unit=DAY {plain}
b.user_zoe: unit=DAY {plain}
b.bad_x\\ny: unit=UNKNOWN requests_per_unit=0, shadow_mode: false, quota_mode: false, deny: true
"
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn a_page_ends_somewhere_and_says_so() {
        let mut rules = String::from("domain: d\ndescriptors:\n");
        for number in 0..=RULES_LISTED_MAX {
            writeln!(rules, "  - {{key: k, value: v{number}, limits: [1/day]}}").unwrap();
        }
        let told = page(&rules);
        assert_eq!(told.lines().count(), RULES_LISTED_MAX + 1);
        assert!(told.ends_with("lists the rules of one domain\n"));
    }
}
