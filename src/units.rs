//! The quantities everything else is written in: points in time, lengths of time, hits.

use std::fmt;

/// A length of time in whole nanoseconds; u64 holds 584 years, the longest window is ten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    pub const ZERO: Self = Self(0);
    pub const SECOND: Self = Self(1_000_000_000);

    /// `count` whole milliseconds, the finest step a window can have; saturates.
    pub const fn from_millis(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    /// `count` whole seconds; saturates.
    pub const fn from_secs(count: u64) -> Self {
        Self(count.saturating_mul(Self::SECOND.0))
    }

    /// Whole seconds, rounded **up**: a client told to wait must never come back too early.
    pub const fn ceil_secs(self) -> u64 {
        self.0.div_ceil(Self::SECOND.0)
    }
}

impl fmt::Debug for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", std::time::Duration::from_nanos(self.0))
    }
}

/// A point in time: nanoseconds since the Unix epoch (until the year 2554). Only `clock` makes one from the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);
    /// The last representable point: "never ends" where an end is asked for.
    pub const MAX: Self = Self(u64::MAX);

    pub const fn from_millis(count: u64) -> Self {
        Self(count.saturating_mul(1_000_000))
    }

    pub const fn from_secs(count: u64) -> Self {
        Self(count.saturating_mul(Nanos::SECOND.0))
    }

    /// The time from `earlier` to `self`; zero if that lies behind.
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved on by `length`; saturates.
    #[must_use]
    pub const fn plus(self, length: Nanos) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// What a clock shows at `self` that is so much ahead, or behind where that is below zero; saturates.
    #[must_use]
    pub const fn shifted(self, ahead_ns: i64) -> Self {
        Self(self.0.saturating_add_signed(ahead_ns))
    }

    /// Seconds since the Unix epoch, rounded up.
    pub const fn ceil_secs(self) -> u64 {
        self.0.div_ceil(Nanos::SECOND.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_overflow() {
        for (nanos, secs) in [(0, 0), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(Nanos(nanos).ceil_secs(), secs, "{nanos} ns");
        }
        assert_eq!(Nanos(u64::MAX).ceil_secs(), 18_446_744_074);
        assert_eq!(Nanos::from_secs(u64::MAX), Nanos(u64::MAX));
        assert_eq!(Timestamp::MAX.plus(Nanos::SECOND), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Nanos::ZERO);
    }
}
