//! One level of rules: for each key, what may match its value, cheapest first. [`candidates`] is the same for people who
//! ask why, [`listed`] for those who ask what there is.

pub mod candidates;
pub mod listed;

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::{
    Matcher, RuleIndex,
    address::{Address, canonical_network},
    path::{Path, Tree},
    pattern::Patterns,
    values::Values,
};

/// The key whose values are addresses, whether or not a rule names a network: Envoy's own name for the client's.
pub const REMOTE_ADDRESS: &[u8] = b"remote_address";

/// The rules of one level, indexed by key and then by how they match.
///
/// Nearly every rule is a leaf, and its level is empty: that is one word, not a map.
#[derive(Debug, Default)]
pub struct Level {
    keys: Option<Box<HashMap<Box<[u8]>, KeyRules>>>,
}

/// The rules of one key, in the order in which they are asked.
#[derive(Debug, Default)]
struct KeyRules {
    /// Whether values are normalised as addresses before anything is compared.
    addresses: bool,
    values: Values,
    paths: Tree<RuleIndex>,
    networks: Networks,
    patterns: Patterns<RuleIndex>,
    any: Option<RuleIndex>,
}

impl Level {
    /// Adds one matcher of a rule; a rule with a list of values adds one for each. Patterns are tried in the order in
    /// which they were added; otherwise the order does not matter.
    ///
    /// # Errors
    ///
    /// The rule that already stands at exactly this place; the level is unchanged. Spellings of one address are one
    /// place where values are addresses: for the first network of a key the error may thus be one of two values that
    /// were different places until then.
    pub fn insert(&mut self, key: &[u8], matcher: Matcher, rule: RuleIndex) -> Result<(), RuleIndex> {
        // A key that is new has room for anything, so that no failure leaves an empty one behind.
        let keys = self.keys.get_or_insert_default();
        // Nearly all rules of a level have the same key, which is copied once.
        if let Some(rules) = keys.get_mut(key) {
            return rules.insert(matcher, rule);
        }
        let rules = KeyRules { addresses: key == REMOTE_ADDRESS, ..KeyRules::default() };
        keys.entry(key.into()).insert(rules).get_mut().insert(matcher, rule)
    }

    /// The rule that this entry of a descriptor matches: the first choice, and final.
    pub fn find(&self, key: &[u8], value: &[u8]) -> Option<RuleIndex> {
        self.keys.as_ref()?.get(key)?.find(value)
    }

    /// Whether any of its rules has this key.
    pub fn has_key(&self, key: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.contains_key(key))
    }

    /// Whether it has no rules: its parent is a leaf.
    pub fn is_empty(&self) -> bool {
        self.keys.is_none()
    }
}

impl KeyRules {
    fn insert(&mut self, matcher: Matcher, rule: RuleIndex) -> Result<(), RuleIndex> {
        match matcher {
            Matcher::Any => match self.any {
                Some(standing) => return Err(standing),
                None => self.any = Some(rule),
            },
            Matcher::Value(value) => {
                let value = if self.addresses { normalised(value) } else { value };
                self.values.insert(value, rule)?;
            }
            Matcher::Path(template) => self.paths.insert(&template, rule)?,
            Matcher::Network(network) => {
                if !self.addresses {
                    self.values = with_addresses_normalised(&self.values)?;
                    self.addresses = true;
                }
                self.networks.insert(network, rule)?;
            }
            Matcher::Pattern(pattern) => self.patterns.insert(pattern, rule)?,
        }
        Ok(())
    }

    fn find(&self, value: &[u8]) -> Option<RuleIndex> {
        self.as_compared(value, |value, address| self.find_value(value, address))
    }

    /// Hands `value` on as it is compared, and the address that it is where values are addresses.
    #[inline]
    fn as_compared<T>(&self, value: &[u8], compare: impl FnOnce(&[u8], Option<Address>) -> T) -> T {
        let address = if self.addresses { Address::parse(value) } else { None };
        match address {
            Some(other) if !other.is_spelled(value) => compare(&other.text(), address),
            _ => compare(value, address),
        }
    }

    fn find_value(&self, value: &[u8], address: Option<Address>) -> Option<RuleIndex> {
        self.values
            .find(value)
            .or_else(|| self.find_path(value))
            .or_else(|| self.networks.find(address?))
            .or_else(|| self.patterns.find(value))
            .or(self.any)
    }

