//! Orders: what people decided about single descriptors while the rules stand as they are. Other limits for a while
//! (an override), refused for a while (a block), counted from nothing again (a reset).
//!
//! An order is about one whole descriptor or about everything that begins as it does. It is found by the name of its
//! entries **as the rule counts them that the walk through the levels meets at its last one**: so an order for an IPv6
//! address is one for its network, and one for a path that shares its counter with others is one for all of them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{
    Counted, Domain, Mode, Rule, RuleLimit, Rules,
    blocks::Gate,
    identity::{HashKey, ORDERED_BLOCK_SALT, counter_name, descriptor_key},
};
use crate::{limit::Algorithm, request::Entry, units::Timestamp};

/// The orders of one domain, by the names of what they are about.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    whole: HashMap<u128, Order>,
    /// By the number of entries less one.
    beginnings: Vec<HashMap<u128, Order>>,
}

/// What is ordered about one descriptor, or about one beginning.
#[derive(Clone, Debug, Default)]
pub struct Order {
    pub instead: Option<Override>,
    /// Refused until then; [`Timestamp::EPOCH`]: not at all.
    pub blocked_until: Timestamp,
    pub reset: Option<Reset>,
}

/// Limits that stand in the place of those of whatever rule matches.
#[derive(Clone, Debug)]
pub struct Override {
    /// From then on it is none any more.
    pub until: Timestamp,
    pub limits: Arc<OverrideLimits>,
}

/// The windows of an override, for rules that enforce and for those that only watch.
#[derive(Clone, Debug, Default)]
pub struct OverrideLimits {
    pub enforced: Box<[RuleLimit]>,
    pub shadow: Box<[RuleLimit]>,
}

/// Why a domain cannot have the limits of an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuited {
    #[error("the domain has `count_denied`: its limits are fixed windows")]
    NotFixed,
    #[error("the store does not count exactly beyond {max}")]
    TooLarge { max: u64 },
}

impl OverrideLimits {
    /// Whether a domain of these rules can have them.
    ///
    /// # Errors
    ///
    /// What keeps it from that.
    pub fn suit(&self, rules: &Rules, domain: &Domain) -> Result<(), Unsuited> {
        let limits = || self.enforced.iter().map(|it| &it.limit);
        if domain.count_denied && limits().any(|limit| limit.algorithm != Algorithm::FixedWindow) {
            return Err(Unsuited::NotFixed);
        }
        match rules.count_max {
            Some(max) if limits().any(|limit| limit.largest() > max) => Err(Unsuited::TooLarge { max }),
            _ => Ok(()),
        }
    }

    fn of(&self, mode: Mode) -> &[RuleLimit] {
        if mode == Mode::Shadow { &self.shadow } else { &self.enforced }
    }
}

/// Everything that begins as this is counted under other names since it was reset: what was counted before is met by
/// nobody any more, and goes when its time is over.
#[derive(Clone, Debug)]
pub struct Reset {
    /// Told apart from all others by its 128 random bits.
    pub mark: u128,
    /// The second in which it last made a difference. What was counted since would be forgotten with it, so it stays
    /// as long as it is met.
    pub last_met_secs: Arc<AtomicU64>,
}

impl Reset {
    fn meet(&self, now: Timestamp) {
        let secs = now.0 / 1_000_000_000;
        // Many cores may read it, few write it: once a second.
        if self.last_met_secs.load(Relaxed) < secs {
            self.last_met_secs.store(secs, Relaxed);
        }
    }
}

/// What an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Exactly this descriptor.
    Whole,
    /// Every descriptor that begins with these entries; so many.
    Beginning(usize),
}

impl Orders {
    /// The order about what has this name; an empty one is made if there is none.
    pub fn at(&mut self, name: u128, reach: Reach) -> &mut Order {
        let orders = match reach {
            Reach::Whole => &mut self.whole,
            Reach::Beginning(entries) => {
                let depth = entries.max(1);
                if self.beginnings.len() < depth {
                    self.beginnings.resize_with(depth, HashMap::new);
                }
                &mut self.beginnings[depth - 1]
            }
        };
        orders.entry(name).or_default()
    }
}

