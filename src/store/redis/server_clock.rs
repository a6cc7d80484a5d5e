//! What the server's clock shows, as far as its answers have told: its answers to usual requests do not.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    bounds::SERVER_CLOCK_KNOWN_FOR,
    units::{Nanos, Timestamp},
};

/// The difference between the server's clock and ours. Threads that note at once may mix their samples, each of which is
/// good enough.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// By how many nanoseconds the server's is ahead.
    ahead_ns: AtomicI64,
    /// How many nanoseconds the call took that told so: half of it may be wrong.
    took: AtomicU64,
    /// When it was told, by our clock.
    told_at: AtomicU64,
}

impl ServerClock {
    /// As ours, until it is told otherwise.
    pub fn new() -> Self {
        Self { ahead_ns: AtomicI64::new(0), took: AtomicU64::new(u64::MAX), told_at: AtomicU64::new(0) }
    }

    /// What it shows when ours shows `now`, as far as is known.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        now.shifted(self.ahead_ns())
    }

    /// By how many nanoseconds it is ahead of ours, as far as is known.
    pub fn ahead_ns(&self) -> i64 {
        self.ahead_ns.load(Relaxed)
    }

    /// Whether it was told lately.
    pub fn is_known(&self, now: Timestamp) -> bool {
        // In either direction: our own clock may have been set.
        Nanos(now.0.abs_diff(self.told_at.load(Relaxed))) < SERVER_CLOCK_KNOWN_FOR
    }

    /// Another server may answer from now on.
    pub fn forget(&self) {
        self.told_at.store(0, Relaxed);
    }

    /// The server's clock showed `theirs` somewhere in a call that began at `now` and took so long. The quickest call of
    /// late tells best.
    pub fn note(&self, theirs: Timestamp, now: Timestamp, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if took_ns > self.took.load(Relaxed) && self.is_known(now) {
            return;
        }
        let middle = now.plus(Nanos(took_ns / 2));
        self.ahead_ns.store(theirs.0.cast_signed().saturating_sub(middle.0.cast_signed()), Relaxed);
        self.took.store(took_ns, Relaxed);
        self.told_at.store(now.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_quickest_call_of_late_tells_the_time_and_its_middle_is_when_it_told() {
        let clock = ServerClock::new();
        let (day, ms) = (Timestamp::from_secs(86_400), Duration::from_millis);
        assert!(!clock.is_known(day));
        clock.note(day.plus(Nanos(5 * SECOND)), day, ms(10));
        assert!(clock.is_known(day));
        assert_eq!(clock.at(day), day.plus(Nanos(5 * SECOND - 5_000_000)));

        clock.note(day, day, ms(20));
        assert_eq!(clock.at(day), day.plus(Nanos(5 * SECOND - 5_000_000)), "a slower call tells less");
        clock.note(day, day, ms(2));
        assert_eq!(clock.at(day), Timestamp(day.0 - 1_000_000), "a quicker one tells more");

        let later = day.plus(SERVER_CLOCK_KNOWN_FOR);
        assert!(!clock.is_known(later));
        clock.note(later, later, ms(20));
        assert_eq!(clock.at(later), Timestamp(later.0 - 10_000_000), "an old answer tells nothing");
        assert!(!clock.is_known(day), "nor does one from the future");
        clock.forget();
        assert!(!clock.is_known(later), "nor one of another server");
    }
}
