//! A log line about refusals now and then: whom to look at, never whose values. A flood of refusals is no flood of lines.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use tracing::{Level, enabled, info};

use super::cells::Cells;
use crate::{
    bounds::{REFUSAL_LINES_APART_SECS, REFUSAL_LINES_PER_SECOND_MAX},
    decision::Answer,
    rules::Domain,
    units::{Nanos, Timestamp},
};

/// When each rule of one generation was told of, and how often it refused since.
#[derive(Debug)]
pub struct Refusals {
    /// By [`Rule::id`](crate::rules::Rule::id), in seconds since 1970; 0 before the first line.
    told_at: Box<[AtomicU32]>,
    untold: Cells,
}

/// Lines that all rules have written in this second; one for all generations.
#[derive(Debug, Default)]
pub(super) struct Lines(AtomicU64);

impl Refusals {
    pub(super) fn new(cores: usize, rules: u32) -> Self {
        let told_at = (0..rules).map(|_| AtomicU32::new(0)).collect();
        Self { told_at, untold: Cells::new(cores, rules as usize) }
    }

    /// A request was refused on `core`: a line, or one more for the next line of this rule.
    pub(super) fn note(
        &self,
        lines: &Lines,
        core: usize,
        now: Timestamp,
        domain: Option<&Domain>,
        answer: &Answer<'_>,
        source: &'static str,
    ) {
        if !enabled!(Level::INFO) {
            return;
        }
        let rule = answer.rule.id as usize;
        let Some(told_at) = self.told_at.get(rule) else { return };
        self.untold.add_one(core, rule);
        let (second, last) = (second_of(now), told_at.load(Relaxed));
        // A clock that was set back is a long time ahead, so that nobody waits for it to come round.
        let waits = last != 0 && second.wrapping_sub(last) < REFUSAL_LINES_APART_SECS;
        if waits || told_at.compare_exchange(last, second, Relaxed, Relaxed).is_err() || !lines.take(second) {
            return;
        }
        let refused = self.untold.take(rule).unwrap_or(1);
        let (domain, limit) = (domain.map(|domain| &*domain.name), answer.figure().map(|figure| &*figure.limit.name));
        info!(domain, rule = &*answer.rule.name, limit, refused, source, "refused");
    }
}

impl Lines {
    /// Whether there is one more in this second.
    fn take(&self, second: u32) -> bool {
        let second = u64::from(second);
        let more = |packed: u64| {
            let written = if packed >> 32 == second { packed & u64::from(u32::MAX) } else { 0 };
            (written < REFUSAL_LINES_PER_SECOND_MAX).then_some(second << 32 | (written + 1))
        };
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

/// Never 0.
fn second_of(now: Timestamp) -> u32 {
    // Beyond 2106 it begins anew, which is as good: only differences count.
    let second = (now.0 / Nanos::SECOND.0) & u64::from(u32::MAX);
    u32::try_from(second).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_lines_a_second_and_no_more() {
        let lines = Lines::default();
        for second in [7, 8, 6, u32::MAX] {
            let written = (0..100).filter(|_| lines.take(second)).count() as u64;
            assert_eq!(written, REFUSAL_LINES_PER_SECOND_MAX, "{second}");
        }
    }
}
