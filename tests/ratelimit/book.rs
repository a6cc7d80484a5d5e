//! envoyproxy/ratelimit by the book: what it answers, written down from what is known of it and from nothing of ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tallygate::grpc::proto::{
    HeaderValue, RateLimitDescriptor, RateLimitRequest, RateLimitResponse, protobuf,
    rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit as LimitUnit},
};

/// A rule of its files.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub key: &'static str,
    /// None or empty: any value.
    pub value: Option<&'static str>,
    pub limit: Option<Limit>,
    pub shadow: bool,
    pub quota: bool,
    /// All values that its wildcard matches count together.
    pub share: bool,
    pub children: Vec<Self>,
}

#[derive(Clone, Debug)]
pub struct Limit {
    pub count: u32,
    pub unlimited: bool,
    pub name: Option<&'static str>,
    pub replaces: Vec<&'static str>,
}

/// All limits of a case have one: its counters do not tell units apart, which ours do.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub name: &'static str,
    pub secs: u64,
    /// Of a limit that comes with a request, and of one that is told.
    pub number: i32,
}

pub const UNITS: [Unit; 7] = [
    Unit { name: "second", secs: 1, number: 1 },
    Unit { name: "minute", secs: 60, number: 2 },
    Unit { name: "hour", secs: 3_600, number: 3 },
    Unit { name: "day", secs: 86_400, number: 4 },
    Unit { name: "month", secs: 30 * 86_400, number: 5 },
    Unit { name: "year", secs: 365 * 86_400, number: 6 },
    Unit { name: "week", secs: 7 * 86_400, number: 7 },
];

/// The switches of its environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modes {
    pub shadow: bool,
    pub quota: bool,
}

/// The service: its rules, and what it has counted.
#[derive(Debug)]
pub struct Ratelimit {
    rules: Vec<Rule>,
    unit: Unit,
    modes: Modes,
    counts: BTreeMap<(String, u64), u64>,
}

/// The limit that was found for a descriptor.
struct Found {
    limit: Limit,
    shadow: bool,
    quota: bool,
    counter: String,
}

impl Rule {
    pub fn file(&self, unit: Unit) -> Value {
        let mut rule = json!({"key": self.key});
        let mut set = |key: &str, value: Value| rule[key] = value;
        if let Some(value) = self.value {
            set("value", json!(value));
        }
        for (key, on) in [("shadow_mode", self.shadow), ("quota_mode", self.quota), ("share_threshold", self.share)] {
            if on {
                set(key, json!(true));
            }
        }
        if let Some(limit) = &self.limit {
            let replaces: Vec<Value> = limit.replaces.iter().map(|name| json!({"name": name})).collect();
            let mut file = if limit.unlimited {
                json!({"unlimited": true})
            } else {
                json!({"unit": unit.name, "requests_per_unit": limit.count})
            };
            file["name"] = json!(limit.name.unwrap_or_default());
            file["replaces"] = json!(replaces);
            set("rate_limit", file);
        }
        if !self.children.is_empty() {
            set("descriptors", self.children.iter().map(|child| child.file(unit)).collect());
        }
        rule
    }

    fn matches_by_wildcard(&self, value: &str) -> bool {
        self.value.is_some_and(|pattern| pattern.contains('*') && matches(pattern, value))
    }
}

impl Ratelimit {
    pub fn new(rules: &[Rule], unit: Unit, modes: Modes) -> Self {
        Self { rules: rules.to_vec(), unit, modes, counts: BTreeMap::new() }
    }

