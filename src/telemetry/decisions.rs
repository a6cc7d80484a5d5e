//! Decisions by domain, rule, limit and outcome.

use std::sync::Arc;

use metrics::Counter;

use super::{
    Telemetry,
    cells::Cells,
    metrics::{BLOCKS_STARTED, DECISIONS},
};
use crate::{
    charge::{Charge, GateVerdict, Role, Verdicts},
    decision::Plan,
    rules::{Action, Domain, Rule, Rules, find::Found},
};

/// Rule sets of up to so many limits have all their series from the start, so that a first refusal is an increase and
/// not a new series; in larger ones a series appears with its first decision, or a scrape would carry megabytes of
/// zeros.
const EAGER_LIMITS: u32 = 500;

/// The domain of series about requests whose domain no file names: their own text may be anything.
const UNKNOWN_DOMAIN: &str = "_unknown";

/// The limit of series about all windows of all overrides.
const OVERRIDE: &str = "_override";

/// The cells of one generation of rules. A series keeps counting over reloads: its labels name it.
///
/// A decision adds to plain numbers of its core; what they came to is [told](Self::tell) to the series before
/// anybody reads those. A handle of a series would be three pointers to follow, each into memory that no cache has
/// where there are a hundred thousand of them, and two of them made for every limit at its first decision.
#[derive(Debug)]
pub struct Decisions {
    telemetry: Arc<Telemetry>,
    cells: Cells,
    /// The first number of a rule's: those of limits stand before.
    rules_from: usize,
    unknown_domain: Counter,
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
    /// Cells for `rules`.
    pub fn new(telemetry: Arc<Telemetry>, rules: &Rules) -> Self {
        let unknown_domain = telemetry.counter(&DECISIONS, &labels(UNKNOWN_DOMAIN, "", "", "unmatched"));
        let rules_from = rules.limit_count as usize * PER_LIMIT;
        let cells = Cells::new(telemetry.cores(), rules_from + rules.rule_count as usize * PER_RULE);
        let decisions = Self { telemetry, cells, rules_from, unknown_domain };
        if rules.limit_count <= EAGER_LIMITS {
            for domain in rules.domains.values() {
                for rule in &domain.rules {
                    for limit in rule.limits() {
                        for outcome in ["accepted", refusal(limit.shadow)] {
                            decisions.series(&labels(&domain.name, &rule.name, &limit.name, outcome)).increment(0);
                        }
                    }
                }
            }
        }
        decisions
    }

    /// Adds to the series what was counted since the last time; `rules` are those that the cells are for.
    pub fn tell(&self, rules: &Rules) {
        for domain in rules.domains.values() {
            for rule in domain.rules.iter().chain([&domain.request_rule]) {
                self.tell_rule(domain, rule);
            }
        }
    }

    fn tell_rule(&self, domain: &Domain, rule: &Rule) {
        let tell = |number: usize, name: &str, limit: &str, outcome: &str| {
            if let Some(count) = self.cells.take(number) {
                self.series(&labels(&domain.name, name, limit, outcome)).increment(count);
            }
        };
        for (number, limit) in (rule.first_limit..).zip(rule.limits()) {
            tell(of_limit(number, OfLimit::Accepted), &rule.name, &limit.name, "accepted");
            tell(of_limit(number, OfLimit::Refused), &rule.name, &limit.name, refusal(limit.shadow));
        }
        for (what, outcome) in [
            (OfRule::OverrideAccepted, "accepted"),
            (OfRule::OverrideRefused, refusal(false)),
            (OfRule::ShadowOverrideAccepted, "accepted"),
            (OfRule::ShadowOverrideRefused, refusal(true)),
        ] {
            tell(self.of_rule(rule, what), &rule.name, OVERRIDE, outcome);
        }
        let unmatched = rule.id == domain.request_rule.id;
        let (name, outcome) = if unmatched { ("", "unmatched") } else { (&*rule.name, without_limit(rule.action)) };
        tell(self.of_rule(rule, OfRule::WithoutLimit), name, "", outcome);
        tell(self.of_rule(rule, OfRule::Blocked), &rule.name, "", "refused");
        if let Some(count) = self.cells.take(self.of_rule(rule, OfRule::BlockStarted)) {
            let labels = [("domain", &*domain.name), ("rule", &*rule.name)];
            self.telemetry.counter(&BLOCKS_STARTED, &labels).increment(count);
        }
    }

    fn series(&self, labels: &[(&'static str, &str)]) -> Counter {
        self.telemetry.counter(&DECISIONS, labels)
    }

    /// Counts what became of every descriptor of a request that was decided on `core`.
    pub fn count(
        &self,
        core: usize,
        domain: Option<&Domain>,
        found: &[Found<'_>],
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) {
        let Some(domain) = domain else {
            self.unknown_domain.increment(found.len() as u64);
            return;
        };
        for (descriptor, (found, range)) in found.iter().zip(&plan.of_descriptor).enumerate() {
            if !verdicts.gates.is_empty() && self.blocks(core, descriptor, found, plan, verdicts) {
                continue;
            }
            let Some(matched) = &found.matched else {
                self.cells.add_one(core, self.of_rule(&domain.request_rule, OfRule::WithoutLimit));
                continue;
            };
            let rule = matched.rule;
            for index in range.start as usize..range.end as usize {
                let fits = verdicts.list[index].fits;
                // A limit that had room on a request that another refused neither accepted nor refused anything.
                if !fits || !verdicts.refused {
                    self.cells.add_one(core, self.of_window(domain, rule, &plan.charges.list[index], fits));
                }
            }
            if range.is_empty() && (!plan.exempt || rule.action == Action::Exempt) {
                self.cells.add_one(core, self.of_rule(rule, OfRule::WithoutLimit));
            }
        }
    }

    /// Counts what blocks did to a descriptor, or it to them; returns whether it was blocked.
    fn blocks(&self, core: usize, descriptor: usize, found: &Found<'_>, plan: &Plan<'_>, verdicts: &Verdicts) -> bool {
        let matched = found.matched.as_ref().map(|matched| matched.rule);
        if let Some(blocked) = plan.blocked(verdicts, descriptor) {
            let rule = matched.unwrap_or(blocked.rule);
            self.cells.add_one(core, self.of_rule(rule, OfRule::Blocked));
            return true;
        }
        let started = plan.gates_of(verdicts, descriptor).any(|(_, gate)| matches!(gate, GateVerdict::Started(_)));
        if let (true, Some(rule)) = (started, matched) {
            self.cells.add_one(core, self.of_rule(rule, OfRule::BlockStarted));
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

/// What a limit does to whom it has no room for.
const fn refusal(shadow: bool) -> &'static str {
    if shadow { "would-be-refused" } else { "refused" }
}

/// What becomes of a descriptor whose rule has no limit that decides.
const fn without_limit(action: Action) -> &'static str {
    match action {
        Action::Exempt => "exempt",
        Action::Deny => "refused",
        Action::Limits | Action::Open | Action::Unlimited => "accepted",
    }
}

fn labels<'a>(domain: &'a str, rule: &'a str, limit: &'a str, outcome: &'a str) -> [(&'static str, &'a str); 4] {
    [("domain", domain), ("rule", rule), ("limit", limit), ("outcome", outcome)]
}
