//! The rules of a level with what they match, for people who read what is live.

use std::borrow::Cow;

use super::{KeyRules, Level};
use crate::rules::RuleIndex;

/// A key, the value or pattern that is matched (none: any), and the rule.
pub type Listed<'l> = (&'l [u8], Option<Cow<'l, [u8]>>, RuleIndex);

impl Level {
    /// Everything that is matched here, in the order of the rules; what one rule matches, in the order of its text.
    pub fn listed(&self) -> Vec<Listed<'_>> {
        let keys = self.keys.iter().flat_map(|keys| keys.iter());
        let mut listed: Vec<_> = keys.flat_map(|(key, rules)| rules.listed(key)).collect();
        listed.sort_unstable_by(|(_, value, rule), (_, other_value, other)| (rule, value).cmp(&(other, other_value)));
        listed
    }
}

impl KeyRules {
    fn listed<'l>(&'l self, key: &'l [u8]) -> impl Iterator<Item = Listed<'l>> {
        let values = self.values.iter().map(|(value, rule)| (Cow::Borrowed(value), rule));
        let owned = |(text, rule): (String, RuleIndex)| (Cow::Owned(text.into_bytes()), rule);
        let paths = self.paths.templates().into_iter().map(owned);
        let networks = self.networks.listed().map(owned);
        let patterns = self.patterns.iter().map(|(pattern, rule)| (Cow::Borrowed(pattern.text().as_bytes()), rule));
        let matched = values.chain(paths).chain(networks).chain(patterns);
        let matched = matched.map(move |(value, rule)| (key, Some(value), rule));
        matched.chain(self.any.map(|rule| (key, None, rule)))
    }
}
