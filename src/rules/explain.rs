//! Why a descriptor matches the rule that it matches, or none: the walk through the levels, told.
//!
//! Nothing is matched here. [`Level::find`](super::Level::find) says who wins at each level, as it does for every
//! decision; [`Level::candidates`](super::Level::candidates) says who else was there.

mod gap;

pub use gap::{Differs, Gap};

use super::{
    Action, Domain, Level, Rule, RuleIndex,
    level::candidates::{Candidates, Way},
};
use crate::{bounds::EXPLAIN_KEYS_MAX, request::Entry};

/// The way of one descriptor through the rules of its domain.
#[derive(Clone, Debug)]
pub struct Walk<'r> {
    /// One a level, as far as it went; the last may be the one where it ended.
    pub steps: Vec<Step<'r>>,
    pub end: End<'r>,
}

/// What a walk came to.
#[derive(Clone, Debug)]
pub enum End<'r> {
    /// This rule.
    Matched(&'r Rule),
    /// Nothing.
    Unmatched(Gap<'r>),
}

/// One level of a walk.
#[derive(Clone, Debug)]
pub struct Step<'r> {
    /// The rules that have the entry's key: the one that won first, then those that match too, then others.
    pub rules: Vec<Considered<'r>>,
    /// So many more have the key and are not listed.
    pub more: usize,
}

/// A rule at its level, and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Considered<'r> {
    pub rule: &'r Rule,
    pub way: Way,
    pub outcome: Outcome,
}

/// Why a rule won its level or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the choice of its level, and final.
    Won,
    /// It matches too; one that is asked before it won.
    Behind,
    /// Its value, pattern, template or network does not match.
    Differs,
}

impl Domain {
    /// Tells the walk of `entries`.
    pub fn explain<'r>(&'r self, entries: &[Entry<'_>]) -> Walk<'r> {
        let mut steps = Vec::new();
        let mut level = &self.top;
        let mut rule = None;
        for (depth, entry) in entries.iter().enumerate() {
            let candidates = level.candidates(entry.key, entry.value).unwrap_or_default();
            let found = level.find(entry.key, entry.value).and_then(|found| self.rule_at(found));
            steps.push(self.step(&candidates, found));
            let Some(found) = found else {
                let gap = self.gap(entries, depth, level, rule, &steps);
                return Walk { steps, end: End::Unmatched(gap) };
            };
            (level, rule) = (&found.children, Some(found));
        }
        let end = rule.map_or(End::Unmatched(Gap::of_nothing()), End::Matched);
        Walk { steps, end }
    }

    fn step<'r>(&'r self, candidates: &Candidates, won: Option<&'r Rule>) -> Step<'r> {
        let considered = candidates.list.iter().filter_map(|candidate| {
            let rule = self.rule_at(candidate.rule)?;
            let outcome = match candidate.fits {
                true if won.is_some_and(|won| std::ptr::eq(won, rule)) => Outcome::Won,
                true => Outcome::Behind,
                false => Outcome::Differs,
            };
            Some(Considered { rule, way: candidate.way, outcome })
        });
        Step { rules: considered.collect(), more: candidates.more }
    }

    fn rule_at(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(index.0 as usize)
    }

    /// What `entries` match that go on from `rule`.
    fn below<'r>(&'r self, rule: &'r Rule, entries: &[Entry<'_>]) -> Option<&'r Rule> {
        let next = |rule: &'r Rule, entry: &Entry<'_>| self.rule_at(rule.children.find(entry.key, entry.value)?);
        entries.iter().try_fold(rule, next)
    }
}

impl<'r> Walk<'r> {
    /// The rule that matches.
    pub fn matched(&self) -> Option<&'r Rule> {
        match self.end {
            End::Matched(rule) => Some(rule),
            End::Unmatched(_) => None,
        }
    }

    /// The keys that would lead on from a rule that matches and limits nothing: often an entry is missing.
    pub fn leads_on(&self) -> Vec<String> {
        let parent = self.matched().filter(|rule| rule.action == Action::Open);
        parent.map(|rule| keys(&rule.children)).unwrap_or_default()
    }
}

/// Keys that rules of a level have, at most [`EXPLAIN_KEYS_MAX`], in their order.
fn keys(level: &Level) -> Vec<String> {
    let mut keys: Vec<String> = level.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    keys.sort_unstable();
    keys.truncate(EXPLAIN_KEYS_MAX);
    keys
}

#[cfg(test)]
mod tests;
