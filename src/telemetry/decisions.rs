//! Decisions by domain, rule, limit and outcome.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use metrics::Counter;

use super::{
    Telemetry,
    metrics::{BLOCKS_STARTED, DECISIONS},
};
use crate::{
    charge::{GateVerdict, Role, Verdicts},
    decision::Plan,
    rules::{Action, Domain, Rule, RuleLimit, Rules, find::Found},
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
/// A decision adds to plain numbers that stand together; what they came to is [told](Self::tell) to the series before
/// anybody reads those. A handle of a series would be three pointers to follow, each into memory that no cache has
/// where there are a hundred thousand of them, and two of them made for every limit at its first decision.
#[derive(Debug)]
pub struct Decisions {
    telemetry: Arc<Telemetry>,
    /// By the limits' numbers.
    limits: Box<[Cells]>,
    /// By the rules' numbers: what is decided by an order's limits in the place of a rule's.
    overrides: Box<[Cells]>,
    /// Likewise, by those of its limits that are shadows.
    shadow_overrides: Box<[Cells]>,
    /// Likewise: what is decided without a limit.
    rules: Box<[Cell]>,
    /// Likewise: what a block refused, and what started one.
    blocks: Box<[BlockCells]>,
    unknown_domain: Counter,
}

/// What was counted and not told yet.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

/// The cells of one limit.
#[derive(Debug, Default)]
struct Cells {
    accepted: Cell,
    /// Would-be-refused for shadow limits.
    refused: Cell,
}

/// The cells of one rule's blocks.
#[derive(Debug, Default)]
struct BlockCells {
    refused: Cell,
    started: Cell,
}

impl Cell {
    fn add_one(&self) {
        // Alone: nobody concludes anything about other memory from a count.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// What is not told yet, for whoever tells it: to be told once.
    fn take(&self) -> Option<u64> {
        // Most are zero, and a look leaves their memory to whoever counts.
        if self.0.load(Ordering::Relaxed) == 0 { None } else { Some(self.0.swap(0, Ordering::Relaxed)) }
    }
}

impl Decisions {
    /// Cells for `rules`.
    pub fn new(telemetry: Arc<Telemetry>, rules: &Rules) -> Self {
        let unknown_domain = telemetry.counter(&DECISIONS, &labels(UNKNOWN_DOMAIN, "", "", "unmatched"));
        let decisions = Self {
            telemetry,
            limits: cells(rules.limit_count),
            overrides: cells(rules.rule_count),
            shadow_overrides: cells(rules.rule_count),
            rules: cells(rules.rule_count),
            blocks: cells(rules.rule_count),
            unknown_domain,
        };
        if rules.limit_count <= EAGER_LIMITS {
            for domain in rules.domains.values() {
                for rule in &domain.rules {
                    for limit in &rule.limits {
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
        let tell = |cell: &Cell, name: &str, limit: &str, outcome: &str| {
            if let Some(count) = cell.take() {
                self.series(&labels(&domain.name, name, limit, outcome)).increment(count);
            }
        };
        let tell_both = |cells: &Cells, limit: &str, shadow: bool| {
            tell(&cells.accepted, &rule.name, limit, "accepted");
            tell(&cells.refused, &rule.name, limit, refusal(shadow));
        };
        for limit in &rule.limits {
            tell_both(&self.limits[limit.id as usize], &limit.name, limit.shadow);
        }
        let place = rule.id as usize;
        tell_both(&self.overrides[place], OVERRIDE, false);
        tell_both(&self.shadow_overrides[place], OVERRIDE, true);
        let unmatched = rule.id == domain.request_rule.id;
        let (name, outcome) = if unmatched { ("", "unmatched") } else { (&*rule.name, without_limit(rule.action)) };
        tell(&self.rules[place], name, "", outcome);
        tell(&self.blocks[place].refused, &rule.name, "", "refused");
        if let Some(count) = self.blocks[place].started.take() {
            let labels = [("domain", &*domain.name), ("rule", &*rule.name)];
            self.telemetry.counter(&BLOCKS_STARTED, &labels).increment(count);
        }
    }

    fn series(&self, labels: &[(&'static str, &str)]) -> Counter {
        self.telemetry.counter(&DECISIONS, labels)
    }

    /// Counts what became of every descriptor of a request.
    pub fn count(&self, domain: Option<&Domain>, found: &[Found<'_>], plan: &Plan<'_>, verdicts: &Verdicts) {
        let Some(domain) = domain else {
            self.unknown_domain.increment(found.len() as u64);
            return;
        };
        for (descriptor, (found, range)) in found.iter().zip(&plan.of_descriptor).enumerate() {
            if !verdicts.gates.is_empty() && self.blocks(descriptor, found, plan, verdicts) {
                continue;
            }
            let Some(matched) = &found.matched else {
                self.rules[domain.request_rule.id as usize].add_one();
                continue;
            };
            let rule = matched.rule;
            for index in range.start as usize..range.end as usize {
                let (fits, shadow) = (verdicts.list[index].fits, plan.charges.list[index].role == Role::Shadow);
                // A limit that had room on a request that another refused neither accepted nor refused anything.
                if !fits || !verdicts.refused {
                    debug_assert_eq!(shadow, plan.limits[index].shadow);
                    self.of_limit(domain, rule, plan.limits[index], fits).add_one();
                }
            }
            if range.is_empty() && (!plan.exempt || rule.action == Action::Exempt) {
                self.rules[rule.id as usize].add_one();
            }
        }
    }

    /// Counts what blocks did to a descriptor, or it to them; returns whether it was blocked.
    fn blocks(&self, descriptor: usize, found: &Found<'_>, plan: &Plan<'_>, verdicts: &Verdicts) -> bool {
        let matched = found.matched.as_ref().map(|matched| matched.rule);
        if let Some(blocked) = plan.blocked(verdicts, descriptor) {
            let rule = matched.unwrap_or(blocked.rule);
            self.blocks[rule.id as usize].refused.add_one();
            return true;
        }
        let started = plan.gates_of(verdicts, descriptor).any(|(_, gate)| matches!(gate, GateVerdict::Started(_)));
        if let (true, Some(rule)) = (started, matched) {
            self.blocks[rule.id as usize].started.add_one();
        }
        false
    }

    fn of_limit(&self, domain: &Domain, rule: &Rule, limit: &RuleLimit, fits: bool) -> &Cell {
        // A limit that came with the request has one cell, whichever rule it replaced. Those of orders are told by
        // their rule alone: names that people make up on the way are no labels.
        let cells = match (limit.id == domain.override_limit, limit.shadow) {
            (false, _) => &self.limits[limit.id as usize],
            (true, false) => &self.overrides[rule.id as usize],
            (true, true) => &self.shadow_overrides[rule.id as usize],
        };
        if fits { &cells.accepted } else { &cells.refused }
    }
}

fn cells<C: Default>(count: u32) -> Box<[C]> {
    (0..count).map(|_| C::default()).collect()
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
