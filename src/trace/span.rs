//! One decision that is traced, from the moment its message was there until its answer is written.

use std::{mem::take, sync::Arc, thread};

use super::{
    Tracer,
    context::{SpanId, TraceId},
};
use crate::{
    charge::{Role, Verdicts},
    clock::Stopwatch,
    decision::{Decision, Plan},
    rules::Action,
    telemetry::tally::UNKNOWN_DOMAIN,
    units::{Nanos, Timestamp},
};

/// A decision under way. It is told when it is dropped, however it ended: answered, panicked, or given up because nobody
/// waits for it any more.
#[derive(Debug)]
pub struct Span {
    record: Record,
    /// Runs since it [began](Span::begins).
    stopwatch: Option<Stopwatch>,
    tracer: Arc<Tracer>,
}

/// What is told of a decision.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) door: Door,
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// The number that the charge has as a span of its own.
    pub(super) charge_span: SpanId,
    /// None: it begins a trace.
    pub(super) parent: Option<SpanId>,
    pub(super) began: Timestamp,
    /// When it was over, and when its charge began and ended: so long after it began.
    pub(super) took: Nanos,
    pub(super) charge_began: Option<Nanos>,
    pub(super) charge_ended: Option<Nanos>,
    pub(super) descriptors: usize,
    pub(super) fate: Fate,
}

/// What a request came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Grpc,
    Json,
}

/// What became of a decision.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Fate {
    /// Nobody waited for it any more.
    #[default]
    GivenUp,
    /// Rules were never loaded.
    NoRules,
    Panicked,
    Decided(Decided),
}

/// What was decided, in the words of rule files and of this service, never of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decided {
    pub(super) generation: u64,
    pub(super) domain: Box<str>,
    /// None where no rule answers.
    pub(super) rule: Option<Box<str>>,
    /// The name of the window that answers; none where none does.
    pub(super) limit: Option<Box<str>>,
    pub(super) outcome: &'static str,
    pub(super) source: &'static str,
}

impl Span {
    pub(super) fn new(tracer: Arc<Tracer>, door: Door, trace: TraceId, parent: Option<SpanId>) -> Self {
        let [span, charge_span] = tracer.ids.spans();
        let record = Record { door, trace, span, charge_span, parent, ..Record::default() };
        Self { record, stopwatch: None, tracer }
    }

    /// A request of so many descriptors is there since `at`, when the stopwatch was started. What never comes so far is no
    /// decision, and not told.
    pub fn begins(&mut self, at: Timestamp, stopwatch: Stopwatch, descriptors: usize) {
        (self.record.began, self.record.descriptors) = (at, descriptors);
        self.stopwatch = Some(stopwatch);
        // Whatever rules there are charge something, be it nothing: who does not come so far has none.
        self.record.fate = Fate::NoRules;
    }

    pub fn charge_begins(&mut self) {
        self.record.charge_began = self.elapsed();
        self.record.fate = Fate::GivenUp;
    }

    pub fn charge_ends(&mut self) {
        self.record.charge_ended = self.elapsed();
    }

    /// It was decided by the rules of `generation`, and what they ask was charged by `source`.
    pub fn decided(
        &mut self,
        generation: u64,
        source: &'static str,
        decision: &Decision<'_>,
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) {
        let answer = decision.answer.as_ref();
        self.record.fate = Fate::Decided(Decided {
            generation,
            // What a request calls it may be anything.
            domain: decision.domain.map_or_else(|| UNKNOWN_DOMAIN.into(), |domain| domain.name.clone()),
            rule: answer.map(|answer| (*answer.rule.name).into()),
            limit: answer.and_then(|answer| answer.figure()).map(|figure| (*figure.limit.name).into()),
            outcome: outcome(decision, plan, verdicts),
            source,
        });
    }

    fn elapsed(&self) -> Option<Nanos> {
        self.stopwatch.map(Stopwatch::elapsed)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(took) = self.elapsed() else { return };
        let mut record = take(&mut self.record);
        record.took = took;
        if thread::panicking() {
            record.fate = Fate::Panicked;
        }
        self.tracer.tell(record);
    }
}

/// What became of a request as a whole, in the words of the metric of decisions, which counts descriptors.
fn outcome(decision: &Decision<'_>, plan: &Plan<'_>, verdicts: &Verdicts) -> &'static str {
    let mut charges = plan.charges.list.iter().zip(&verdicts.list);
    match &decision.answer {
        _ if decision.refused => "refused",
        _ if verdicts.refused => "would-be-refused",
        _ if charges.any(|(charge, verdict)| charge.role == Role::Shadow && !verdict.fits) => "would-be-refused",
        None => "unmatched",
        Some(answer) if answer.silent && answer.rule.action == Action::Exempt => "exempt",
        Some(_) => "accepted",
    }
}
