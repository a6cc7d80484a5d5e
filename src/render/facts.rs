//! What can be said about one answer, to templates and header profiles alike.

use super::{text::push_number, time::push_humanized};
use crate::{
    decision::{Answer, Decision, Figure, Status},
    request::{Descriptor, Entry, Request},
    rules::{Domain, Rule},
    units::{Nanos, Timestamp},
};

/// One answer and all that it may say to a client.
///
/// Figures are there only where the rule exposes them: what `expose` hides is hidden from headers and bodies in the
/// same way, as if the rule had no windows.
///
/// Slices instead of the types they come from: those are invariant in their lifetimes, and three lifetimes on every
/// signature would say nothing.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub now: Timestamp,
    pub refused: bool,
    pub retry_after_secs: Option<u64>,
    pub never: bool,
    pub domain: Option<&'a Domain>,
    pub rule: &'a Rule,
    /// All windows of the answering rule that the client may know of.
    pub figures: &'a [Figure<'a>],
    /// The reported one of them.
    pub figure: Option<&'a Figure<'a>>,
    /// Every window of a usage page; none on answers.
    pub windows: &'a [WindowFacts<'a>],
    /// One a descriptor; none where the answering rule exposes nothing.
    pub statuses: &'a [Status<'a>],
    /// The descriptor that the answer is about.
    descriptor: usize,
    descriptors: &'a [Descriptor],
    entries: &'a [Entry<'a>],
}

impl<'a> Facts<'a> {
    pub fn new(decision: &'a Decision<'_>, answer: &'a Answer<'_>, request: &'a Request<'_>) -> Self {
        let (figures, statuses): (&[Figure<'_>], &[Status<'_>]) =
            if answer.exposed { (&answer.figures, &decision.statuses) } else { (&[], &[]) };
        Self {
            now: decision.now,
            refused: decision.refused,
            retry_after_secs: answer.retry_after_secs.filter(|_| decision.refused),
            never: answer.never,
            domain: decision.domain,
            rule: answer.rule,
            figures,
            figure: figures.get(answer.reported),
            windows: &[],
            statuses,
            descriptor: answer.descriptor,
            descriptors: &request.descriptors,
            entries: &request.entries,
        }
    }

    /// What a usage page says: no answer to anything, only how windows stand.
    pub fn of_page(
        now: Timestamp,
        domain: Option<&'a Domain>,
        rule: &'a Rule,
        windows: &'a [WindowFacts<'a>],
        entries: &'a [Entry<'a>],
    ) -> Self {
        Self {
            now,
            refused: false,
            retry_after_secs: None,
            never: false,
            domain,
            rule,
            figures: &[],
            figure: None,
            windows,
            statuses: &[],
            descriptor: 0,
            descriptors: &[],
            entries,
        }
    }

    /// The value of the first entry with this key, in the descriptor that the answer is about, else in any.
    pub fn descriptor_value(&self, key: &[u8]) -> Option<&'a [u8]> {
        let own = self.descriptors.get(self.descriptor).into_iter().flat_map(|own| self.entries_of(own));
        own.chain(self.entries).find(|entry| entry.key == key).map(|entry| entry.value)
    }

    fn entries_of(&self, descriptor: &Descriptor) -> &'a [Entry<'a>] {
        let (first, count) = (descriptor.first_entry as usize, descriptor.entry_count as usize);
        self.entries.get(first..first.saturating_add(count)).unwrap_or_default()
    }

    /// The point in time so many seconds from now, in seconds since the Unix epoch, rounded up.
    pub fn epoch_secs(&self, secs_from_now: u64) -> u64 {
        self.now.plus(Nanos::from_secs(secs_from_now)).ceil_secs()
    }

    /// A sentence for people on a refusal, nothing on acceptance.
    pub fn push_message(&self, out: &mut Vec<u8>) {
        match self.retry_after_secs {
            _ if !self.refused => {}
            _ if self.never => out.extend_from_slice(b"This request asks for more than the limit allows"),
            Some(secs) => {
                out.extend_from_slice(b"Retry after ");
                push_humanized(secs, out);
            }
            None => out.extend_from_slice(b"This request is not allowed"),
        }
    }

    /// Every window as `120;w=60, 4;w=1`. Windows below a second, which `w` cannot say, are left out.
    pub fn push_policies(&self, out: &mut Vec<u8>) {
        let mut separator = "";
        for figure in self.figures {
            if let Some(secs) = window_secs(figure) {
                out.extend_from_slice(separator.as_bytes());
                push_number(limit(figure), out);
                out.extend_from_slice(b";w=");
                push_number(secs, out);
                separator = ", ";
            }
        }
    }

    /// The name of the reported window.
    pub fn window(&self) -> &'a str {
        self.figure.map_or("", |figure| &figure.limit.name)
    }

    pub fn domain_name(&self) -> &'a str {
        self.domain.map_or("", |domain| &domain.name)
    }
}

/// How a window of a usage page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowFacts<'a> {
    pub name: &'a str,
    pub current: u64,
    pub limit: u64,
    pub remaining: u64,
    pub reset_secs: u64,
}

/// The number that a window is said to allow; a token bucket's is its burst.
pub fn limit(figure: &Figure<'_>) -> u64 {
    figure.limit.limit.capacity()
}

/// A window's present length in whole seconds, rounded up; none below one second.
pub fn window_secs(figure: &Figure<'_>) -> Option<u64> {
    (figure.length >= Nanos::SECOND).then(|| figure.length.ceil_secs())
}
