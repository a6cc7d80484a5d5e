//! Compiled rule sets and matching. Pure: no YAML, no clock, no counters.
//!
//! A [`Rules`] is built once by `config` and then only read. Looking up exact values, paths and networks costs the
//! same with ten rules and with a hundred thousand.

pub mod address;
pub mod blocks;
pub mod explain;
pub mod find;
pub mod identity;
pub mod level;
pub mod on_store_error;
pub mod orders;
pub mod path;
pub mod pattern;
pub mod value;
pub mod values;

use std::{
    hash::{Hash, Hasher},
    hint::black_box,
    sync::Arc,
};

use compact_str::CompactString;
use hashbrown::HashMap;
use ipnet::IpNet;

pub use blocks::{Block, Gate};
pub use find::Match;
pub use level::Level;
pub use on_store_error::OnStoreError;
pub use orders::Orders;
pub use value::Value;

use crate::limit::Limit;

/// One generation of rules: everything that decides, of all files together.
#[derive(Debug, Default)]
pub struct Rules {
    pub domains: HashMap<Box<[u8]>, Domain>,
    /// Rules are numbered from 0 over all domains, so that what belongs to a rule elsewhere (its responses, its
    /// metrics) is an index away. This is how many there are.
    pub rule_count: u32,
    /// Likewise for limits.
    pub limit_count: u32,
    /// Answers' metadata repeats the request, in the form of envoyproxy/ratelimit.
    pub repeats_request: bool,
    /// The largest number that the store counts exactly; None: all of them. No limit of a rule is larger, and no
    /// override may be.
    pub count_max: Option<u64>,
}

impl Rules {
    /// How many rules and limits the files give, for people: without those that stand in for limits of requests.
    pub fn given(&self) -> (usize, usize) {
        let rules = || self.domains.values().flat_map(|domain| &domain.rules);
        (rules().count(), rules().map(|rule| rule.limits().len()).sum())
    }
}

/// All rules of one domain.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own that people turn")]
pub struct Domain {
    pub name: Box<str>,
    /// Refused requests are charged too, as envoyproxy/ratelimit does.
    pub count_denied: bool,
    /// Nobody is refused: what would have been is told, and counted.
    pub shadow: bool,
    /// Every limit is a quota, those that requests bring too, and what has no limit is as good as a quota with room.
    pub all_quota: bool,
    pub slots: Slots,
    pub request_limits: RequestLimits,
    /// Whether any of its descriptors may be blocked; where none may, none is looked for.
    pub blocks: bool,
    /// Stands in where a request brings a limit for a descriptor that no rule matches.
    pub request_rule: Rule,
    /// The number that limits of orders go by, whatever rule they stand in for.
    pub override_limit: u32,
    pub top: Level,
    /// What the levels point to.
    pub rules: Vec<Rule>,
}

/// How the counters of a domain are shared out among the servers of a cluster (`slots`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slots {
    /// All in one slot: a request is decided in one step.
    #[default]
    Together,
    /// Those of each descriptor in a slot of their own.
    Spread,
}

/// What a limit that comes with the request may do (`request_limits`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestLimits {
    /// Replaces the rule's.
    #[default]
    Use,
    /// Is enforced beside the rule's, so that it can only lower.
    AtMost,
    Ignore,
}

/// The place of a rule in [`Domain::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// One checked rule.
///
/// With a hundred thousand of them, what a decision waits for is memory. So what every decision reads stands first and
/// fills one line of the cache; what few read stands behind it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Rule {
    /// Its number over all domains.
    pub id: u32,
    /// The number of its first window over all domains; those of the others follow.
    pub first_limit: u32,
    /// The place of its response in the list that `render` answers from.
    pub response: u32,
    pub action: Action,
    pub mode: Mode,
    /// Hits are charged in full, and refused only when nothing was left before.
    pub overdraw: bool,
    pub expose: Expose,
    pub report: Report,
    /// While the shared store is away; few read it, and here it takes no room.
    pub on_store_error: OnStoreError,
    /// Rules that count alike share it: what many rules share stays in the caches.
    pub counting: Arc<Counting>,
    /// What operators see: in headers, metrics, metadata and logs. Unique in the domain. One of up to 24 bytes stands here.
    pub name: CompactString,
    /// Returned as dynamic metadata where the descriptor passes.
    pub metadata: Option<Arc<Value>>,
    /// Names of the limits that are dropped from a request which this rule matches.
    pub replaces: Box<[NameId]>,
    /// The next level; empty for a leaf.
    pub children: Level,
    /// What a refusal for want of room starts.
    pub on_exceed: Option<Block>,
    /// How the beginnings of descriptors are counted that end at this rule and may be blocked, by it or by rules below:
    /// see [`blocks::connect`].
    pub blocked_as: Vec<Box<[Counted]>>,
    pub told_as: ToldAs,
    pub place: Place,
}

