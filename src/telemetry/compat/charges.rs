//! What requests asked of limits and what became of it, by the labels of their rules.
//!
//! As [`Decisions`](crate::telemetry::decisions::Decisions) do, decisions add to plain numbers of their core, which are told
//! to the series before anybody reads those.

use std::{ops::Range, sync::Arc};

use super::{
    Compat,
    added::Added,
    label::RuleLabels,
    metrics::{NEAR_LIMIT, OVER_LIMIT, OVER_LIMIT_WITH_LOCAL_CACHE, SHADOW_MODE, TOTAL_HITS, WITHIN_LIMIT},
    series::Labels,
};
use crate::{
    charge::{Role, Verdicts, Way},
    decision::Plan,
    request::{Ask, Request},
    rules::{Domain, Rules, find::Found},
    telemetry::{Telemetry, cells::Cells, metrics::Metric},
};

/// Rule sets of up to so many rules have their series from the start, so that a first refusal is an increase and not a
/// new series; in larger ones they appear with their first hits, or a scrape would carry megabytes of zeros.
const EAGER_RULES: u32 = 500;

/// What is counted of a rule or of a value, in the order of its numbers.
const COUNTED: [&Metric; 6] =
    [&TOTAL_HITS, &WITHIN_LIMIT, &NEAR_LIMIT, &OVER_LIMIT, &SHADOW_MODE, &OVER_LIMIT_WITH_LOCAL_CACHE];
/// Numbers of each, so that they lie in one line of the cache.
pub(super) const NUMBERS: usize = 8;

/// The numbers of one generation of rules. A series keeps counting over reloads: its labels name it.
#[derive(Debug)]
pub struct Charges {
    telemetry: Arc<Telemetry>,
    /// By [`Rule::id`](crate::rules::Rule::id).
    labels: Box<[RuleLabels]>,
    cells: Cells,
}

/// A request, and what became of its charges.
#[derive(Clone, Copy, Debug)]
pub struct Charged<'a, 'p, 'r> {
    pub core: usize,
    /// None where no rule file names the request's domain.
    pub domain: Option<&'a Domain>,
    pub request: &'a Request<'r>,
    pub found: &'a [Found<'p>],
    pub plan: &'a Plan<'p>,
    pub verdicts: &'a Verdicts,
    /// A refusal that was repeated without asking the store beyond this process.
    pub repeated: bool,
    /// Decided here because that store did not answer.
    pub alone: bool,
}

impl Charges {
    /// Numbers for `rules`, whose labels are these by [`Rule::id`](crate::rules::Rule::id); None unless
    /// [they are spoken](Telemetry::speak_compat).
    pub fn new(telemetry: &Arc<Telemetry>, rules: &Rules, labels: Vec<RuleLabels>) -> Option<Self> {
        telemetry.compat()?;
        let cells = Cells::new(telemetry.cores(), labels.len() * NUMBERS);
        let charges = Self { telemetry: Arc::clone(telemetry), labels: labels.into(), cells };
        if rules.rule_count <= EAGER_RULES {
            charges.begin(rules);
        }
        Some(charges)
    }

    /// Makes the series of all rules that refuse, but for what many never have: shadows, a store that is shared.
    fn begin(&self, rules: &Rules) {
        for domain in rules.domains.values() {
            for rule in domain.rules.iter().filter(|rule| !rule.limits().is_empty()) {
                let Some(labels) = self.labels.get(rule.id as usize) else { continue };
                let labels = Labels::of(&domain.name, &labels.by_rule());
                let is_shadow = rule.limits().iter().any(|limit| limit.shadow);
                for metric in &COUNTED[..if is_shadow { 5 } else { 4 }] {
                    self.telemetry.counter(metric, &labels.pairs()).increment(0);
                }
            }
        }
    }

    /// Counts what became of every descriptor of a request.
    #[cold] // to who has none of this it is not there; who has it pays for a jump
    pub fn count(&self, charged: &Charged<'_, '_, '_>) {
        let Some(compat) = self.telemetry.compat() else { return };
        if charged.alone {
            compat.redis_errors.increment(1);
        }
        let Some(domain) = charged.domain else {
            compat.domain_not_found.increment(charged.found.len() as u64);
            return;
        };
        if charged.verdicts.refused && domain.shadow {
            compat.shadowed.increment(1);
        }
        for descriptor in 0..charged.found.len() {
            if let Some(numbers) = charged.numbers(compat, descriptor) {
                self.add(compat, domain, charged, descriptor, &numbers);
            }
        }
    }

