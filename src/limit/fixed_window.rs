//! Fixed windows: hits are counted from one edge of a window to the next, then the count starts at zero.
//!
//! The most it admits in any interval of the window's length is **twice the limit**: all of one window just before
//! its edge and all of the next just after.

use super::{Counter, Limit, Standing, Wait};
use crate::units::Timestamp;

/// A window that ends further off than this many of its longest lengths is one the clock has jumped away from.
/// One length would be enough while the clock only runs forward; the second keeps the count where it is set back by
/// less than a window, so that no window starts twice.
const FORESEEABLE_LENGTHS: u64 = 2;

pub(super) fn at(limit: &Limit, counter: Counter, now: Timestamp) -> Counter {
    let running = now < counter.until;
    let foreseeable = limit.window.longest().0.saturating_mul(FORESEEABLE_LENGTHS);
    if running && counter.until.since(now).0 <= foreseeable {
        return counter;
    }
    Counter { used: 0, until: limit.window.end_after(now) }
}

pub(super) fn has_room(limit: &Limit, counter: Counter, hits: u64) -> bool {
    limit.count.checked_sub(counter.used).is_some_and(|left| left >= hits)
}

pub(super) fn take(counter: Counter, hits: u64) -> Counter {
    Counter { used: counter.used.saturating_add(hits), ..counter }
}

pub(super) fn give_back(counter: Counter, hits: u64) -> Counter {
    Counter { used: counter.used.saturating_sub(hits), ..counter }
}

pub(super) fn wait(limit: &Limit, counter: Counter, now: Timestamp, hits: u64) -> Wait {
    if has_room(limit, counter, hits) {
        Wait::None
    } else if hits > limit.count {
        Wait::Never
    } else {
        Wait::For(counter.until.since(now))
    }
}

pub(super) fn standing(limit: &Limit, counter: Counter, now: Timestamp) -> Standing {
    Standing {
        used: counter.used,
        available: limit.count.saturating_sub(counter.used),
        reset: counter.until.since(now),
    }
}
