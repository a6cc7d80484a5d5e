//! Where a walk ended without a rule: what differs, and which rule is nearest.

use std::fmt;

use super::{Considered, Outcome, Step, keys};
use crate::{
    request::Entry,
    rules::{Domain, Level, Rule},
    spelling::nearest,
};

/// Why nothing matches.
#[derive(Clone, Debug)]
pub struct Gap<'r> {
    /// The level at which the walk ended, from 1; 0 where there was nothing to walk.
    pub level: usize,
    pub differs: Differs,
    /// The rule that is nearest to matching.
    pub nearest: Option<&'r Rule>,
}

/// What differs between a descriptor and the nearest rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Differs {
    /// The descriptor has no entries.
    Nothing,
    /// No rule of the level has this key.
    Key {
        key: String,
        /// The one that is spelled most alike.
        suggestion: Option<String>,
        /// Some that there are.
        known: Vec<String>,
    },
    /// The level has rules for a key that the descriptor brings further on, as entry number `entry`.
    Order { key: String, entry: usize },
    /// Rules have the key, and none of them matches the value.
    Value { key: String },
    /// The rule that won the level above is the last of its branch, and entries are left.
    Depth { rule: String, levels: usize, entries: usize },
    /// A rule that matched an entry too would have led on, but one that is asked before it had won.
    Hidden { level: usize, won: String },
}

impl Gap<'_> {
    pub(super) const fn of_nothing() -> Self {
        Self { level: 0, differs: Differs::Nothing, nearest: None }
    }
}

impl Domain {
    /// Why the walk of `entries` ended at `depth`, where `level` has no rule for it; `last` won the level above.
    pub(super) fn gap<'r>(
        &'r self,
        entries: &[Entry<'_>],
        depth: usize,
        level: &Level,
        last: Option<&'r Rule>,
        steps: &[Step<'r>],
    ) -> Gap<'r> {
        if let Some((at, won, nearest)) = self.hidden(entries, steps) {
            let differs = Differs::Hidden { level: at, won: won.name.to_string() };
            return Gap { level: depth + 1, differs, nearest: Some(nearest) };
        }
        let (entry, known) = (entries[depth], || level.keys().filter_map(|key| str::from_utf8(key).ok()));
        let key = || String::from_utf8_lossy(entry.key).into_owned();
        let first = |step: &Step<'r>| step.rules.first().map(|considered| considered.rule);
        let (differs, nearest) = if let Some(rule) = last.filter(|rule| rule.children.is_empty()) {
            (Differs::Depth { rule: rule.name.to_string(), levels: depth, entries: entries.len() }, last)
        } else if let Some(nearest) = steps.get(depth).and_then(first) {
            (Differs::Value { key: key() }, Some(nearest))
        } else if let Some(at) = (depth + 1..entries.len()).find(|&at| level.has_key(entries[at].key)) {
            let differs = Differs::Order { key: String::from_utf8_lossy(entries[at].key).into_owned(), entry: at + 1 };
            (differs, last.or_else(|| self.first_of(level, entries[at])))
        } else {
            let suggestion = str::from_utf8(entry.key).ok().and_then(|key| nearest_key(key, known()));
            let nearest =
                suggestion.as_ref().and_then(|key| self.first_of(level, Entry { key: key.as_bytes(), ..entry }));
            (Differs::Key { key: key(), suggestion, known: keys(level) }, nearest.or(last))
        };
        Gap { level: depth + 1, differs, nearest }
    }

    /// The level at which a rule that was asked too late would have led to a match, who won there, and the match.
    fn hidden<'r>(&'r self, entries: &[Entry<'_>], steps: &[Step<'r>]) -> Option<(usize, &'r Rule, &'r Rule)> {
        steps.iter().enumerate().find_map(|(at, step)| {
            let (won, others) = step.rules.split_first()?;
            let behind = |other: &&Considered<'r>| other.outcome == Outcome::Behind;
            let mut others = others.iter().filter(behind);
            let found = others.find_map(|other| self.below(other.rule, &entries[at + 1..]))?;
            Some((at + 1, won.rule, found))
        })
    }

    /// The first rule of a level that has the entry's key.
    fn first_of<'r>(&'r self, level: &Level, entry: Entry<'_>) -> Option<&'r Rule> {
        let candidates = level.candidates(entry.key, entry.value)?;
        self.rule_at(candidates.list.first()?.rule)
    }
}

/// Keys are configured, and few; sorted, so that of two equally near ones it is always the same.
fn nearest_key<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    nearest(key, known).map(str::to_owned)
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("the descriptor has no entries"),
            Self::Key { key, suggestion: Some(meant), .. } => {
                write!(f, "no rule of this level has the key `{key}`; did you mean `{meant}`?")
            }
            Self::Key { key, known, .. } if known.is_empty() => write!(f, "no rule of this level has the key `{key}`"),
            Self::Key { key, known, .. } => {
                write!(f, "no rule of this level has the key `{key}`; there are `{}`", known.join("`, `"))
            }
            Self::Order { key, entry } => {
                write!(f, "rules expect `{key}` here, which is entry {entry} of the descriptor: the order counts")
            }
            Self::Value { key } => {
                write!(f, "rules of this level have the key `{key}`, and none of them matches the value")
            }
            Self::Depth { rule, levels, entries } => write!(
                f,
                "the rule `{rule}` matches {levels} of the {entries} entries and has no `descriptors` below it: \
                 the numbers must be equal"
            ),
            Self::Hidden { level, won } => write!(
                f,
                "the rule `{won}` won level {level}, and the first choice is final; \
                 the nearest rule lies below one that matches there too: `extends` takes its children over"
            ),
        }
    }
}