    /// Adds what a descriptor comes to, by the labels that its rule has for it.
    fn add(
        &self,
        compat: &Compat,
        domain: &Domain,
        charged: &Charged<'_, '_, '_>,
        descriptor: usize,
        numbers: &Numbers,
    ) {
        let Some(matched) = &charged.found[descriptor].matched else { return };
        let id = matched.rule.id as usize;
        let Some(labels) = self.labels.get(id) else { return };
        let entries = charged.request.entries_of(&charged.request.descriptors[descriptor]);
        let place =
            labels.by_value(matched, entries).and_then(|parts| compat.place(charged.core, &domain.name, &parts));
        match place {
            Some(place) => numbers.add_to(&compat.cells, charged.core, place),
            None => numbers.add_to(&self.cells, charged.core, id),
        }
    }

    /// Adds to the series what was counted since the last time; `rules` are those that the numbers are for.
    pub fn tell(&self, rules: &Rules) {
        for domain in rules.domains.values() {
            for rule in domain.rules.iter().chain([&domain.request_rule]) {
                if let Some(labels) = self.labels.get(rule.id as usize) {
                    let labels = || Labels::of(&domain.name, &labels.by_rule());
                    tell(&self.telemetry, &self.cells, rule.id as usize, labels);
                }
            }
        }
    }
}

/// Adds what came to one `place` of `cells` to its series.
pub(super) fn tell(telemetry: &Telemetry, cells: &Cells, place: usize, labels: impl Fn() -> Labels) {
    let counted = COUNTED.iter().zip(place * NUMBERS..);
    let told = counted.filter_map(|(metric, number)| Some((metric, cells.take(number)?)));
    for (metric, count) in told {
        telemetry.counter(metric, &labels().pairs()).increment(count);
    }
}

/// What one descriptor comes to, in the order of [`COUNTED`].
struct Numbers([u64; COUNTED.len()]);

impl Numbers {
    fn add_to(&self, cells: &Cells, core: usize, place: usize) {
        for (number, &count) in (place * NUMBERS..).zip(&self.0) {
            if count > 0 {
                cells.add(core, number, count);
            }
        }
    }
}

impl Charged<'_, '_, '_> {
    /// What a descriptor comes to; None where no limit was asked for hits: a look and a refund are none.
    fn numbers(&self, compat: &Compat, descriptor: usize) -> Option<Numbers> {
        let range = self.plan.of_descriptor.get(descriptor).filter(|range| !range.is_empty())?;
        let Ask::Take(hits) = self.request.ask_of(&self.request.descriptors[descriptor]) else { return None };
        // Where nobody can be blocked there are no verdicts on blocks.
        let blocked = !self.verdicts.gates.is_empty() && self.plan.blocked(self.verdicts, descriptor).is_some();
        let (added, shadowed) = if blocked {
            (Added::refused(hits), 0)
        } else {
            self.windows(compat, range.start as usize..range.end as usize, hits)
        };
        let Added { over, near, within } = added;
        Some(Numbers([hits, within, near, over, shadowed, if self.repeated { over } else { 0 }]))
    }

    /// What the hits of one descriptor came to, counted once: in the window that is over, or the nearest; and how many of
    /// them only a shadow would have refused. Shadows beside windows that refuse are no more than that.
    fn windows(&self, compat: &Compat, windows: Range<usize>, hits: u64) -> (Added, u64) {
        let (mut refusing, mut shadow) = (None, None);
        for index in windows {
            let one = if self.plan.charges.list[index].role == Role::Shadow { &mut shadow } else { &mut refusing };
            *one = (*one).max(Some(self.added(compat, index, hits)));
        }
        (refusing.or(shadow).unwrap_or_default(), shadow.unwrap_or_default().over)
    }

    /// What the hits of one window came to.
    fn added(&self, compat: &Compat, index: usize, hits: u64) -> Added {
        let (limit, verdict) = (self.plan.charges.list[index].limit.capacity(), &self.verdicts.list[index]);
        let after = verdict.standing.used;
        match (self.plan.charges.way, verdict.fits) {
            (Way::EachAlone, fits) => compat.near_limit.charged(limit, after, hits, fits),
            (Way::AllOrNone, false) => Added::refused(hits),
            // There was room, but not where another descriptor looked: neither let through nor refused.
            (Way::AllOrNone, true) if self.verdicts.refused => Added::default(),
            (Way::AllOrNone, true) => compat.near_limit.let_through(limit, after, hits),
        }
    }
}
