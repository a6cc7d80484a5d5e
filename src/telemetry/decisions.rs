//! Decisions by domain, rule, limit and outcome.

use std::sync::{Arc, OnceLock};

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
#[derive(Debug)]
pub struct Decisions {
    telemetry: Arc<Telemetry>,
    /// By the limits' numbers.
    limits: Box<[Cells]>,
    /// By the rules' numbers: what is decided by an order's limits in the place of a rule's.
    overrides: Box<[Cells]>,
    /// Likewise: what is decided without a limit.
    rules: Box<[OnceLock<Counter>]>,
    /// Likewise: what a block refused, and what started one.
    blocks: Box<[BlockCells]>,
    unknown_domain: Counter,
}

/// The cells of one limit.
#[derive(Debug, Default)]
struct Cells {
    accepted: OnceLock<Counter>,
    /// Would-be-refused for shadow limits.
    refused: OnceLock<Counter>,
}

/// The cells of one rule's blocks.
#[derive(Debug, Default)]
struct BlockCells {
    refused: OnceLock<Counter>,
    started: OnceLock<Counter>,
}

impl Decisions {
    /// Cells for `rules`.
    pub fn new(telemetry: Arc<Telemetry>, rules: &Rules) -> Self {
        let unknown_domain = telemetry.counter(&DECISIONS, &labels(UNKNOWN_DOMAIN, "", "", "unmatched"));
        let decisions = Self {
            telemetry,
            limits: (0..rules.limit_count).map(|_| Cells::default()).collect(),
            overrides: (0..rules.rule_count).map(|_| Cells::default()).collect(),
            rules: (0..rules.rule_count).map(|_| OnceLock::new()).collect(),
            blocks: (0..rules.rule_count).map(|_| BlockCells::default()).collect(),
            unknown_domain,
        };
        if rules.limit_count <= EAGER_LIMITS {
            for domain in rules.domains.values() {
                for rule in &domain.rules {
                    for limit in &rule.limits {
                        decisions.of_limit(domain, rule, limit, true);
                        decisions.of_limit(domain, rule, limit, false);
                    }
                }
            }
        }
        decisions
    }

    /// Counts what became of every descriptor of a request.
    pub fn count(&self, domain: Option<&Domain>, found: &[Found<'_>], plan: &Plan<'_>, verdicts: &Verdicts) {
        let Some(domain) = domain else {
            self.unknown_domain.increment(found.len() as u64);
            return;
        };
        for (descriptor, (found, range)) in found.iter().zip(&plan.of_descriptor).enumerate() {
            if !verdicts.gates.is_empty() && self.blocks(domain, descriptor, found, plan, verdicts) {
                continue;
            }
            let Some(matched) = &found.matched else {
                self.without_limit(domain, &domain.request_rule, "", "unmatched");
                continue;
            };
            let rule = matched.rule;
            for index in range.start as usize..range.end as usize {
                let (fits, shadow) = (verdicts.list[index].fits, plan.charges.list[index].role == Role::Shadow);
                // A limit that had room on a request that another refused neither accepted nor refused anything.
                if !fits || !verdicts.refused {
                    debug_assert_eq!(shadow, plan.limits[index].shadow);
                    self.of_limit(domain, rule, plan.limits[index], fits).increment(1);
                }
            }
            if range.is_empty() {
                let outcome = match rule.action {
                    _ if plan.exempt && rule.action != Action::Exempt => continue,
                    Action::Exempt => "exempt",
                    Action::Deny => "refused",
                    Action::Limits | Action::Open | Action::Unlimited => "accepted",
                };
                self.without_limit(domain, rule, &rule.name, outcome);
            }
        }
    }

    /// Counts what blocks did to a descriptor, or it to them; returns whether it was blocked.
    fn blocks(
        &self,
        domain: &Domain,
        descriptor: usize,
        found: &Found<'_>,
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) -> bool {
        let matched = found.matched.as_ref().map(|matched| matched.rule);
        if let Some(blocked) = plan.blocked(verdicts, descriptor) {
            let rule = matched.unwrap_or(blocked.rule);
            let cell = &self.blocks[rule.id as usize].refused;
            let labels = labels(&domain.name, &rule.name, "", "refused");
            cell.get_or_init(|| self.telemetry.counter(&DECISIONS, &labels)).increment(1);
            return true;
        }
        let started = plan.gates_of(verdicts, descriptor).any(|(_, gate)| matches!(gate, GateVerdict::Started(_)));
        if let (true, Some(rule)) = (started, matched) {
            let cell = &self.blocks[rule.id as usize].started;
            let labels = [("domain", &*domain.name), ("rule", &*rule.name)];
            cell.get_or_init(|| self.telemetry.counter(&BLOCKS_STARTED, &labels)).increment(1);
        }
        false
    }

    fn of_limit(&self, domain: &Domain, rule: &Rule, limit: &RuleLimit, fits: bool) -> &Counter {
        // A limit that came with the request has one cell, whichever rule it replaced.
        let of_request = domain.request_rule.limits.iter().any(|own| own.id == limit.id);
        let rule = if of_request { &domain.request_rule } else { rule };
        // Those of orders are told by their rule alone: names that people make up on the way are no labels.
        let of_order = limit.id == domain.override_limit;
        let (cells, name) = if of_order {
            (&self.overrides[rule.id as usize], OVERRIDE)
        } else {
            (&self.limits[limit.id as usize], &*limit.name)
        };
        let (cell, outcome) = match (fits, limit.shadow) {
            (true, _) => (&cells.accepted, "accepted"),
            (false, false) => (&cells.refused, "refused"),
            (false, true) => (&cells.refused, "would-be-refused"),
        };
        cell.get_or_init(|| self.telemetry.counter(&DECISIONS, &labels(&domain.name, &rule.name, name, outcome)))
    }

    fn without_limit(&self, domain: &Domain, rule: &Rule, name: &str, outcome: &'static str) {
        let cell = &self.rules[rule.id as usize];
        cell.get_or_init(|| self.telemetry.counter(&DECISIONS, &labels(&domain.name, name, "", outcome))).increment(1);
    }
}

fn labels<'a>(domain: &'a str, rule: &'a str, limit: &'a str, outcome: &'a str) -> [(&'static str, &'a str); 4] {
    [("domain", domain), ("rule", rule), ("limit", limit), ("outcome", outcome)]
}
