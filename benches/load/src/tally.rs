//! What came back.

use hdrhistogram::Histogram;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    OverLimit,
    /// A reset, an error, a decision that is neither.
    Other,
}

/// What every answer of a run must be, or the run counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Ok,
    OverLimit,
    /// Any decision.
    Either,
}

/// Longest latency that is told apart, in microseconds: a minute, far above what a run may take to end.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Digits of a latency that are kept: of 1,234 µs all four, of 12,345 µs three more than anybody compares.
const LATENCY_DIGITS: u8 = 3;

#[derive(Debug)]
pub struct Tally {
    pub ok: u64,
    pub over_limit: u64,
    pub other: u64,
    /// Calls that were due and had no answer when patience ended.
    pub unanswered: u64,
    pub latency_us: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS).expect("the bounds are valid");
        Self { ok: 0, over_limit: 0, other: 0, unanswered: 0, latency_us }
    }

    pub fn count(&mut self, answer: Answer) {
        match answer {
            Answer::Ok => self.ok += 1,
            Answer::OverLimit => self.over_limit += 1,
            Answer::Other => self.other += 1,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.over_limit += other.over_limit;
        self.other += other.other;
        self.unanswered += other.unanswered;
        self.latency_us.add(&other.latency_us).expect("both have the same bounds");
    }

    pub fn answered(&self) -> u64 {
        self.ok + self.over_limit + self.other
    }

    /// # Errors
    ///
    /// If there were no answers, or some were not as expected.
    pub fn check(&self, expect: Expect) -> Result<(), String> {
        let right = match expect {
            Expect::Ok => self.ok,
            Expect::OverLimit => self.over_limit,
            Expect::Either => self.ok + self.over_limit,
        };
        if right == 0 || right < self.answered() || self.unanswered > 0 {
            let Self { ok, over_limit, other, unanswered, .. } = self;
            return Err(format!(
                "expected {expect:?} of every call; {ok} were accepted, {over_limit} refused, {other} failed, \
                 {unanswered} not answered"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_answer_spoils_a_run() {
        let mut tally = Tally::new();
        assert!(tally.check(Expect::Ok).is_err(), "nothing was answered");
        tally.count(Answer::Ok);
        tally.check(Expect::Ok).unwrap();
        tally.check(Expect::Either).unwrap();
        tally.count(Answer::OverLimit);
        assert!(tally.check(Expect::Ok).is_err());
        tally.check(Expect::Either).unwrap();
        tally.count(Answer::Other);
        assert!(tally.check(Expect::Either).is_err());
    }
}