    /// What it answers at `now`, in seconds, with headers.
    pub fn answer(&mut self, request: &RateLimitRequest, now: u64) -> RateLimitResponse {
        let found: Vec<Option<Found>> = request.descriptors.iter().map(|descriptor| self.find(descriptor)).collect();
        let replaced: BTreeSet<&str> = found.iter().flatten().flat_map(|found| found.limit.replaces.clone()).collect();
        let mut statuses = Vec::new();
        let (mut over, mut quotas, mut quotas_over) = (false, 0, 0);
        let mut chosen: Option<(u32, u32)> = None;
        let mut chosen_is_over = false;
        for (descriptor, found) in request.descriptors.iter().zip(&found) {
            let unlimited = found.as_ref().is_some_and(|found| found.limit.unlimited);
            let kept = found.as_ref().filter(|found| !found.limit.name.is_some_and(|name| replaced.contains(name)));
            let quota = self.modes.quota || kept.is_some_and(|found| found.quota);
            if unlimited {
                statuses.push(DescriptorStatus {
                    code: Code::Ok.into(),
                    limit_remaining: u32::MAX,
                    ..DescriptorStatus::default()
                });
                continue;
            }
            quotas += u32::from(quota);
            let Some(found) = kept else {
                statuses.push(DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() });
                continue;
            };
            let hits = descriptor.hits_addend.unwrap_or_else(|| u64::from(request.hits_addend.max(1)));
            let start = now - now % self.unit.secs;
            let count = self.counts.entry((found.counter.clone(), start)).or_default();
            *count += hits;
            let limit = found.limit.count;
            let exceeded = *count > u64::from(limit);
            let remaining = u64::from(limit).saturating_sub(*count);
            let remaining = u32::try_from(remaining).expect("no more than the limit");
            let refused = exceeded && !found.shadow;
            statuses.push(self.status(found, refused, remaining, start + self.unit.secs - now));
            quotas_over += u32::from(quota && refused);
            over |= refused && !quota;
            if refused && !quota {
                (chosen, chosen_is_over) = (Some((limit, remaining)), true);
            } else if !chosen_is_over && chosen.is_none_or(|(_, least)| remaining < least) {
                chosen = Some((limit, remaining));
            }
        }
        let refused = (over || (quotas > 0 && quotas == quotas_over)) && !self.modes.shadow;
        let reset = self.unit.secs - now % self.unit.secs;
        let headers = chosen.map(|(limit, remaining)| {
            let header = |key: &str, value: u64| HeaderValue {
                key: key.to_owned(),
                value: value.to_string(),
                ..HeaderValue::default()
            };
            vec![
                header("RateLimit-Limit", limit.into()),
                header("RateLimit-Remaining", remaining.into()),
                header("RateLimit-Reset", reset),
            ]
        });
        RateLimitResponse {
            overall_code: if refused { Code::OverLimit } else { Code::Ok }.into(),
            statuses,
            response_headers_to_add: headers.unwrap_or_default(),
            ..RateLimitResponse::default()
        }
    }

    fn status(&self, found: &Found, refused: bool, remaining: u32, reset: u64) -> DescriptorStatus {
        let unit = LimitUnit::try_from(self.unit.number).expect("one of Envoy's");
        DescriptorStatus {
            code: if refused { Code::OverLimit } else { Code::Ok }.into(),
            current_limit: Some(RateLimit {
                name: found.limit.name.unwrap_or_default().to_owned(),
                requests_per_unit: found.limit.count,
                unit: unit.into(),
                ..RateLimit::default()
            }),
            limit_remaining: remaining,
            duration_until_reset: Some(protobuf::Duration { seconds: i64::try_from(reset).expect("short"), nanos: 0 }),
            ..DescriptorStatus::default()
        }
    }

    fn find(&self, descriptor: &RateLimitDescriptor) -> Option<Found> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let entries: Vec<(String, String)> =
            descriptor.entries.iter().map(|entry| (text(&entry.key), text(&entry.value))).collect();
        let raw = |entries: &[(String, String)]| {
            entries.iter().flat_map(|(key, value)| [key, "_", value, "_"]).collect::<String>()
        };
        if let Some(limit) = &descriptor.limit {
            let limit = Limit { count: limit.requests_per_unit, unlimited: false, name: None, replaces: Vec::new() };
            return Some(Found { limit, shadow: false, quota: false, counter: raw(&entries) });
        }
        let (mut level, mut counter) = (&self.rules, String::new());
        for (place, (key, value)) in entries.iter().enumerate() {
            let same = |rule: &&Rule| rule.key == key;
            let exact = level.iter().filter(same).find(|rule| {
                let own = rule.value.unwrap_or_default();
                !own.is_empty() && own == value
            });
            let wildcard = || level.iter().filter(same).find(|rule| rule.matches_by_wildcard(value));
            let any = || level.iter().filter(same).find(|rule| rule.value.unwrap_or_default().is_empty());
            let rule = exact.or_else(wildcard).or_else(any)?;
            let shown = if rule.share { rule.value.unwrap_or_default() } else { value };
            counter.extend([key, "_", shown, "_"]);
            if place + 1 == entries.len() {
                let limit = rule.limit.clone()?;
                return Some(Found { limit, shadow: rule.shadow, quota: rule.quota, counter });
            }
            level = &rule.children;
        }
        None
    }
}

/// `*` is any text; nothing else is special.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((fixed, rest)) => text
            .strip_prefix(fixed)
            .is_some_and(|text| (0..=text.len()).any(|cut| text.is_char_boundary(cut) && matches(rest, &text[cut..]))),
    }
}
