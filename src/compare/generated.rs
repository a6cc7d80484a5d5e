//! Requests made from rule files, ours or envoyproxy/ratelimit's: for each rule descriptors that it matches, and now and
//! then one that nothing does.
//!
//! The files are read loosely: what a service makes of them is what is to be found out.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::{
    config::unchecked,
    grpc::proto::{RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry},
};

/// Clients that an open value stands for: few, so that they meet their limits.
const CLIENTS: u64 = 4;

/// Makes requests, the same ones for the same seed.
#[derive(Debug)]
pub struct Generator {
    ways: Vec<Way>,
    /// Rules that no value could be made for: those that match by a regular expression.
    pub skipped: usize,
    random: Random,
}

/// One rule, and how it is reached.
#[derive(Clone, Debug)]
struct Way {
    domain: String,
    levels: Vec<(String, Shape)>,
}

/// What a level matches.
#[derive(Clone, Debug)]
enum Shape {
    Any,
    /// With `*` in it for anything.
    Text(String),
    Path(String),
    Network(IpNet),
    Regex,
}

impl Generator {
    /// Reads the texts of rule files, which may hold several documents.
    ///
    /// # Errors
    ///
    /// Which text is no YAML; or there is no rule in any of them for which a request could be made.
    pub fn new<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>, seed: u64) -> Result<Self, String> {
        let mut ways = Vec::new();
        for (name, text) in files {
            let documents = unchecked::documents(text).map_err(|error| format!("{name} cannot be read: {error}"))?;
            for document in &documents {
                let Some(domain) = document["domain"].as_str() else { continue };
                walk(domain, &[], &document["descriptors"], &mut ways);
            }
        }
        let all = ways.len();
        ways.retain(|way| !way.levels.iter().any(|(_, shape)| matches!(shape, Shape::Regex)));
        if ways.is_empty() {
            return Err("no rule is there for which a request can be made".to_owned());
        }
        Ok(Self { skipped: all - ways.len(), ways, random: Random(seed) })
    }

    /// The next request.
    pub fn request(&mut self) -> RateLimitRequest {
        let first = self.ways[self.random.below(self.ways.len())].clone();
        let mut descriptors = vec![self.descriptor(&first)];
        if self.random.one_in(3) {
            let second = self.ways[self.random.below(self.ways.len())].clone();
            if second.domain == first.domain {
                descriptors.push(self.descriptor(&second));
            }
        }
        let domain = if self.random.one_in(50) { "no-such-domain".to_owned() } else { first.domain };
        let hits_addend = if self.random.one_in(10) { 2 + u32::from(self.random.one_in(2)) } else { 0 };
        RateLimitRequest { domain: domain.into_bytes(), descriptors, hits_addend }
    }

    fn descriptor(&mut self, way: &Way) -> RateLimitDescriptor {
        let levels = way.levels.iter().map(|(key, shape)| {
            let key = self.random.instead_of_stars(key);
            Entry { key: key.into_bytes(), value: self.random.value(shape).into_bytes() }
        });
        let mut entries: Vec<Entry> = levels.collect();
        if self.random.one_in(20)
            && let Some(last) = entries.last_mut()
        {
            last.value = b"no-such-value".to_vec();
        }
        RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }
    }
}

fn walk(domain: &str, above: &[(String, Shape)], rules: &Value, ways: &mut Vec<Way>) {
    for rule in rules.as_array().into_iter().flatten() {
        let Some(key) = rule["key"].as_str() else { continue };
        for shape in shapes(rule) {
            let levels: Vec<_> = above.iter().cloned().chain([(key.to_owned(), shape)]).collect();
            walk(domain, &levels, &rule["descriptors"], ways);
            ways.push(Way { domain: domain.to_owned(), levels });
        }
    }
}

/// What a rule matches: one shape for each of a list.
fn shapes(rule: &Value) -> Vec<Shape> {
    if !rule["regex"].is_null() {
        return vec![Shape::Regex];
    }
    let network = |text: String| text.parse().ok().map(Shape::Network);
    let mut shapes: Vec<Shape> = texts(&rule["cidr"]).into_iter().filter_map(network).collect();
    shapes.extend(texts(&rule["path"]).into_iter().map(Shape::Path));
    shapes.extend(texts(&rule["value"]).into_iter().chain(texts(&rule["values"])).map(Shape::Text));
    if shapes.is_empty() {
        shapes.push(Shape::Any);
    }
    shapes
}

