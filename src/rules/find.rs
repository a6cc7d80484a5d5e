//! Which rule a descriptor matches: the walk through the levels, and the windows that then decide.

use smallvec::SmallVec;

use super::{
    Action, Domain, Mode, RequestLimits, Rule, RuleLimit,
    blocks::{Gate, gates},
    identity::{HashKey, descriptor_key, window_salt},
    orders::{Ordered, Orders},
};
use crate::{
    bounds::WINDOW_MAX,
    limit::{Algorithm, Limit, Window},
    request::{Entry, RequestLimit},
    units::{Nanos, Timestamp},
};

/// The rule of one descriptor, and the windows it is decided by.
#[derive(Clone, Debug)]
pub struct Match<'r> {
    pub rule: &'r Rule,
    /// Names the descriptor as its rule counts it; its windows' counters derive from it.
    pub key: u128,
    pub limits: Limits<'r>,
    pub numbers: LimitNumbers,
    /// The request brought its own limit, and it is in `limits`: they are enforced, whatever the rule's mode.
    pub limited_by_request: bool,
    /// An order put `limits` in the place of the rule's.
    pub overridden: bool,
}

/// The windows that decide one descriptor.
#[derive(Clone, Debug)]
pub enum Limits<'r> {
    /// As they stand in the rule, or in an order.
    Rule(&'r [RuleLimit]),
    /// Made for this request, from the limit that came with it.
    Request(Box<[RuleLimit]>),
}

/// Which numbers the windows of a [`Match`] go by.
#[derive(Clone, Copy, Debug)]
pub struct LimitNumbers {
    /// So many at the beginning are the rule's own, whose numbers begin here.
    own: u32,
    first: u32,
    /// What all others go by.
    others: u32,
}

impl LimitNumbers {
    /// Those of windows that are all `rule`'s own.
    pub fn of(rule: &Rule) -> Self {
        Self { own: u32::MAX, first: rule.first_limit, others: 0 }
    }

    /// Those of windows of which none is a rule's.
    fn all(number: u32) -> Self {
        Self { own: 0, first: 0, others: number }
    }

    /// The number over all domains of the window at `place`.
    pub fn at(self, place: u32) -> u32 {
        if place < self.own { self.first + place } else { self.others }
    }
}

impl Match<'_> {
    /// Whether limits that came with the request stand in the place of the rule's, which `at_most` never lets them.
    pub(super) fn rule_is_replaced(&self, domain: &Domain) -> bool {
        self.limited_by_request && domain.request_limits != RequestLimits::AtMost
    }
}

impl Limits<'_> {
    /// The windows, wherever they come from.
    pub fn as_slice(&self) -> &[RuleLimit] {
        match self {
            Self::Rule(limits) => limits,
            Self::Request(limits) => limits,
        }
    }
}

/// What the walk found for one descriptor.
#[derive(Clone, Debug, Default)]
pub struct Found<'r> {
    /// None: nothing matches, the descriptor is OK and nothing is said about it.
    pub matched: Option<Match<'r>>,
    /// The request brought a limit that means nothing (unit 0 or unknown): ignored, and to be counted.
    pub ignored_request_limit: bool,
    /// Under which names the descriptor may be blocked, also where it matches no rule.
    pub gates: Vec<Gate<'r>>,
}