    fn find_path(&self, value: &[u8]) -> Option<RuleIndex> {
        if self.paths.is_empty() {
            return None;
        }
        self.paths.find(&Path::parse(value)?)
    }
}

/// An exact value as it is compared where values are addresses.
fn normalised(value: Box<[u8]>) -> Box<[u8]> {
    match Address::parse(&value) {
        Some(address) => (*address.text()).into(),
        None => value,
    }
}

/// The same values, for a key that turns out to hold addresses; else the rule of one that becomes another's equal.
fn with_addresses_normalised(values: &Values) -> Result<Values, RuleIndex> {
    let mut normal = Values::default();
    let mut at_fault = None;
    for (value, rule) in values.iter() {
        if let Err(other) = normal.insert(normalised(value.into()), rule) {
            // The latest of all that meet: the same one whatever the order of the map.
            at_fault = at_fault.max(Some(rule.max(other)));
        }
    }
    at_fault.map_or(Ok(normal), Err)
}

/// Networks, found by the longest that holds an address.
#[derive(Debug, Default)]
struct Networks {
    v4: PrefixMap<Ipv4Net, RuleIndex>,
    v6: PrefixMap<Ipv6Net, RuleIndex>,
}

impl Networks {
    fn insert(&mut self, network: IpNet, rule: RuleIndex) -> Result<(), RuleIndex> {
        let standing = match canonical_network(network) {
            IpNet::V4(network) => put(&mut self.v4, network, rule),
            IpNet::V6(network) => put(&mut self.v6, network, rule),
        };
        standing.map_or(Ok(()), Err)
    }

    fn find(&self, address: Address) -> Option<RuleIndex> {
        match address.ip() {
            IpAddr::V4(ip) => self.v4.get_lpm(&Ipv4Net::from(ip)).map(|(_, &rule)| rule),
            IpAddr::V6(ip) => self.v6.get_lpm(&Ipv6Net::from(ip)).map(|(_, &rule)| rule),
        }
    }

    /// The rules of all networks that hold an address, the longest first.
    fn holding(&self, address: Address) -> Vec<RuleIndex> {
        let mut rules: Vec<RuleIndex> = match address.ip() {
            IpAddr::V4(ip) => self.v4.cover_values(&Ipv4Net::from(ip)).copied().collect(),
            IpAddr::V6(ip) => self.v6.cover_values(&Ipv6Net::from(ip)).copied().collect(),
        };
        rules.reverse();
        rules
    }

    /// All networks as text.
    fn listed(&self) -> impl Iterator<Item = (String, RuleIndex)> {
        let v4 = self.v4.iter().map(|(network, &rule)| (network.to_string(), rule));
        v4.chain(self.v6.iter().map(|(network, &rule)| (network.to_string(), rule)))
    }

    fn iter(&self) -> impl Iterator<Item = RuleIndex> {
        self.v4.iter().map(|(_, &rule)| rule).chain(self.v6.iter().map(|(_, &rule)| rule))
    }
}

