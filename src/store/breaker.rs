//! The breaker: once calls to the store fail, no more are made until a probe has succeeded.
//!
//! It opens after [`BREAKER_FAILURES`] in a row, or where failures alone have come for [`BREAKER_PATIENCE`], two at the
//! least: the first is for many calls a second, the second for few. A success in between starts both anew, so that a
//! tail of slow calls does not open it. Only a probe closes it.
//!
//! All cores share it. As long as calls succeed it is only read.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::{
    bounds::{BREAKER_FAILURES, BREAKER_OPENINGS_APART, BREAKER_PATIENCE, PROBE_JITTER, PROBE_PAUSE},
    units::{Nanos, Timestamp},
};

/// Decides whether the store may be called.
#[derive(Debug, Default)]
pub struct Breaker {
    /// How often it has opened or closed: odd while it is open.
    generation: AtomicU64,
    /// A packed [`Streak`].
    streak: AtomicU64,
    /// When it last opened; means nothing before it ever did.
    opened_at: AtomicU64,
}

/// A call that may be made. Its outcome counts only in the generation in which it was admitted: calls that failed while
/// the store was away may say so after it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Admitted {
    generation: u64,
}

impl Breaker {
    /// Whether a call may be made: none while it is open.
    pub fn admits(&self) -> Option<Admitted> {
        let generation = self.generation.load(Acquire);
        (!is_open(generation)).then_some(Admitted { generation })
    }

    /// `call` succeeded.
    pub fn succeeded(&self, call: Admitted) {
        self.change_streak(call, |streak| Streak { failures: 0, ..streak });
    }

    /// `call` failed at `now`; whether that opened the breaker. Of calls that fail at once, one is told so.
    pub fn failed(&self, call: Admitted, now: Timestamp) -> bool {
        let streak = self.change_streak(call, |streak| streak.with_failure(now));
        streak.is_some_and(|streak| streak.opens(now)) && self.open(call, now)
    }

    /// `call` failed at `now`, whose caller had less patience than we have: of such, however many, alone time tells, or a
    /// few in a hurry would take the store away from all.
    pub fn failed_in_a_hurry(&self, call: Admitted, now: Timestamp) -> bool {
        let streak = self.change_streak(call, |streak| {
            let most = streak.failures.max(BREAKER_FAILURES - 1);
            let longer = streak.with_failure(now);
            Streak { failures: longer.failures.min(most), ..longer }
        });
        streak.is_some_and(|streak| streak.opens(now)) && self.open(call, now)
    }

    /// A probe succeeded at `now`: closes the breaker, and says how long it was open where it was.
    pub fn probe_succeeded(&self, now: Timestamp) -> Option<Nanos> {
        let generation = self.generation.load(Acquire);
        let opened_at = Timestamp(self.opened_at.load(Acquire));
        (is_open(generation) && self.advance(generation)).then(|| now.since(opened_at))
    }

    /// Whether calls are held back.
    pub fn is_open(&self) -> bool {
        is_open(self.generation.load(Relaxed))
    }

    /// How often it has opened since the start.
    pub fn episodes(&self) -> u64 {
        self.generation.load(Relaxed).div_ceil(2)
    }

    /// Changes the streak of failures that `call` belongs to, and returns it as it is then; None where the call is of an
    /// older generation.
    fn change_streak(&self, call: Admitted, change: impl Fn(Streak) -> Streak) -> Option<Streak> {
        let mut packed = self.streak.load(Acquire);
        loop {
            // After the streak was read: one that a later generation wrote is never taken for an earlier one's.
            if self.generation.load(Acquire) != call.generation {
                return None;
            }
            let streak = change(Streak::unpack(packed).in_generation(call.generation));
            if streak.failures == 0 && Streak::unpack(packed).failures == 0 {
                return Some(streak);
            }
            match self.streak.compare_exchange_weak(packed, streak.pack(), AcqRel, Acquire) {
                Ok(_) => return Some(streak),
                Err(newer) => packed = newer,
            }
        }
    }

    fn open(&self, call: Admitted, now: Timestamp) -> bool {
        let never_opened = call.generation == 0;
        // By how much in either direction: a clock that is set back years must not keep it closed for years.
        let apart = Nanos(now.0.abs_diff(self.opened_at.load(Acquire)));
        if !never_opened && apart < BREAKER_OPENINGS_APART {
            return false;
        }
        let opened = self.advance(call.generation);
        if opened {
            // The next to read it are the probe that closes and the failures after it, a probe's pause away.
            self.opened_at.store(now.0, Release);
        }
        opened
    }

    fn advance(&self, generation: u64) -> bool {
        self.generation.compare_exchange(generation, generation + 1, AcqRel, Relaxed).is_ok()
    }
}

/// The pause until the next probe, for as long as it is open.
pub const fn next_probe(random: u64) -> Nanos {
    let spread = 2 * PROBE_JITTER.0 + 1;
    Nanos(PROBE_PAUSE.0 - PROBE_JITTER.0 + random % spread)
}

const fn is_open(generation: u64) -> bool {
    generation % 2 == 1
}

/// Failures of one generation since its last success.
///
/// One word holds it, so that it changes as a whole: the time of the first in 55 bits (whole microseconds, until the year
/// 3111), how many in 5, the generation's last 4. A thread would have to stand still for sixteen changes of state to
/// take one generation for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streak {
    since_us: u64,
    failures: u64,
    generation: u64,
}

const GENERATION_BITS: u32 = 4;
const FAILURES_BITS: u32 = 5;
const FAILURES_MOST: u64 = (1 << FAILURES_BITS) - 1;
const _: () = assert!(BREAKER_FAILURES <= FAILURES_MOST);

impl Streak {
    fn unpack(word: u64) -> Self {
        Self {
            since_us: word >> (FAILURES_BITS + GENERATION_BITS),
            failures: (word >> GENERATION_BITS) & FAILURES_MOST,
            generation: word & ((1 << GENERATION_BITS) - 1),
        }
    }

    fn pack(self) -> u64 {
        (self.since_us << (FAILURES_BITS + GENERATION_BITS)) | (self.failures << GENERATION_BITS) | self.generation
    }

    /// The same, or an empty one where it is another generation's.
    fn in_generation(self, generation: u64) -> Self {
        let generation = generation & ((1 << GENERATION_BITS) - 1);
        if self.generation == generation { self } else { Self { since_us: 0, failures: 0, generation } }
    }

    fn with_failure(self, now: Timestamp) -> Self {
        let now_us = now.0 / 1_000;
        // A clock that was set back starts the time anew, not the count.
        let since_us = if self.failures == 0 { now_us } else { self.since_us.min(now_us) };
        Self { since_us, failures: (self.failures + 1).min(FAILURES_MOST), ..self }
    }

    fn opens(self, now: Timestamp) -> bool {
        let lasts = now.since(Timestamp(self.since_us.saturating_mul(1_000)));
        self.failures >= BREAKER_FAILURES || (self.failures >= 2 && lasts >= BREAKER_PATIENCE)
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
