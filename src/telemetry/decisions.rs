//! Decisions by domain, rule, limit and outcome.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    Telemetry,
    cells::Cells,
    refusals::Refusals,
    tally::{Series, Tally},
};
use crate::{
    charge::{Charge, GateVerdict, Role, Verdicts},
    decision::{Decision, Plan},
    rules::{Action, Domain, Rule, Rules, find::Found},
};

/// Rule sets of up to so many limits have all their series from the start, so that a first refusal is an increase and
/// not a new series; in larger ones a series appears with its first decision, or a scrape would carry megabytes of
/// zeros.
const EAGER_LIMITS: u32 = 500;

/// The limit of series about all windows of all overrides.
const OVERRIDE: &str = "_override";

/// Who decided, as metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Where counters live: in this process, or beyond it.
    Store,
    /// The store beyond this process, within the last second: a refusal that was repeated.
    Cached,
    /// This process alone, while the store is away.
    Local,
}

impl Source {
    const ALL: [Self; 3] = [Self::Store, Self::Cached, Self::Local];

    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Cached => "cached",
            Self::Local => "local",
        }
    }
}

/// The cells of one generation of rules. A series keeps counting over reloads: its labels name it.
///
/// A decision adds to plain numbers of its core; what they came to is [told](Self::tell) to the series before
/// anybody reads those. A handle of a series would be three pointers to follow, each into memory that no cache has
/// where there are a hundred thousand of them, and two of them made for every limit at its first decision.
#[derive(Debug)]
pub struct Decisions {
    telemetry: Arc<Telemetry>,
    /// By [`Source`]. Where counters live in this process the others never decide, and take no memory.
    cells: [Cells; Source::ALL.len()],
    /// The first number of a rule's: those of limits stand before.
    rules_from: usize,
    /// Descriptors of domains that no file names.
    unknown_domain: AtomicU64,
    refusals: Refusals,
}

/// What is counted of a limit.
#[derive(Clone, Copy, Debug)]
enum OfLimit {
    Accepted,
    /// Would-be-refused for shadow limits.
    Refused,
}

/// What is counted of a rule beside its limits.
#[derive(Clone, Copy, Debug)]
enum OfRule {
    /// What an order's limits decide in the place of the rule's.
    OverrideAccepted,
    OverrideRefused,
    /// Likewise, by those of its limits that are shadows.
    ShadowOverrideAccepted,
    ShadowOverrideRefused,
    /// What is decided without a limit.
    WithoutLimit,
    /// What a block refused.
    Blocked,
    BlockStarted,
}

/// How many there are of [`OfLimit`] and of [`OfRule`].
const PER_LIMIT: usize = OfLimit::Refused as usize + 1;
const PER_RULE: usize = OfRule::BlockStarted as usize + 1;

impl Decisions {
    /// Cells for `rules`, which take the place of those before.
    pub fn new(telemetry: Arc<Telemetry>, rules: &Rules) -> Self {
        let rules_from = rules.limit_count as usize * PER_LIMIT;
        let numbers = rules_from + rules.rule_count as usize * PER_RULE;
        let cells = Source::ALL.map(|source| {
            let decides = source == Source::Store || telemetry.store_latency.get().is_some();
            Cells::new(telemetry.cores(), if decides { numbers } else { 0 })
        });
        let mut tally = telemetry.tally();
        tally.keep_only(rules);
        if rules.limit_count <= EAGER_LIMITS {
            for (domain, rule) in all_rules(rules) {
                for limit in rule.limits() {
                    for outcome in ["accepted", refusal(domain.shadow || limit.shadow)] {
                        tally.add(
                            domain,
                            rule,
                            Series { limit: &limit.name, outcome, source: Source::Store.name() },
                            0,
                        );
                    }
                }
            }
        }
        drop(tally);
        let refusals = Refusals::new(telemetry.cores(), rules.rule_count);
        Self { telemetry, cells, rules_from, unknown_domain: AtomicU64::new(0), refusals }
    }

    /// Adds to the series what was counted since the last time; `rules` are those that the cells are for.
    pub fn tell(&self, rules: &Rules) {
        let mut tally = self.telemetry.tally();
        tally.add_unknown_domain(self.unknown_domain.swap(0, Relaxed));
        for source in Source::ALL {
            let cells = &self.cells[source as usize];
            if cells.is_empty() {
                continue;
            }
            for domain in rules.domains.values() {
                for rule in domain.rules.iter().chain([&domain.request_rule]) {
                    self.tell_rule(&mut tally, source, cells, domain, rule);
                }
            }
        }
    }

