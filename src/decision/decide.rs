//! From verdicts to a decision: each descriptor's status, and the rule that answers for all.

use std::cmp::{Ordering, Reverse};

use smallvec::SmallVec;

use super::{
    Answer, Decision, Figure, Status,
    plan::{Plan, acts},
};
use crate::{
    charge::{Role, Verdict, Verdicts, Way},
    limit::Wait,
    rules::{Action, Domain, Expose, Match, Report, Rule, find::Found},
    units::{Nanos, Timestamp},
};

/// Decides one request from what became of its charges.
pub fn decide<'p>(
    now: Timestamp,
    domain: Option<&'p Domain>,
    found: &'p [Found<'p>],
    plan: &Plan<'p>,
    verdicts: &Verdicts,
) -> Decision<'p> {
    let case = Case { now, found, plan, verdicts };
    let outcomes: SmallVec<[Outcome; 4]> = (0..found.len()).map(|descriptor| case.outcome(descriptor)).collect();
    let statuses = outcomes.iter().enumerate().map(|(descriptor, outcome)| case.status(descriptor, outcome)).collect();
    let answer = case.answer(&outcomes);
    let refused = verdicts.refused && !domain.is_some_and(|domain| domain.shadow);
    Decision { now, domain, refused, statuses, answer }
}

/// Everything that is known about one request.
struct Case<'c, 'p> {
    now: Timestamp,
    found: &'p [Found<'p>],
    plan: &'c Plan<'p>,
    verdicts: &'c Verdicts,
}

/// What became of one descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    refused: bool,
    /// Refused without a counter.
    denied: bool,
    /// The charge whose window it reports.
    reported: Option<usize>,
    /// A block stood in its way.
    blocked: bool,
    /// How long it had to wait alone; `None` unless it is refused.
    wait: Wait,
}