/// Everything that is ordered about one descriptor.
#[derive(Debug, Default)]
pub(super) struct Ordered<'r> {
    instead: Option<&'r Override>,
    /// The marks of all resets up to each depth, added up.
    marks: SmallVec<[u128; 4]>,
    pub gates: Vec<Gate<'r>>,
}

impl<'r> Ordered<'r> {
    /// The windows that stand in the place of those of a rule of this mode.
    pub fn limits(&self, mode: Mode) -> Option<&'r [RuleLimit]> {
        self.instead.map(|instead| instead.limits.of(mode))
    }

    /// What the names of counters differ by, of so many entries.
    pub fn mark(&self, depth: usize) -> u128 {
        // Deeper than any reset: that of the last one.
        self.marks.get(depth.wrapping_sub(1)).or(self.marks.last()).copied().unwrap_or(0)
    }
}

impl Domain {
    /// The name by which `entries` are found in [`Orders`].
    pub fn order_name(&self, entries: &[Entry<'_>], hash_key: &HashKey) -> u128 {
        let mut path: SmallVec<[&Rule; 4]> = SmallVec::new();
        self.walk(entries, |rule| path.push(rule));
        self.name_at(entries, entries.len(), &path, hash_key)
    }

    /// The name of the first `depth` entries, which led past the rules `path`.
    fn name_at(&self, entries: &[Entry<'_>], depth: usize, path: &[&Rule], hash_key: &HashKey) -> u128 {
        let rule = depth.checked_sub(1).and_then(|last| path.get(last)).or(path.last());
        let counted: &[Counted] = rule.map_or(&[], |rule| rule.counted());
        descriptor_key(hash_key, &self.name, &entries[..depth], counted)
    }

    /// What `orders` say at `now` about a descriptor whose entries led past the rules `path`.
    pub(super) fn ordered<'r>(
        &'r self,
        orders: &'r Orders,
        entries: &[Entry<'_>],
        path: &[&'r Rule],
        hash_key: &HashKey,
        now: Timestamp,
    ) -> Ordered<'r> {
        let mut ordered = Ordered::default();
        let mut mark = 0;
        for (depth, beginnings) in (1..=entries.len()).zip(&orders.beginnings) {
            let order = if beginnings.is_empty() {
                None
            } else {
                let name = self.name_at(entries, depth, path, hash_key);
                beginnings.get(&name).map(|order| (name, order))
            };
            if let Some(reset) = order.and_then(|(_, order)| order.reset.as_ref()) {
                reset.meet(now);
                mark ^= reset.mark;
            }
            ordered.marks.push(mark);
            if let Some((name, order)) = order {
                let key = counter_name(name, ORDERED_BLOCK_SALT);
                self.obey(order, key, Reach::Beginning(depth), path, now, &mut ordered);
            }
        }
        if !orders.whole.is_empty() {
            let name = self.name_at(entries, entries.len(), path, hash_key);
            if let Some(order) = orders.whole.get(&name) {
                let key = counter_name(name, ORDERED_BLOCK_SALT);
                self.obey(order, key, Reach::Whole, path, now, &mut ordered);
            }
        }
        ordered
    }

    /// Later orders are about more of the descriptor, and win.
    fn obey<'r>(
        &'r self,
        order: &'r Order,
        key: u128,
        reach: Reach,
        path: &[&'r Rule],
        now: Timestamp,
        ordered: &mut Ordered<'r>,
    ) {
        if let Some(instead) = order.instead.as_ref().filter(|instead| now < instead.until) {
            ordered.instead = Some(instead);
        }
        if now < order.blocked_until {
            let depth = match reach {
                Reach::Whole => path.len(),
                Reach::Beginning(depth) => depth,
            };
            let rule = path.get(depth.wrapping_sub(1)).or(path.last()).copied().unwrap_or(&self.request_rule);
            ordered.gates.push(Gate { key, rule, reach, starts: None, ordered_until: order.blocked_until });
        }
    }
}
