//! One limit: so many hits in a window, counted by an algorithm. Pure: state and time come in, state goes out.
//!
//! | algorithm | file | most it admits in *any* interval of a window's length |
//! |---|---|---|
//! | fixed window | [`fixed_window`] | 2 × the limit: the end of one window and the start of the next |
//! | sliding window | [`sliding_window`] | 2 × the limit less 1: the end of one window, then what the estimate lets go of |
//! | token bucket | [`token_bucket`] | burst + limit less 1: a full bucket, then what flows in |
//!
//! [`Limit::most_in_any_interval`] has the figures to the hit. Integers only: nothing is lost to rounding, at any rate
//! and any length.

pub mod fixed_window;
pub mod sliding_window;
pub mod token_bucket;
pub mod unit;
pub mod window;

pub use unit::Unit;
pub use window::{Calendar, CalendarUnit, Window};

use crate::units::{Nanos, Timestamp};

/// So many hits a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Hits admitted a window; 0 refuses everything. What flows into a token bucket in a window's length.
    pub count: u64,
    pub window: Window,
    pub algorithm: Algorithm,
}

/// How hits are counted. An enum chooses, no trait object: the charge is the hottest code of the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    FixedWindow,
    SlidingWindow,
    TokenBucket {
        /// Hits that may come at once.
        burst: u64,
    },
}

/// The state of one counter; the default is that of a counter nobody has touched. What its parts mean is its
/// algorithm's business; stores only keep them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Hits charged and not given back; in a token bucket, the whole hits that had not drained at `time`.
    pub used: u64,
    /// A second number, where the algorithm needs one: the last window's hits (sliding), a fraction of a hit in units
    /// of 2⁻⁶⁴ (token bucket), 0 (fixed).
    pub rest: u64,
    /// The point in time that the numbers belong to: the end of the window (fixed, sliding), the last charge (token
    /// bucket).
    pub time: Timestamp,
}

/// How a counter stands, in the figures that people are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Hits charged, as far as they still count, rounded up; may lie above the limit (overdraw, `count_denied`, a
    /// lowered limit).
    pub used: u64,
    /// What is really left; zero where more was charged than allowed.
    pub available: u64,
    /// From now until it is as good as untouched.
    pub reset: Nanos,
}

/// When a request would find room, if nobody else came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// At once.
    #[default]
    None,
    /// After so long: one tick earlier it would still be refused.
    For(Nanos),
    /// Never: it asks for more than the limit is.
    Never,
}

impl Limit {
    /// The most that can be there at once, and the number that people are told: the count, or the burst.
    pub const fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { .. } if self.count == 0 => 0,
            Algorithm::TokenBucket { burst } => burst,
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.count,
        }
    }

    /// The largest number it is made of: what its store must count exactly.
    pub fn largest(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket { burst } => self.count.max(burst),
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.count,
        }
    }

    /// The most that is admitted in any interval of the window's length `[t, t + length)`, wherever it begins, while the
    /// clock runs on: never passed, and reached as each algorithm's file says. For two nanoseconds and more.
    pub fn most_in_any_interval(&self) -> u128 {
        let (count, length) = (u128::from(self.count), u128::from(self.window.longest().0.max(1)));
        match self.algorithm {
            Algorithm::FixedWindow => 2 * count,
            Algorithm::SlidingWindow => 2 * count - (2 * count).div_ceil(length),
            Algorithm::TokenBucket { .. } => u128::from(self.capacity()) + count - count.div_ceil(length),
        }
    }

    /// `counter` as it is at `now`: the same, or a fresh one where its time has run out.
    pub fn at(&self, counter: Counter, now: Timestamp) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::at(self, counter, now),
            Algorithm::SlidingWindow => sliding_window::at(self, counter, now),
            Algorithm::TokenBucket { .. } => token_bucket::at(self, counter, now),
        }
    }

    /// Is there room for `hits` in a counter that is [`at`](Self::at) `now`? For none there always is.
    pub fn has_room(&self, counter: Counter, now: Timestamp, hits: u64) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::has_room(self, counter, hits),
            Algorithm::SlidingWindow => sliding_window::has_room(self, counter, now, hits),
            Algorithm::TokenBucket { .. } => token_bucket::has_room(self, counter, now, hits),
        }
    }

    /// Charges `hits`, room or not.
    pub fn take(&self, counter: Counter, now: Timestamp, hits: u64) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::take(counter, hits),
            Algorithm::SlidingWindow => sliding_window::take(counter, hits),
            Algorithm::TokenBucket { .. } => token_bucket::take(self, counter, now, hits),
        }
    }

    /// Gives `hits` back, never below zero.
    pub fn give_back(&self, counter: Counter, now: Timestamp, hits: u64) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::give_back(counter, hits),
            Algorithm::SlidingWindow => sliding_window::give_back(counter, hits),
            Algorithm::TokenBucket { .. } => token_bucket::give_back(self, counter, now, hits),
        }
    }

    /// When `counter` is as good as untouched: a store may then forget it.
    pub fn forgotten_at(&self, counter: Counter) -> Timestamp {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::forgotten_at(counter),
            Algorithm::SlidingWindow => sliding_window::forgotten_at(self, counter),
            Algorithm::TokenBucket { .. } => token_bucket::forgotten_at(self, counter),
        }
    }

    /// How long until there is room for `hits`, if nobody else came.
    pub fn wait(&self, counter: Counter, now: Timestamp, hits: u64) -> Wait {
        if self.has_room(counter, now, hits) {
            return Wait::None;
        }
        if hits > self.capacity() {
            return Wait::Never;
        }
        let then = match self.algorithm {
            Algorithm::FixedWindow => counter.time,
            Algorithm::SlidingWindow => sliding_window::room_at(self, counter, hits),
            Algorithm::TokenBucket { .. } => token_bucket::room_at(self, counter, hits),
        };
        Wait::For(then.since(now))
    }

    /// The figures people are told.
    pub fn standing(&self, counter: Counter, now: Timestamp) -> Standing {
        let (used, untouched_at) = match self.algorithm {
            Algorithm::FixedWindow => (counter.used, counter.time),
            Algorithm::SlidingWindow => (sliding_window::estimate(self, counter, now), self.forgotten_at(counter)),
            Algorithm::TokenBucket { .. } => (token_bucket::level(self, counter, now), self.forgotten_at(counter)),
        };
        Standing { used, available: self.capacity().saturating_sub(used), reset: untouched_at.since(now) }
    }
}

#[cfg(test)]
mod tests;
