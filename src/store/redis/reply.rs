//! What the scripts answer: what each counter held, and the server's time.

use redis::Value;
use smallvec::SmallVec;

use super::ask::Seats;
use crate::{
    charge::Charges,
    limit::{Algorithm, Counter, Limit},
    request::Ask,
    units::Timestamp,
};

/// What `charge.lua` saw.
#[derive(Debug)]
pub(super) struct Seen {
    held: Held,
    /// The time it went by, in whole microseconds, where it says.
    pub now: Option<Timestamp>,
    pub refused: bool,
}

#[derive(Debug)]
enum Held {
    /// The usual request fitted: the hits in each counter after it took so many.
    After { hits: u64, used: SmallVec<[u64; 8]> },
    /// The values before.
    Before(Vec<Value>),
}

impl Seen {
    /// Reads an answer about the counters of `seats`; None if it is none.
    pub fn read(answer: Value, charges: &Charges<'_>, seats: &Seats) -> Option<Self> {
        let mut values = match answer {
            Value::Array(values) => values,
            one => vec![one],
        };
        let keys = seats.keys.len();
        if values.len() == keys + 2 {
            let refused = number(&values.pop()?)? != 0;
            let now = Some(time(&values.pop()?)?);
            return Some(Self { held: Held::Before(values), now, refused });
        }
        let now = if values.len() > keys { Some(time(&values.pop()?)?) } else { None };
        let used = values.iter().map(number).collect::<Option<SmallVec<[u64; 8]>>>()?;
        let Ask::Take(hits) = charges.list.first()?.ask else { return None };
        (used.len() == keys).then_some(Self { held: Held::After { hits, used }, now, refused: false })
    }

    /// The counters as they were before, in the order of their keys. `at` is the time the script went by.
    pub fn counters(&self, charges: &Charges<'_>, seats: &Seats, at: Timestamp) -> SmallVec<[Counter; 8]> {
        match &self.held {
            Held::Before(values) => counters(values, charges, seats, at),
            Held::After { hits, used } => {
                let mut counters = SmallVec::from_elem(Counter::default(), used.len());
                for (charge, &seat) in charges.list.iter().zip(&seats.of) {
                    let before = used[seat as usize].saturating_sub(*hits);
                    counters[seat as usize] = running(before, charge.limit, at);
                }
                counters
            }
        }
    }
}

/// Reads the answer of `reset.lua`: the counters as they were, and the time.
pub(super) fn forgotten(
    answer: Value,
    charges: &Charges<'_>,
    seats: &Seats,
) -> Option<(SmallVec<[Counter; 8]>, Timestamp)> {
    let Value::Array(mut values) = answer else { return None };
    let at = time(&values.pop()?)?;
    (values.len() == seats.keys.len()).then(|| (counters(&values, charges, seats, at), at))
}

fn counters(values: &[Value], charges: &Charges<'_>, seats: &Seats, at: Timestamp) -> SmallVec<[Counter; 8]> {
    let mut counters = SmallVec::from_elem(Counter::default(), values.len());
    let limits = charges.list.iter().map(|charge| Some(charge.limit)).chain(charges.gates.iter().map(|_| None));
    for (limit, &seat) in limits.zip(&seats.of) {
        counters[seat as usize] = counter(&values[seat as usize], limit, at);
    }
    counters
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    number(value)?.checked_mul(1_000).map(Timestamp)
}

/// A counter in the window that runs at `at`.
fn running(used: u64, limit: &Limit, at: Timestamp) -> Counter {
    Counter { used, rest: 0, time: limit.window.end_after(at) }
}

/// `used rest time`, of a limit or of a block, or the hits alone of a window that runs; what is of no such form was never
/// ours, and is nothing.
fn counter(value: &Value, limit: Option<&Limit>, at: Timestamp) -> Counter {
    let Value::BulkString(bytes) = value else { return Counter::default() };
    match (numbers(bytes).as_deref(), limit) {
        (Some(&[used, rest, micros]), limit) => {
            let time = Timestamp(micros.saturating_mul(1_000));
            match limit {
                Some(limit) if matches!(limit.algorithm, Algorithm::TokenBucket { .. }) => {
                    Counter { used, rest: fraction(rest, limit), time }
                }
                _ => Counter { used, rest, time },
            }
        }
        (Some(&[used]), Some(limit)) if limit.algorithm == Algorithm::FixedWindow => running(used, limit, at),
        _ => Counter::default(),
    }
}

/// `parts` / length (in µs) of a hit, in units of 2⁻⁶⁴, rounded up: the same multiple comes back of it, see
/// [`token_bucket`](crate::limit::token_bucket).
fn fraction(parts: u64, limit: &Limit) -> u64 {
    let length = u128::from((limit.window.longest().0 / 1_000).max(1));
    u64::try_from((u128::from(parts) << 64).div_ceil(length)).unwrap_or(u64::MAX)
}

/// Up to three numbers of digits alone, with one space between.
fn numbers(bytes: &[u8]) -> Option<SmallVec<[u64; 3]>> {
    let mut numbers = SmallVec::new();
    for digits in bytes.split(|&byte| byte == b' ') {
        let plain = numbers.len() < 3 && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        numbers.push(str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
