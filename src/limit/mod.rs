//! One limit: so many hits in a window, counted by an algorithm. Pure: state and time come in, state goes out.
//!
//! | algorithm | file | most it admits in *any* interval of a window's length |
//! |---|---|---|
//! | fixed window | [`fixed_window`] | 2 × the limit: the end of one window and the start of the next |

pub mod fixed_window;
pub mod window;

pub use window::{Calendar, CalendarUnit, Window};

use crate::units::{Nanos, Timestamp};

/// So many hits a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Hits admitted a window; 0 refuses everything.
    pub count: u64,
    pub window: Window,
    pub algorithm: Algorithm,
}

/// How hits are counted. An enum chooses, no trait object: the charge is the hottest code of the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    FixedWindow,
}

/// The state of one counter; the default is that of a counter nobody has touched. What its parts mean is its
/// algorithm's business; stores only keep them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Hits charged and not given back.
    pub used: u64,
    /// A second number, where the algorithm needs one; 0 for fixed windows.
    pub rest: u64,
    /// The point in time that the numbers belong to; for fixed windows, the end of the window.
    pub time: Timestamp,
}

/// How a counter stands, in the figures that people are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Hits charged; may lie above the limit (overdraw, `count_denied`, a lowered limit).
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
    /// `counter` as it is at `now`: the same, or a fresh one where its time has run out.
    pub fn at(&self, counter: Counter, now: Timestamp) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::at(self, counter, now),
        }
    }

    /// Is there room for `hits` in a counter that is [`at`](Self::at) now?
    pub fn has_room(&self, counter: Counter, hits: u64) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::has_room(self, counter, hits),
        }
    }

    /// Charges `hits`, room or not.
    pub fn take(&self, counter: Counter, hits: u64) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::take(counter, hits),
        }
    }

    /// Gives `hits` back, never below zero.
    pub fn give_back(&self, counter: Counter, hits: u64) -> Counter {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::give_back(counter, hits),
        }
    }

    /// When `counter` is as good as untouched: a store may then forget it.
    pub fn forgotten_at(&self, counter: Counter) -> Timestamp {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::forgotten_at(counter),
        }
    }

    /// How long until there is room for `hits`.
    pub fn wait(&self, counter: Counter, now: Timestamp, hits: u64) -> Wait {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::wait(self, counter, now, hits),
        }
    }

    /// The figures people are told.
    pub fn standing(&self, counter: Counter, now: Timestamp) -> Standing {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::standing(self, counter, now),
        }
    }
}
