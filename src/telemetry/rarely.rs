//! What may happen at any rate, and is told in the log once in a while.

use std::{mem::take, time::Duration};

use tokio::time::Instant;

/// When it was last told, and how often it happened since.
#[derive(Debug, Default)]
pub(super) struct Rarely {
    last: Option<Instant>,
    untold: u64,
}

impl Rarely {
    /// It happened: how many were not told before it, if it is time to tell one, so long after the last.
    pub(super) fn untold_at(&mut self, now: Instant, apart: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + apart) {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{HANDSHAKE_FAILURES_TOLD_APART, TRACE_FAILURES_TOLD_APART};

    #[test]
    fn of_many_failures_one_is_told_in_a_while_with_the_number_of_the_others() {
        let (mut told, start, apart) = (Rarely::default(), Instant::now(), HANDSHAKE_FAILURES_TOLD_APART);
        let tenths = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let said: Vec<_> = (0..250).filter_map(|at| Some((at, told.untold_at(tenths(at), apart)?))).collect();
        assert_eq!(said, [(0, 0), (100, 99), (200, 99)]);
    }

    #[test]
    fn of_many_failures_to_export_one_a_minute_is_told() {
        let (mut told, start, apart) = (Rarely::default(), Instant::now(), TRACE_FAILURES_TOLD_APART);
        let at = |secs| start + Duration::from_secs(secs);
        let said: Vec<u64> = (0..150).filter(|secs| told.untold_at(at(*secs), apart).is_some()).collect();
        assert_eq!(said, [0, 60, 120]);
    }
}
