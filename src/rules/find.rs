//! Which rule a descriptor matches: the walk through the levels.

use super::{Domain, Rule, RuleLimit, identity::HashKey};
use crate::request::{Entry, RequestLimit};

/// The rule of one descriptor, and the windows it is decided by.
#[derive(Clone, Debug)]
pub struct Match<'r> {
    pub rule: &'r Rule,
    /// Names the descriptor as its rule counts it; its windows' counters derive from it.
    pub key: u128,
    pub limits: Limits<'r>,
    /// The request brought its own limit, and it is in `limits`: they are enforced, whatever the rule's mode.
    pub limited_by_request: bool,
}

/// The windows that decide one descriptor.
#[derive(Clone, Debug)]
pub enum Limits<'r> {
    Rule(&'r [RuleLimit]),
    /// Made for this request, from the limit that came with it.
    Request(Box<[RuleLimit]>),
}

/// What the walk found for one descriptor.
#[derive(Clone, Debug, Default)]
pub struct Found<'r> {
    /// None: nothing matches, the descriptor is OK and nothing is said about it.
    pub matched: Option<Match<'r>>,
    /// The request brought a limit that means nothing (unit 0 or unknown): ignored, and to be counted.
    pub ignored_request_limit: bool,
}

impl Domain {
    /// The rule that `entries` match, if any, with `limit` applied as the domain's `request_limits` says.
    pub fn find(&self, entries: &[Entry<'_>], limit: Option<RequestLimit>, hash_key: &HashKey) -> Found<'_> {
        let _ = (entries, limit, hash_key);
        todo!("find")
    }
}

impl Limits<'_> {
    pub fn as_slice(&self) -> &[RuleLimit] {
        match self {
            Self::Rule(limits) => limits,
            Self::Request(limits) => limits,
        }
    }
}