impl Domain {
    /// The rule that `entries` match, if any, with `limit` applied as the domain's `request_limits` says.
    ///
    /// Without a rule, a limit of the request is decided as [`request_rule`](Self::request_rule). An exempt rule stays
    /// exempt; one that denies gives way to a limit that replaces, and stays where it may only lower.
    pub fn find(&self, entries: &[Entry<'_>], limit: Option<RequestLimit>, hash_key: &HashKey) -> Found<'_> {
        self.find_under(None, Timestamp::EPOCH, entries, limit, hash_key)
    }

    /// The same under the `orders` that stand at `now`.
    pub fn find_under<'r>(
        &'r self,
        orders: Option<&'r Orders>,
        now: Timestamp,
        entries: &[Entry<'_>],
        limit: Option<RequestLimit>,
        hash_key: &HashKey,
    ) -> Found<'r> {
        let asked = limit.map(|limit| self.request_window(limit));
        let ignored_request_limit = asked.as_ref().is_some_and(Option::is_none);
        let asked = asked.flatten().filter(|_| self.request_limits != RequestLimits::Ignore);
        let mut path: SmallVec<[&Rule; 4]> = SmallVec::new();
        // Where nothing is ever blocked, nobody asks which rules the walk went past.
        let watched = self.blocks || orders.is_some();
        let rule = if watched { self.walk(entries, |rule| path.push(rule)) } else { self.rule_of(entries) };
        if let Some(rule) = rule {
            rule.fetch();
        }
        let mut ordered = match orders {
            Some(orders) => self.ordered(orders, entries, &path, hash_key, now),
            None => Ordered::default(),
        };
        let mark = ordered.mark(entries.len());
        let key = |rule: &Rule| descriptor_key(hash_key, &self.name, entries, rule.counted()) ^ mark;
        let matched = match (rule, asked) {
            (Some(rule), asked) => Some(self.matched(rule, key(rule), asked, &ordered)),
            (None, Some(asked)) if !entries.is_empty() => {
                let rule = &self.request_rule;
                let (limits, numbers) = (Limits::Request([asked].into()), LimitNumbers::of(rule));
                Some(Match { rule, key: key(rule), limits, numbers, limited_by_request: true, overridden: false })
            }
            (None, _) => None,
        };
        let mut all = std::mem::take(&mut ordered.gates);
        if self.blocks {
            all.extend(gates(self, entries, &path, matched.as_ref(), hash_key, &ordered));
        }
        Found { matched, ignored_request_limit, gates: all }
    }

    /// `rule` with the windows that decide: an order's before the request's, those before its own.
    fn matched<'r>(&'r self, rule: &'r Rule, key: u128, asked: Option<RuleLimit>, ordered: &Ordered<'r>) -> Match<'r> {
        if let Some(limits) = ordered.limits(rule.mode).filter(|_| rule.action == Action::Limits) {
            let (limits, numbers) = (Limits::Rule(limits), LimitNumbers::all(self.override_limit));
            return Match { rule, key, limits, numbers, limited_by_request: false, overridden: true };
        }
        let windows = asked.and_then(|asked| self.limits_with(rule, asked));
        let limited_by_request = windows.is_some();
        let (limits, numbers) = match windows {
            Some((limits, numbers)) => (Limits::Request(limits), numbers),
            None => (Limits::Rule(rule.limits()), LimitNumbers::of(rule)),
        };
        Match { rule, key, limits, numbers, limited_by_request, overridden: false }
    }

    /// The rule that `entries` match: level by level, the first choice at each is final, and the rule must be exactly as
    /// deep as they are many.
    pub fn rule_of(&self, entries: &[Entry<'_>]) -> Option<&Rule> {
        self.walk(entries, |_| ())
    }

    /// The same, telling `passed` every rule on the way; it may end before there is one for all entries.
    pub(super) fn walk<'r>(&'r self, entries: &[Entry<'_>], mut passed: impl FnMut(&'r Rule)) -> Option<&'r Rule> {
        let mut level = &self.top;
        let mut rule = None;
        for entry in entries {
            let found = self.rules.get(level.find(entry.key, entry.value)?.0 as usize)?;
            passed(found);
            level = &found.children;
            rule = Some(found);
        }
        rule
    }

    /// The windows of `rule` with the one `asked` for applied; None where they stay as they are.
    fn limits_with(&self, rule: &Rule, asked: RuleLimit) -> Option<(Box<[RuleLimit]>, LimitNumbers)> {
        let number = self.request_rule.first_limit;
        match (self.request_limits, rule.action) {
            (RequestLimits::Ignore, _) | (_, Action::Exempt) | (RequestLimits::AtMost, Action::Deny) => None,
            (RequestLimits::Use, _) => Some(([asked].into(), LimitNumbers::all(number))),
            (RequestLimits::AtMost, _) => {
                let own = u32::try_from(rule.limits().len()).unwrap_or(u32::MAX);
                Some((at_most(rule, asked)?, LimitNumbers { own, first: rule.first_limit, others: number }))
            }
        }
    }

    /// The window that `asked` means, enforced; None where it means none.
    ///
    /// It goes by the name of the request rule's own window, which exists for nothing else.
    fn request_window(&self, asked: RequestLimit) -> Option<RuleLimit> {
        let placeholder = self.request_rule.limits().first()?;
        let limit = Limit {
            count: u64::from(asked.requests_per_unit),
            window: Window::Length(window_length(asked)?),
            algorithm: Algorithm::FixedWindow,
        };
        Some(RuleLimit {
            name: placeholder.name.clone(),
            written_name: None,
            salt: window_salt(&limit, false),
            shadow: false,
            limit,
        })
    }
}

/// The rule's windows with `asked` beside them; where one has the same counter, the smaller number holds. None where
/// that changes nothing.
fn at_most(rule: &Rule, asked: RuleLimit) -> Option<Box<[RuleLimit]>> {
    let same = rule.limits().iter().position(|own| own.salt == asked.salt && !own.shadow);
    match same {
        // A quota window refuses less than an enforced one of the same number, so there it does change something.
        Some(place) if rule.mode == Mode::Enforce && rule.limits()[place].limit.count <= asked.limit.count => None,
        Some(place) => {
            let mut limits: Box<[RuleLimit]> = rule.limits().into();
            let count = &mut limits[place].limit.count;
            *count = asked.limit.count.min(*count);
            Some(limits)
        }
        None => Some(rule.limits().iter().cloned().chain([asked]).collect()),
    }
}

/// The length of the window that a request's limit names; None where it names none, or one longer than any may be.
fn window_length(asked: RequestLimit) -> Option<Nanos> {
    let times = u64::from(asked.unit_multiplier.unwrap_or(1).max(1));
    let length = Nanos(unit_length(asked.unit)?.0.checked_mul(times)?);
    (length <= WINDOW_MAX).then_some(length)
}

/// `envoy.type.v3.RateLimitUnit`. It knows no week; 7 is what envoyproxy/ratelimit takes for one.
fn unit_length(unit: i32) -> Option<Nanos> {
    const DAY_SECS: u64 = 86_400;
    let secs = match unit {
        1 => 1,
        2 => 60,
        3 => 3_600,
        4 => DAY_SECS,
        // Months and years of fixed length, as envoyproxy/ratelimit has them.
        5 => 30 * DAY_SECS,
        6 => 365 * DAY_SECS,
        7 => 7 * DAY_SECS,
        _ => return None,
    };
    Some(Nanos::from_secs(secs))
}

#[cfg(test)]
mod tests;