/// One text or a list of them; a number stands for its text.
fn texts(value: &Value) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// Numbers that follow from a seed (`SplitMix64`, Steele, Lea and Flood 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % (count.max(1) as u64)).unwrap_or_default()
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn client(&mut self) -> String {
        format!("client-{}", self.next() % CLIENTS)
    }

    fn instead_of_stars(&mut self, text: &str) -> String {
        if text.contains('*') { text.replace('*', &self.client()) } else { text.to_owned() }
    }

    fn value(&mut self, shape: &Shape) -> String {
        match shape {
            Shape::Any | Shape::Regex => self.client(),
            Shape::Text(text) => self.instead_of_stars(text),
            Shape::Path(template) => {
                let segments = template.split('/').map(|segment| {
                    if segment.starts_with('{') || segment.contains('*') { self.client() } else { segment.to_owned() }
                });
                segments.collect::<Vec<_>>().join("/")
            }
            Shape::Network(network) => self.address(network).to_string(),
        }
    }

    /// One of the first addresses of a network.
    fn address(&mut self, network: &IpNet) -> IpAddr {
        let free = u32::from(network.max_prefix_len() - network.prefix_len()).min(8);
        let nth = self.next() & ((1 << free) - 1);
        match network.network() {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) | u32::try_from(nth).unwrap_or_default()).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) | u128::from(nth)).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::compare::recorded;

    const RULES: &str = "domain: shop
descriptors:
- key: api_key
  descriptors:
  - {key: path, path: '/v1/orders/{id}', limits: [5/minute]}
- {key: remote_address, cidr: [10.1.0.0/16, 'fd00::/64'], limits: [5/minute]}
- {key: tier, value: [gold, silver], limits: [5/minute]}
- {key: agent, regex: '^curl', limits: [5/minute]}
---
domain: classic
descriptors:
- key: plan
  value: gold*
  rate_limit: {unit: minute, requests_per_unit: 5}
";

    #[test]
    fn every_rule_is_asked_for_and_now_and_then_none() {
        let mut generator = Generator::new([("f", RULES)], 7).unwrap();
        assert_eq!(generator.skipped, 1);
        let mut seen = BTreeSet::new();
        for _ in 0..2_000 {
            let request = generator.request();
            let domain = String::from_utf8(request.domain).unwrap();
            for descriptor in &request.descriptors {
                let entries = descriptor.entries.iter().map(|entry| {
                    [&entry.key, &entry.value].map(|text| String::from_utf8(text.clone()).unwrap()).join("=")
                });
                seen.insert(format!("{domain} {}", entries.collect::<Vec<_>>().join(",")));
            }
        }
        for wanted in [
            "shop api_key=client-0",
            "shop api_key=client-3,path=/v1/orders/client-1",
            "shop api_key=client-2,path=no-such-value",
            "shop tier=silver",
            "classic plan=goldclient-2",
            "no-such-domain tier=gold",
        ] {
            assert!(seen.contains(wanted), "{wanted}: {seen:?}");
        }
        assert!(seen.iter().any(|text| text.starts_with("shop remote_address=10.1.0.")), "{seen:?}");
        assert!(seen.iter().any(|text| text.starts_with("shop remote_address=fd00::")), "{seen:?}");
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let lines = |seed| {
            let mut generator = Generator::new([("f", RULES)], seed).unwrap();
            (0..50).map(|_| recorded::write(&generator.request())).collect::<Vec<_>>()
        };
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
    }

    #[test]
    fn files_without_rules_are_told() {
        for (text, error) in [
            ("domain: d", "no rule is there for which a request can be made"),
            ("domain: d\ndescriptors: [{key: k, regex: x}]", "no rule is there for which a request can be made"),
            ("a: [", "f cannot be read"),
        ] {
            let told = Generator::new([("f", text)], 1).unwrap_err();
            assert!(told.starts_with(error), "{told}");
        }
    }
}
