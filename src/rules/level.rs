//! One level of rules: for each key, what may match its value, cheapest first.

use hashbrown::HashMap;

use super::{Matcher, RuleIndex};

/// The rules of one level, indexed by key and then by how they match.
#[derive(Debug, Default)]
pub struct Level {
    keys: HashMap<Box<[u8]>, HashMap<Vec<u8>, RuleIndex>>,
}

impl Level {
    /// Adds one matcher of a rule; a rule with a list of values adds one for each.
    ///
    /// # Errors
    ///
    /// The rule that already stands at exactly this place; the level is unchanged.
    pub fn insert(&mut self, key: &[u8], matcher: Matcher, rule: RuleIndex) -> Result<(), RuleIndex> {
        let text = match matcher {
            Matcher::Any => b"any".to_vec(),
            Matcher::Value(value) => [b"value:", &*value].concat(),
            Matcher::Path(path) => format!("path:{}", path.canonical()).into_bytes(),
            Matcher::Network(net) => format!("net:{net}").into_bytes(),
            Matcher::Pattern(pattern) => pattern.0.into_bytes(),
        };
        match self.keys.entry(key.into()).or_default().entry(text) {
            hashbrown::hash_map::Entry::Occupied(there) => Err(*there.get()),
            hashbrown::hash_map::Entry::Vacant(room) => {
                room.insert(rule);
                Ok(())
            }
        }
    }

    /// Whether it has no rules: its parent is a leaf.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