impl<'p> Case<'_, 'p> {
    fn matched(&self, descriptor: usize) -> Option<&'p Match<'p>> {
        self.found[descriptor].matched.as_ref()
    }

    /// The rule that speaks for a descriptor: the one it matches, or the one at which it is blocked.
    fn rule(&self, descriptor: usize) -> Option<&'p Rule> {
        let matched = self.matched(descriptor).map(|matched| matched.rule);
        matched.or_else(|| self.plan.blocked(self.verdicts, descriptor).map(|blocked| blocked.rule))
    }

    /// The charges of a descriptor that clients may know of. `count_denied` shows shadow rules, as
    /// envoyproxy/ratelimit does.
    fn visible(&self, descriptor: usize) -> impl Iterator<Item = usize> + Clone {
        self.charges(descriptor).filter(|&index| self.role(index) != Role::Shadow || self.each_alone())
    }

    fn charges(&self, descriptor: usize) -> impl Iterator<Item = usize> + Clone + use<'p> {
        let range = &self.plan.of_descriptor[descriptor];
        range.start as usize..range.end as usize
    }

    fn is_quota(&self, descriptor: usize) -> bool {
        self.charges(descriptor).any(|index| self.role(index) == Role::Quota)
    }

    fn each_alone(&self) -> bool {
        self.plan.charges.way == Way::EachAlone
    }

    fn role(&self, index: usize) -> Role {
        self.plan.charges.list[index].role
    }

    fn verdict(&self, index: usize) -> &Verdict {
        &self.verdicts.list[index]
    }

    fn outcome(&self, descriptor: usize) -> Outcome {
        let mut outcome = self.outcome_unblocked(descriptor);
        let started = self.plan.gates_of(self.verdicts, descriptor).map(|(_, gate)| gate.rest()).max();
        outcome.blocked = self.plan.blocked(self.verdicts, descriptor).is_some();
        outcome.refused |= outcome.blocked;
        if let Some(rest) = started.filter(|rest| *rest > Nanos::ZERO) {
            // The limits must have room, too, when the block is over.
            outcome.wait = outcome.wait.max(Wait::For(rest));
        }
        outcome
    }

    /// What its rule and its limits alone make of a descriptor.
    fn outcome_unblocked(&self, descriptor: usize) -> Outcome {
        let Some(matched) = self.matched(descriptor) else { return Outcome::default() };
        if acts(matched, Action::Deny) && !self.plan.exempt {
            return Outcome { refused: true, denied: true, ..Outcome::default() };
        }
        let refusing = |&index: &usize| self.role(index) != Role::Shadow && !self.verdict(index).fits;
        let worst = longest_wait(self.visible(descriptor).filter(refusing), |index| self.verdict(index).wait);
        if let Some(worst) = worst {
            return Outcome {
                refused: true,
                reported: Some(worst),
                wait: self.verdict(worst).wait,
                ..Outcome::default()
            };
        }
        let reported = match matched.rule.report {
            Report::First => self.visible(descriptor).next(),
            Report::Nearest => self.nearest(self.visible(descriptor)),
        };
        Outcome { reported, ..Outcome::default() }
    }

    /// The first of `charges` whose limit has the smallest share left.
    fn nearest(&self, charges: impl Iterator<Item = usize>) -> Option<usize> {
        charges.reduce(|nearest, next| if self.compare_share(next, nearest).is_lt() { next } else { nearest })
    }

    fn compare_share(&self, one: usize, other: usize) -> Ordering {
        let share = |index: usize| {
            let available = self.verdict(index).standing.available;
            (u128::from(available), u128::from(self.plan.limits[index].limit.capacity()))
        };
        let ((left, of), (other_left, other_of)) = (share(one), share(other));
        // left / of against other_left / other_of; a limit of 0 has nothing left.
        (left * other_of.max(1)).cmp(&(other_left * of.max(1)))
    }

    fn status(&self, descriptor: usize, outcome: &Outcome) -> Status<'p> {
        let matched = self.matched(descriptor);
        let unlimited = matched.is_some_and(|matched| acts(matched, Action::Unlimited));
        Status {
            refused: outcome.refused,
            figure: outcome.reported.map(|index| self.reported_figure(index, outcome)),
            exposed: self.rule(descriptor).is_none_or(|rule| rule.expose != Expose::Never),
            unlimited: unlimited && !self.plan.exempt && !outcome.refused,
            quota: self.is_quota(descriptor),
            met: matched
                .filter(|matched| !matched.limited_by_request && !self.plan.of_descriptor[descriptor].is_empty())
                .map(|matched| matched.rule),
        }
    }

    fn figure(&self, index: usize) -> Figure<'p> {
        Figure::of(self.plan.limits[index], self.verdict(index), self.plan.charges.way, self.now)
    }

    /// The figure that a descriptor reports: of one that is blocked it says so, whatever its window holds.
    fn reported_figure(&self, index: usize, outcome: &Outcome) -> Figure<'p> {
        let mut figure = self.figure(index);
        if outcome.refused && !self.each_alone() {
            figure.refuse(outcome.wait);
        }
        figure
    }

    fn answer(&self, outcomes: &[Outcome]) -> Option<Answer<'p>> {
        if self.plan.exempt && !self.verdicts.refused {
            return self.silent_answer(|matched| matched.rule.action == Action::Exempt);
        }
        let Some(descriptor) = self.answering(outcomes) else {
            return self.shadow_answer().or_else(|| self.silent_answer(|_| true));
        };
        let (rule, outcome) = (self.rule(descriptor)?, &outcomes[descriptor]);
        let exposed = match rule.expose {
            Expose::Always => true,
            Expose::OnDeny => self.verdicts.refused,
            Expose::Never => false,
        };
        let reported = self.visible(descriptor).position(|index| Some(index) == outcome.reported).unwrap_or(0);
        let mut figures: SmallVec<[Figure<'p>; 4]> = self.visible(descriptor).map(|index| self.figure(index)).collect();
        if let (Some(figure), Some(index)) = (figures.get_mut(reported), outcome.reported) {
            *figure = self.reported_figure(index, outcome);
        }
        let mut answer = Answer {
            rule,
            descriptor,
            figures,
            reported,
            exposed,
            retry_after_secs: None,
            never: false,
            blocked: outcome.blocked,
            silent: false,
        };
        if self.verdicts.refused && !self.plan.charges.denied {
            let wait = self.wait();
            answer.never = wait == Wait::Never;
            let window = answer.figure().map_or(Nanos::ZERO, |figure| figure.length);
            let length = match wait {
                Wait::None => Nanos::ZERO,
                Wait::For(length) => length,
                Wait::Never => window,
            };
            answer.retry_after_secs = Some(length.ceil_secs().max(1));
        }
        Some(answer)
    }

    /// The descriptor whose rule answers: of a refused request the refusing one with the longest wait; of an accepted
    /// one that whose reported window has the smallest share left, or the first. Those that hide their figures stand
    /// back where others do not.
    fn answering(&self, outcomes: &[Outcome]) -> Option<usize> {
        let hidden = |descriptor: usize| self.rule(descriptor).is_some_and(|rule| rule.expose == Expose::Never);
        let quota = |descriptor: usize| self.is_quota(descriptor);
        // While one quota descriptor has room, those without do not refuse the request.
        let quota_room = self.plan.charges.quota_met
            || (0..outcomes.len()).any(|descriptor| quota(descriptor) && !outcomes[descriptor].refused);
        let speaks = |descriptor: usize| {
            let outcome = &outcomes[descriptor];
            if self.verdicts.refused {
                outcome.refused && (outcome.blocked || !(quota_room && quota(descriptor)))
            } else {
                outcome.reported.is_some()
            }
        };
        let all = (0..outcomes.len()).filter(|&descriptor| speaks(descriptor));
        let among = |candidates: &mut dyn Iterator<Item = usize>| self.foremost(candidates, outcomes);
        among(&mut all.clone().filter(|&descriptor| !hidden(descriptor))).or_else(|| among(&mut all.clone()))
    }

    fn foremost(&self, candidates: &mut dyn Iterator<Item = usize>, outcomes: &[Outcome]) -> Option<usize> {
        if self.verdicts.refused {
            // Nobody can wait for a denial to end: it goes before every wait.
            let rank = |descriptor: usize| (outcomes[descriptor].denied, outcomes[descriptor].wait);
            return candidates.reduce(|worst, next| if rank(next) > rank(worst) { next } else { worst });
        }
        let first = candidates.next()?;
        if self.matched(first).is_some_and(|matched| matched.rule.report == Report::First) {
            return Some(first);
        }
        let nearer = |one: usize, other: usize| match (outcomes[one].reported, outcomes[other].reported) {
            (Some(one), Some(other)) => self.compare_share(one, other).is_lt(),
            _ => false,
        };
        Some(candidates.fold(first, |nearest, next| if nearer(next, nearest) { next } else { nearest }))
    }

    /// Nobody has anything to say to the client: the first such rule is what operators may know of.
    fn silent_answer(&self, which: impl Fn(&Match<'p>) -> bool) -> Option<Answer<'p>> {
        let first = |descriptor: &usize| self.matched(*descriptor).is_some_and(&which);
        let descriptor = (0..self.found.len()).find(first).filter(|_| !self.verdicts.refused)?;
        Some(Answer {
            rule: self.matched(descriptor)?.rule,
            descriptor,
            figures: SmallVec::new(),
            reported: 0,
            exposed: false,
            retry_after_secs: None,
            never: false,
            blocked: false,
            silent: true,
        })
    }

    /// Only shadow limits matched: operators may know what they would have said.
    fn shadow_answer(&self) -> Option<Answer<'p>> {
        let candidates = || (0..self.found.len()).flat_map(|d| self.charges(d).map(move |index| (d, index)));
        let would_refuse = candidates().find(|&(_, index)| !self.verdict(index).fits);
        let (descriptor, index) = would_refuse.or_else(|| candidates().next())?;
        let answer = self.silent_answer(|_| true)?;
        let figures = SmallVec::from_iter([self.figure(index)]);
        Some(Answer { rule: self.matched(descriptor)?.rule, descriptor, figures, ..answer })
    }

    /// When this same request would pass: every block must be over, all enforced limits have room, and one quota
    /// descriptor.
    fn wait(&self) -> Wait {
        let all = || (0..self.plan.charges.list.len()).map(|index| (self.role(index), self.verdict(index).wait));
        let enforced = all().filter(|(role, _)| matches!(role, Role::Enforced | Role::Overdraw)).map(|(_, wait)| wait);
        let quotas = if self.plan.charges.quota_met { 0 } else { self.found.len() };
        let quota = (0..quotas).filter_map(|descriptor| {
            let waits = self.charges(descriptor).filter(|&index| self.role(index) == Role::Quota);
            waits.map(|index| self.verdict(index).wait).max()
        });
        let blocks = self.verdicts.gates.iter().map(|gate| gate.rest()).filter(|rest| *rest > Nanos::ZERO);
        let blocks = blocks.max().map_or(Wait::None, Wait::For);
        enforced.max().unwrap_or_default().max(quota.min().unwrap_or_default()).max(blocks)
    }
}

/// The first of `charges` with the longest wait.
fn longest_wait(charges: impl Iterator<Item = usize>, wait: impl Fn(usize) -> Wait) -> Option<usize> {
    charges.min_by_key(|&index| Reverse(wait(index)))
}
