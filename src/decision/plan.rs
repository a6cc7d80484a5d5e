//! From matches to charges: what a request asks of which counters.

use std::{collections::BTreeSet, ops::Range};

use smallvec::SmallVec;

use crate::{
    charge::{Charge, Charges, CounterKey, Gate, GateVerdict, Role, Verdicts, Way},
    request::{Ask, Request},
    rules::{Action, Domain, Match, Mode, NameId, Rule, RuleLimit, find::Found, identity::counter_name},
    units::Nanos,
};

/// The charges of one request, and which limit of which rule each comes from.
#[derive(Clone, Debug, Default)]
pub struct Plan<'p> {
    pub charges: Charges<'p>,
    /// One a charge, in the same order.
    pub limits: SmallVec<[&'p RuleLimit; 8]>,
    /// One a descriptor: the places of its charges. The visible ones come first, in the order of the file.
    pub of_descriptor: SmallVec<[Range<u32>; 4]>,
    /// One a gate, in the same order: the rule at which its block stands.
    pub gate_rules: SmallVec<[&'p Rule; 2]>,
    /// A rule exempts the whole request: it passes, unless it is blocked, and charges nothing.
    pub exempt: bool,
}

/// Plans the charges of `request`, whose descriptors found `found` in `domain`.
pub fn plan<'p>(domain: Option<&'p Domain>, request: &Request<'_>, found: &'p [Found<'p>]) -> Plan<'p> {
    debug_assert_eq!(request.descriptors.len(), found.len());
    let mut plan = Plan { of_descriptor: SmallVec::with_capacity(found.len()), ..Plan::default() };
    if domain.is_some_and(|domain| domain.count_denied) {
        plan.charges.way = Way::EachAlone;
    }
    let matched = |action| found.iter().filter_map(|found| found.matched.as_ref()).any(|matched| acts(matched, action));
    plan.exempt = matched(Action::Exempt);
    plan.charges.denied = !plan.exempt && matched(Action::Deny);
    let replaced = replaced(found);
    let all_quota = domain.is_some_and(|domain| domain.all_quota);

    for (index, (descriptor, found)) in (0..).zip(request.descriptors.iter().zip(found)) {
        let first = plan.count();
        plan.add_gates(index, request.ask_of(descriptor), found);
        if let Some(matched) = &found.matched
            && !plan.exempt
        {
            let kept = |limit: &RuleLimit| !limit.written_name.is_some_and(|name| replaced.contains(&name));
            // Those that clients see come first: the charges of one role stand together.
            for shadow in [false, true] {
                let limits = (0..).zip(matched.limits.as_slice());
                for (place, limit) in limits.filter(|(_, limit)| limit.shadow == shadow && kept(limit)) {
                    plan.charges.list.push(Charge {
                        key: CounterKey(counter_name(matched.key, limit.salt)),
                        limit: &limit.limit,
                        ask: request.ask_of(descriptor),
                        role: role(matched, limit, all_quota),
                        descriptor: index,
                        group: matched.numbers.at(place),
                    });
                    plan.limits.push(limit);
                }
            }
        }
        let end = plan.count();
        plan.charges.quota_met |= all_quota && plan.is_quota_met(first..end, found);
        plan.of_descriptor.push(first..end);
    }
    plan
}

/// What blocks one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Blocked<'p> {
    /// The rule at which the block stands.
    pub rule: &'p Rule,
    /// How long it lasts from now.
    pub rest: Nanos,
}

impl<'p> Plan<'p> {
    /// What refuses a descriptor whatever its limits say: of several blocks the one that lasts longest.
    pub fn blocked(&self, verdicts: &Verdicts, descriptor: usize) -> Option<Blocked<'p>> {
        let blocks = self.gates_of(verdicts, descriptor).filter_map(|(rule, verdict)| match verdict {
            GateVerdict::Blocked(rest) => Some(Blocked { rule, rest }),
            GateVerdict::Open | GateVerdict::Started(_) => None,
        });
        blocks.max_by_key(|blocked| blocked.rest)
    }

    /// The gates of a descriptor: the rule at which each stands, and what became of it.
    pub fn gates_of(&self, verdicts: &Verdicts, descriptor: usize) -> impl Iterator<Item = (&'p Rule, GateVerdict)> {
        let range = self.charges.gates_of_descriptor(u32::try_from(descriptor).unwrap_or(u32::MAX));
        let (rules, gates) = (&self.gate_rules[range.clone()], &verdicts.gates[range]);
        rules.iter().copied().zip(gates.iter().copied())
    }

    /// A refund is always granted, so that no block matters to it.
    fn add_gates(&mut self, descriptor: u32, ask: Ask, found: &Found<'p>) {
        if matches!(ask, Ask::GiveBack(_)) {
            return;
        }
        for gate in &found.gates {
            self.charges.gates.push(Gate {
                key: CounterKey(gate.key),
                descriptor,
                starts: gate.starts,
                ordered_until: gate.ordered_until,
            });
            self.gate_rules.push(gate.rule);
        }
    }

    /// Whether nothing of a descriptor can refuse it. `unlimited` takes no part, as with envoyproxy/ratelimit.
    fn is_quota_met(&self, charges: Range<u32>, found: &Found<'_>) -> bool {
        let unlimited = found.matched.as_ref().is_some_and(|matched| acts(matched, Action::Unlimited));
        let charges = &self.charges.list[charges.start as usize..charges.end as usize];
        !unlimited && charges.iter().all(|charge| charge.role == Role::Shadow)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.limits.len()).unwrap_or(u32::MAX)
    }
}

/// Whether `matched` does what its rule's action says: a limit that came with the request stands in its place, but
/// for `exempt`.
pub(super) fn acts(matched: &Match<'_>, action: Action) -> bool {
    matched.rule.action == action && (action == Action::Exempt || !matched.limited_by_request)
}

fn role(matched: &Match<'_>, limit: &RuleLimit, all_quota: bool) -> Role {
    if limit.shadow {
        Role::Shadow
    } else if matched.limited_by_request {
        if all_quota { Role::Quota } else { Role::Enforced }
    } else if matched.rule.overdraw {
        Role::Overdraw
    } else if matched.rule.mode == Mode::Quota {
        Role::Quota
    } else {
        Role::Enforced
    }
}

/// The names of all limits that matched rules replace. Those that are replaced themselves still replace others.
fn replaced(found: &[Found<'_>]) -> BTreeSet<NameId> {
    let replacing = found
        .iter()
        .filter_map(|found| found.matched.as_ref())
        .filter(|matched| !matched.limited_by_request && !matched.rule.replaces.is_empty());
    replacing.flat_map(|matched| &matched.rule.replaces).copied().collect()
}