/// Adds `network` unless it is there; then what stands there.
fn put<N: prefix_trie::Prefix>(map: &mut PrefixMap<N, RuleIndex>, network: N, rule: RuleIndex) -> Option<RuleIndex> {
    let standing = map.get(&network).copied();
    if standing.is_none() {
        map.insert(network, rule);
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{path::Template, pattern::Pattern};

    fn value(text: &str) -> Matcher {
        Matcher::Value(text.as_bytes().into())
    }

    fn path(text: &str) -> Matcher {
        Matcher::Path(Template::parse(text).unwrap())
    }

    fn network(text: &str) -> Matcher {
        Matcher::Network(text.parse().unwrap())
    }

    fn wildcard(text: &str) -> Matcher {
        Matcher::Pattern(Pattern::wildcard(text).unwrap())
    }

    /// A level whose rules are numbered in their order.
    fn level(rules: &[(&str, Matcher)]) -> Level {
        let mut level = Level::default();
        for (number, (key, matcher)) in (0..).zip(rules) {
            assert_eq!(level.insert(key.as_bytes(), matcher.clone(), RuleIndex(number)), Ok(()), "rule {number}");
        }
        level
    }

    fn found(level: &Level, key: &str, value: &str) -> Option<u32> {
        level.find(key.as_bytes(), value.as_bytes()).map(|rule| rule.0)
    }

    #[test]
    fn exact_beats_path_beats_pattern_beats_key_only() {
        let level = level(&[
            ("k", Matcher::Any),
            ("k", wildcard("/v1/*")),
            ("k", wildcard("/v1*")),
            ("k", path("/v1/{id}")),
            ("k", value("/v1/a")),
            ("other", value("")),
        ]);
        for (key, value, rule) in [
            ("k", "/v1/a", Some(4)),
            ("k", "/v1/a?b", Some(3)),
            ("k", "/v1/b", Some(3)),
            ("k", "/v1/b/c", Some(1)),
            ("k", "/v1", Some(2)),
            ("k", "", Some(0)),
            ("k", "x", Some(0)),
            ("other", "", Some(5)),
            ("other", "x", None),
            ("K", "x", None),
            ("", "", None),
        ] {
            assert_eq!(found(&level, key, value), rule, "{key}={value}");
        }
    }

    #[test]
    fn the_longest_network_is_found_between_exact_values_and_patterns() {
        let level = level(&[
            ("ip", network("10.0.0.0/8")),
            ("ip", network("10.1.0.0/16")),
            ("ip", network("::ffff:10.1.1.0/120")),
            ("ip", network("2001:db8::/32")),
            ("ip", value("::FFFF:10.1.1.1")),
            ("ip", wildcard("10.*")),
            ("ip", wildcard("2001:*")),
            ("ip", Matcher::Any),
        ]);
        for (value, rule) in [
            ("10.1.1.1", 4),
            ("[::ffff:a01:101]", 4),
            ("10.1.1.2", 2),
            ("10.1.2.3", 1),
            ("10.2.0.0", 0),
            ("2001:DB8::1%eth0", 3),
            ("2001:DB9::1", 6),
            ("10.x", 5),
            ("192.168.0.1", 7),
            ("::", 7),
        ] {
            assert_eq!(found(&level, "ip", value), Some(rule), "{value}");
        }
    }

    #[test]
    fn the_remote_address_is_normalised_without_any_network() {
        let level = level(&[("remote_address", value("2001:DB8::1")), ("header", value("2001:DB8::1"))]);
        assert_eq!(found(&level, "remote_address", "[2001:db8:0::1]"), Some(0));
        assert_eq!(found(&level, "header", "2001:DB8::1"), Some(1));
        assert_eq!(found(&level, "header", "2001:db8::1"), None);
    }

    #[test]
    fn a_network_may_come_before_or_after_the_values_of_its_key() {
        let rules = [("ip", value("0::1")), ("ip", network("::/0")), ("ip", value("[::2]"))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let level = level(&order.map(|place| rules[place].clone()));
            let expect = |place: usize| order.iter().position(|&at| at == place).and_then(|at| u32::try_from(at).ok());
            assert_eq!(found(&level, "ip", "::1"), expect(0), "{order:?}");
            assert_eq!(found(&level, "ip", "::2"), expect(2), "{order:?}");
            assert_eq!(found(&level, "ip", "::3"), expect(1), "{order:?}");
        }
    }

    #[test]
    fn a_place_that_is_taken_names_who_stands_there() {
        let taken = [
            ("k", Matcher::Any, Matcher::Any),
            ("k", value("a"), value("a")),
            ("k", path("/{a}"), path("/{b}/")),
            ("k", network("10.1.2.3/8"), network("10.0.0.0/8")),
            ("k", wildcard("a*"), wildcard("a**")),
            ("remote_address", value("::1"), value("0::1")),
            ("k", network("::/0"), network("::1/0")),
        ];
        for (key, first, second) in taken {
            let mut level = level(&[(key, first), (key, value("z"))]);
            assert_eq!(level.insert(key.as_bytes(), second.clone(), RuleIndex(9)), Err(RuleIndex(0)), "{second:?}");
        }
    }

    #[test]
    fn a_network_that_makes_two_values_equal_is_refused_and_changes_nothing() {
        let mut level = level(&[("k", value("::1")), ("k", value("0::1"))]);
        assert_eq!(level.insert(b"k", network("::/0"), RuleIndex(2)), Err(RuleIndex(1)));
        assert_eq!((found(&level, "k", "::1"), found(&level, "k", "0::1")), (Some(0), Some(1)));
        assert_eq!(found(&level, "k", "::2"), None);
    }
}
