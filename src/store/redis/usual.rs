//! The usual request, for which the script has a short way: each charge takes as many hits from a fixed window of its own,
//! and nothing else is asked.

use redis::Cmd;
use smallvec::SmallVec;

use super::{Time, ask::Seats, list::List};
use crate::{
    bounds::REDIS_COUNT_MAX,
    charge::{Charges, Role, Way},
    limit::{Algorithm, Limit, Window},
    request::Ask,
    units::Nanos,
};

/// What the usual request asks of each of its counters, in the order of their seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Usual {
    hits: u64,
    limits: SmallVec<[(u64, Nanos); 8]>,
}

impl Usual {
    /// `charges`, if they are of the usual kind.
    pub fn of(charges: &Charges<'_>, seats: &Seats, time: Time) -> Option<Self> {
        let plain = charges.way == Way::AllOrNone && !charges.denied && charges.gates.is_empty();
        // As many charges as keys: none share one, so seats are in the order of the charges or of the keys.
        if !plain || charges.list.len() != seats.keys.len() {
            return None;
        }
        let Ask::Take(hits @ 1..=REDIS_COUNT_MAX) = charges.list.first()?.ask else { return None };
        let mut limits = SmallVec::from_elem((0, Nanos::ZERO), seats.keys.len());
        for (charge, &seat) in charges.list.iter().zip(&seats.of) {
            let usual = charge.role == Role::Enforced && charge.ask == Ask::Take(hits);
            let length = plain_length(charge.limit, time).filter(|_| usual)?;
            limits[seat as usize] = (charge.limit.count, length);
        }
        Some(Self { hits, limits })
    }

    /// Writes what the script's short way reads, instead of what is asked at length: the hits, and a [list](super::list) of
    /// each limit and then the length of each window in milliseconds.
    pub fn write(&self, command: &mut Cmd) {
        let mut asked = Vec::with_capacity(5 + 18 * self.limits.len());
        let mut list = List::begin(2 * self.limits.len(), &mut asked);
        for (count, _) in &self.limits {
            list.number(*count);
        }
        for (_, length) in &self.limits {
            list.number(length.0 / 1_000_000);
        }
        command.arg(self.hits).arg(asked);
    }
}

/// The length of the windows of `limit`, if their counters are plain numbers that expire with the window.
///
/// Keys expire at whole milliseconds; and not where time stands still.
pub(super) fn plain_length(limit: &Limit, time: Time) -> Option<Nanos> {
    match (limit.algorithm, &limit.window) {
        (Algorithm::FixedWindow, Window::Length(length)) if time == Time::Servers => {
            length.0.is_multiple_of(Nanos::from_millis(1).0).then_some(*length)
        }
        _ => None,
    }
}