    fn tell_rule(&self, tally: &mut Tally, source: Source, cells: &Cells, domain: &Domain, rule: &Rule) {
        let mut tell = |number: usize, limit: &str, outcome: &'static str| {
            if let Some(count) = cells.take(number) {
                tally.add(domain, rule, Series { limit, outcome, source: source.name() }, count);
            }
        };
        for (number, limit) in (rule.first_limit..).zip(rule.limits()) {
            tell(of_limit(number, OfLimit::Accepted), &limit.name, "accepted");
            tell(of_limit(number, OfLimit::Refused), &limit.name, refusal(domain.shadow || limit.shadow));
        }
        for (what, outcome) in [
            (OfRule::OverrideAccepted, "accepted"),
            (OfRule::OverrideRefused, refusal(domain.shadow)),
            (OfRule::ShadowOverrideAccepted, "accepted"),
            (OfRule::ShadowOverrideRefused, refusal(true)),
        ] {
            tell(self.of_rule(rule, what), OVERRIDE, outcome);
        }
        tell(self.of_rule(rule, OfRule::Blocked), "", refusal(domain.shadow));
        if let Some(count) = cells.take(self.of_rule(rule, OfRule::WithoutLimit)) {
            if rule.id == domain.request_rule.id {
                tally.add_unmatched(&domain.name, source.name(), count);
            } else {
                let outcome = without_limit(rule.action, domain.shadow);
                tally.add(domain, rule, Series { limit: "", outcome, source: source.name() }, count);
            }
        }
        if let Some(count) = cells.take(self.of_rule(rule, OfRule::BlockStarted)) {
            tally.add_blocks_started(domain, rule, count);
        }
    }

    /// Counts what became of every descriptor of a request that was decided on `core`; returns whether no rule was about
    /// some of them.
    pub fn count(
        &self,
        core: usize,
        source: Source,
        domain: Option<&Domain>,
        found: &[Found<'_>],
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) -> bool {
        let Some(domain) = domain else {
            self.unknown_domain.fetch_add(found.len() as u64, Relaxed);
            return true;
        };
        let cells = &self.cells[source as usize];
        let mut unmatched = false;
        for (descriptor, (found, range)) in found.iter().zip(&plan.of_descriptor).enumerate() {
            if !verdicts.gates.is_empty() && self.blocks((cells, core), descriptor, found, plan, verdicts) {
                continue;
            }
            let Some(matched) = &found.matched else {
                cells.add_one(core, self.of_rule(&domain.request_rule, OfRule::WithoutLimit));
                unmatched = true;
                continue;
            };
            let rule = matched.rule;
            for index in range.start as usize..range.end as usize {
                let fits = verdicts.list[index].fits;
                // A limit that had room on a request that another refused neither accepted nor refused anything.
                if !fits || !verdicts.refused {
                    cells.add_one(core, self.of_window(domain, rule, &plan.charges.list[index], fits));
                }
            }
            if range.is_empty() && (!plan.exempt || rule.action == Action::Exempt) {
                cells.add_one(core, self.of_rule(rule, OfRule::WithoutLimit));
            }
        }
        unmatched
    }

    /// Writes a line about a request that was refused on `core`, if it is time for one.
    pub fn log_refusal(&self, core: usize, source: Source, decision: &Decision<'_>) {
        if let Some(answer) = &decision.answer {
            let lines = &self.telemetry.refusal_lines;
            self.refusals.note(lines, core, decision.now, decision.domain, answer, source.name());
        }
    }

    /// Counts what blocks did to a descriptor, or it to them; returns whether it was blocked.
    fn blocks(
        &self,
        (cells, core): (&Cells, usize),
        descriptor: usize,
        found: &Found<'_>,
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) -> bool {
        let matched = found.matched.as_ref().map(|matched| matched.rule);
        if let Some(blocked) = plan.blocked(verdicts, descriptor) {
            let rule = matched.unwrap_or(blocked.rule);
            cells.add_one(core, self.of_rule(rule, OfRule::Blocked));
            return true;
        }
        let started = plan.gates_of(verdicts, descriptor).any(|(_, gate)| matches!(gate, GateVerdict::Started(_)));
        if let (true, Some(rule)) = (started, matched) {
            cells.add_one(core, self.of_rule(rule, OfRule::BlockStarted));
        }
        false
    }

    /// The number of what a window decided.
    fn of_window(&self, domain: &Domain, rule: &Rule, charge: &Charge<'_>, fits: bool) -> usize {
        // A limit that came with the request has one number, whichever rule it replaced. Those of orders are told by
        // their rule alone: names that people make up on the way are no labels.
        match (charge.group == domain.override_limit, charge.role == Role::Shadow, fits) {
            (false, _, true) => of_limit(charge.group, OfLimit::Accepted),
            (false, _, false) => of_limit(charge.group, OfLimit::Refused),
            (true, false, true) => self.of_rule(rule, OfRule::OverrideAccepted),
            (true, false, false) => self.of_rule(rule, OfRule::OverrideRefused),
            (true, true, true) => self.of_rule(rule, OfRule::ShadowOverrideAccepted),
            (true, true, false) => self.of_rule(rule, OfRule::ShadowOverrideRefused),
        }
    }

    fn of_rule(&self, rule: &Rule, what: OfRule) -> usize {
        self.rules_from + rule.id as usize * PER_RULE + what as usize
    }
}

fn of_limit(number: u32, what: OfLimit) -> usize {
    number as usize * PER_LIMIT + what as usize
}

fn all_rules(rules: &Rules) -> impl Iterator<Item = (&Domain, &Rule)> {
    rules.domains.values().flat_map(|domain| domain.rules.iter().map(move |rule| (domain, rule)))
}

/// What a limit does to whom it has no room for.
const fn refusal(shadow: bool) -> &'static str {
    if shadow { "would-be-refused" } else { "refused" }
}

/// What becomes of a descriptor whose rule has no limit that decides.
const fn without_limit(action: Action, shadow: bool) -> &'static str {
    match action {
        Action::Exempt => "exempt",
        Action::Deny => refusal(shadow),
        Action::Limits | Action::Open | Action::Unlimited => "accepted",
    }
}
