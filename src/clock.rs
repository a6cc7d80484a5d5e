//! The only reader of time. Everything else takes `now` as an argument.

#[cfg(feature = "test-clock")]
pub mod test_clock;

use std::time::{Duration, Instant, SystemTime};

use crate::units::{Nanos, Timestamp};

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

/// A reading of the clock that is never set: for measuring how long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopwatch(Instant);

impl Clock {
    /// The wall clock: what windows are aligned to. A clock before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn now(self) -> Timestamp {
        #[cfg(feature = "test-clock")]
        if let Some(told) = test_clock::told() {
            return told;
        }
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// What time it is for tests, where their clock stands still: then it is that time everywhere, also where counters
    /// live beyond this process and have a clock of their own.
    pub fn told(self) -> Option<Timestamp> {
        #[cfg(feature = "test-clock")]
        return test_clock::told();
        #[cfg(not(feature = "test-clock"))]
        None
    }

    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn stopwatch(self) -> Stopwatch {
        Stopwatch(Instant::now())
    }
}

impl Stopwatch {
    pub fn elapsed(self) -> Nanos {
        Nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How much later it was started than `earlier`; nothing if it was not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.duration_since(earlier.0)
    }
}
