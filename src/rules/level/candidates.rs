//! Which rules of a level might have matched an entry: for people who ask why one did, and for nobody in a hurry.
//!
//! Nothing is matched here: every table of the level is asked, as the walk asks them, but all of them and not only up to
//! the first that knows an answer.

use std::collections::BTreeSet;

use super::{KeyRules, Level};
use crate::{
    bounds::EXPLAIN_RULES_MAX,
    rules::{RuleIndex, address::Address, path::Path, pattern::Pattern},
    spelling,
};

/// How a rule matches, in the order in which the rules of a key are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Value,
    Path,
    Network,
    Wildcard,
    Regex,
    Any,
}

/// A rule that has the entry's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub rule: RuleIndex,
    pub way: Way,
    /// Whether it matches the value; of those that do, the first is the choice.
    pub fits: bool,
}

/// The rules of one key, as one value sees them.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Those that fit in the order of the choice, then others: first the one whose exact value is spelled most alike.
    /// At most [`EXPLAIN_RULES_MAX`].
    pub list: Vec<Candidate>,
    /// So many more there are.
    pub more: usize,
}

impl Level {
    /// The rules of `key`; None where there is none.
    pub fn candidates(&self, key: &[u8], value: &[u8]) -> Option<Candidates> {
        let rules = self.keys.as_ref()?.get(key)?;
        Some(rules.as_compared(value, |value, address| rules.candidates(value, address)))
    }

    /// The keys that its rules have, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().flat_map(|keys| keys.keys()).map(|key| &**key)
    }
}

impl Way {
    const fn of(pattern: &Pattern) -> Self {
        if pattern.is_regex() { Self::Regex } else { Self::Wildcard }
    }
}

impl KeyRules {
    fn candidates(&self, value: &[u8], address: Option<Address>) -> Candidates {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for (way, rule) in self.fitting(value, address) {
            if seen.insert(rule) {
                list.push(Candidate { rule, way, fits: true });
            }
        }
        let nearest = self.nearest_value(value).map(|rule| (Way::Value, rule));
        let mut others = Vec::new();
        for (way, rule) in nearest.into_iter().chain(self.all()) {
            if seen.insert(rule) {
                others.push(Candidate { rule, way, fits: false });
            }
        }
        // Tables have no order of their own: what is shown shall be the same each time. The nearest stays first.
        let from = usize::from(nearest.is_some() && !others.is_empty());
        others[from..].sort_unstable_by_key(|other| (other.way, other.rule));
        list.append(&mut others);
        let more = list.len().saturating_sub(EXPLAIN_RULES_MAX);
        list.truncate(EXPLAIN_RULES_MAX);
        Candidates { list, more }
    }

    /// The rules that match, in the order of the choice; the best template and the longest network first.
    fn fitting(&self, value: &[u8], address: Option<Address>) -> Vec<(Way, RuleIndex)> {
        let path = Path::parse(value).filter(|_| !self.paths.is_empty());
        let best = path.as_ref().and_then(|path| self.paths.find(path));
        let paths = best.into_iter().chain(path.iter().flat_map(|path| self.paths.all(path)));
        let networks = address.map(|address| self.networks.holding(address)).unwrap_or_default();
        let patterns = self.patterns.iter().filter(|(pattern, _)| pattern.matches(value));
        let values = self.values.find(value).into_iter().map(|rule| (Way::Value, rule));
        values
            .chain(paths.map(|rule| (Way::Path, rule)))
            .chain(networks.into_iter().map(|rule| (Way::Network, rule)))
            .chain(patterns.map(|(pattern, rule)| (Way::of(pattern), rule)))
            .chain(self.any.map(|rule| (Way::Any, rule)))
            .collect()
    }

    /// Every rule of the key.
    fn all(&self) -> impl Iterator<Item = (Way, RuleIndex)> {
        let values = self.values.iter().map(|(_, rule)| (Way::Value, rule));
        values
            .chain(self.paths.iter().map(|rule| (Way::Path, rule)))
            .chain(self.networks.iter().map(|rule| (Way::Network, rule)))
            .chain(self.patterns.iter().map(|(pattern, rule)| (Way::of(pattern), rule)))
            .chain(self.any.map(|rule| (Way::Any, rule)))
    }

    /// The rule of the exact value that is spelled most like this one.
    fn nearest_value(&self, value: &[u8]) -> Option<RuleIndex> {
        let value = str::from_utf8(value).ok()?;
        let like = |other: &&str| {
            let ends = |text: &str| (text.bytes().next(), text.bytes().next_back());
            let ((first, last), (other_first, other_last)) = (ends(value), ends(other));
            // A cheap look first, for there may be a hundred thousand: one end is nearly always spelled right.
            other.len().abs_diff(value.len()) <= value.len() / 3 + 1 && (first == other_first || last == other_last)
        };
        let mut words: Vec<&str> = self.values.iter().filter_map(|(other, _)| str::from_utf8(other).ok()).collect();
        words.retain(like);
        words.sort_unstable();
        self.values.find(spelling::nearest(value, words)?.as_bytes())
    }
}