/// By whose name the metrics tell what a rule decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToldAs {
    #[default]
    Itself,
    /// By that of the rule above, or further above: there are too many beside this one for a series each.
    Above(RuleIndex),
    /// By none, as one of too many at the top of the domain.
    Domain,
}

impl ToldAs {
    /// How those below a rule are told if they are too many, where it stands at `index` and is told like this.
    #[must_use]
    pub fn of_those_below(self, index: RuleIndex) -> Self {
        if self == Self::Itself { Self::Above(index) } else { self }
    }
}

impl Rule {
    /// Fetches what a decision reads of the rule later: all at once, while the counter's name is hashed, and not one after
    /// the other when each is needed.
    #[inline]
    fn fetch(&self) {
        let limit = self.limits().first().map(|limit| (limit.salt, limit.limit.count, limit.name.len()));
        black_box((limit, self.name.as_bytes().first(), self.replaces.len()));
    }

    /// Its windows, in the order they were written; empty unless the action is [`Action::Limits`].
    #[inline]
    pub fn limits(&self) -> &[RuleLimit] {
        &self.counting.limits
    }

    /// How each of its levels is counted, outermost first; as many as the rule is deep.
    #[inline]
    pub fn counted(&self) -> &[Counted] {
        &self.counting.counted
    }
}

/// What a rule counts, and by what names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counting {
    pub limits: Box<[RuleLimit]>,
    pub counted: Box<[Counted]>,
}

/// Where a rule stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// What a matched rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its windows decide.
    Limits,
    /// A parent or an allow-list entry: no limit, and nothing said.
    Open,
    /// `unlimited: true`: no limit, and the status says so.
    Unlimited,
    /// The whole request passes and charges nothing.
    Exempt,
    /// Refused without a counter.
    Deny,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    Shadow,
    Quota,
}

/// When the client may see this rule's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expose {
    #[default]
    Always,
    OnDeny,
    Never,
}

/// Which window an accepted request reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// The one with the smallest share of its limit left.
    #[default]
    Nearest,
    First,
}

/// One window of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLimit {
    /// Unique in its rule: as written, else from the window (`minute`, `30s`). Limits of one name share it, as rules do
    /// how they count.
    pub name: Arc<str>,
    /// The name as written in the file; only such a one is shown in statuses and can be replaced.
    pub written_name: Option<NameId>,
    pub limit: Limit,
    /// Decided after the enforced ones and shown to no client.
    pub shadow: bool,
    /// Tells the counters of one descriptor apart: from the window, the algorithm and `shadow`, and from nothing else.
    /// See [`identity::window_salt`].
    pub salt: u64,
}

impl Hash for RuleLimit {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // The salt tells all windows and algorithms apart.
        (self.salt, self.limit.count, &self.name, self.written_name).hash(hasher);
    }
}

/// A name that a limit carries in the file, numbered over all domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

/// How one level of a rule names its counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Each value has a counter.
    Value,
    /// Each address has a counter, an IPv6 one its network of so many bits; what is no address counts as the value.
    Address { ipv6_prefix: u8 },
    /// Each path has a counter, normalised as for matching.
    Path,
    /// All values share one counter, named by this text (the pattern).
    Shared(Box<[u8]>),
}

/// What one rule matches at its level, checked.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// Any value: a key-only rule.
    Any,
    /// This value, byte for byte (an address: normalised).
    Value(Box<[u8]>),
    Path(path::Template),
    Network(IpNet),
    Pattern(pattern::Pattern),
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_every_decision_reads_of_a_rule_is_one_line_of_the_cache() {
        assert_eq!((offset_of!(Rule, replaces), align_of::<Rule>()), (64, 64));
    }
}
