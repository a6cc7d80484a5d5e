//! What a request asks of its counters, as the script reads it: a [list](super::list) of whole numbers.
//!
//! | numbers | what |
//! |---|---|
//! | 5 | the time, 0: the server's own; 1 where [each charge is on its own](Way::EachAlone); 1 where the request is denied, 2 where no quota refuses it; charges; gates |
//! | 10 a charge | seat, algorithm, length, longest length, count, capacity, role, room asked, hits taken, descriptor |
//! | 4 a gate | seat, descriptor, length of the block it starts (0: none), end of the block that is ordered |
//! | 4 a calendar | the edges around now |
//!
//! Seats and places in the list are counted from 1, times are in microseconds. Where windows are a calendar's, the length is
//! the place of its edges, below zero. What is given back is taken below zero, and asks for no room.

use smallvec::SmallVec;

use super::{Time, list::List, usual::plain_length};
use crate::{
    charge::{Charge, Charges, CounterKey, Role, Way},
    limit::{Algorithm, Calendar, Limit, Window},
    request::Ask,
    units::{Nanos, Timestamp},
};

const HEAD: usize = 5;
const PER_CHARGE: usize = 10;
const PER_GATE: usize = 4;

/// The counters and blocks that a request meets, each once.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Seats {
    pub keys: SmallVec<[CounterKey; 8]>,
    /// Of each charge and then of each gate, the place of its key.
    pub of: SmallVec<[u32; 8]>,
}

impl Seats {
    pub fn of(charges: &Charges<'_>) -> Self {
        let keys = charges.list.iter().map(|charge| charge.key).chain(charges.gates.iter().map(|gate| gate.key));
        let mut seats = Self::default();
        // Up to so many, looking at each is faster than sorting.
        if charges.list.len() + charges.gates.len() <= 16 {
            for key in keys {
                let seat = seats.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                    seats.keys.push(key);
                    seats.keys.len() - 1
                });
                seats.of.push(place(seat));
            }
            return seats;
        }
        let all: SmallVec<[CounterKey; 8]> = keys.collect();
        seats.keys.clone_from(&all);
        seats.keys.sort_unstable();
        seats.keys.dedup();
        seats.of = all.iter().map(|key| place(seats.keys.binary_search(key).unwrap_or(0))).collect();
        seats
    }
}

/// Writes what `charges` ask to `out`; `now` is the time, or about the server's: it may differ by as long as a calendar's
/// window.
pub(super) fn write(charges: &Charges<'_>, seats: &Seats, time: Time, now: Timestamp, out: &mut Vec<u8>) {
    let (charge_count, gate_count) = (charges.list.len(), charges.gates.len());
    let fixed = HEAD + charge_count * PER_CHARGE + gate_count * PER_GATE;
    let calendars: SmallVec<[&Calendar; 2]> = charges
        .list
        .iter()
        .filter_map(|charge| match &charge.limit.window {
            Window::Calendar(calendar) => Some(calendar),
            Window::Length(_) => None,
        })
        .collect();
    out.reserve(16 + 40 * charge_count);
    let mut list = List::begin(fixed + calendars.len() * Calendar::EDGES, out);
    list.number(match time {
        Time::Servers => 0,
        Time::Calls => micros(now.since(Timestamp::EPOCH)),
    });
    list.number(u64::from(charges.way == Way::EachAlone));
    list.number(match charges {
        Charges { denied: true, .. } => 1,
        Charges { quota_met: true, .. } => 2,
        _ => 0,
    });
    list.number(charge_count as u64);
    list.number(gate_count as u64);
    // Places are counted from 1.
    let mut edges = fixed as u64 + 1;
    for (charge, &seat) in charges.list.iter().zip(&seats.of) {
        list.number(u64::from(seat) + 1);
        write_charge(charge, time, &mut edges, &mut list);
    }
    for (gate, &seat) in charges.gates.iter().zip(&seats.of[charge_count..]) {
        list.number(u64::from(seat) + 1);
        list.number(u64::from(gate.descriptor));
        list.number(micros(gate.starts.unwrap_or(Nanos::ZERO)));
        list.number(micros(gate.ordered_until.since(Timestamp::EPOCH)));
    }
    for calendar in calendars {
        for edge in calendar.edges_around(now) {
            list.number(micros(edge.since(Timestamp::EPOCH)));
        }
    }
}

/// Writes one charge; calendars' edges begin at the place `edges`.
fn write_charge(charge: &Charge<'_>, time: Time, edges: &mut u64, list: &mut List<'_>) {
    let Limit { count, window, algorithm } = charge.limit;
    list.number(match algorithm {
        Algorithm::FixedWindow if plain_length(charge.limit, time).is_some() => 3,
        Algorithm::FixedWindow => 0,
        Algorithm::SlidingWindow => 1,
        Algorithm::TokenBucket { .. } => 2,
    });
    match window {
        Window::Length(length) => list.number(micros(*length)),
        Window::Calendar(_) => {
            list.negative(*edges);
            *edges += Calendar::EDGES as u64;
        }
    }
    list.number(micros(window.longest()));
    list.number(*count);
    list.number(charge.limit.capacity());
    list.number(match charge.role {
        Role::Enforced => 0,
        Role::Quota => 1,
        Role::Overdraw => 2,
        Role::Shadow => 3,
    });
    list.number(charge.room_asked());
    match charge.ask {
        Ask::Look => list.number(0),
        Ask::Take(hits) => list.number(hits),
        Ask::GiveBack(hits) => list.negative(hits),
    }
    list.number(u64::from(charge.descriptor));
}

fn micros(length: Nanos) -> u64 {
    length.0 / 1_000
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
