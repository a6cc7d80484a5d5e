//! What the script answers: the server's time, and what each counter held before.

use smallvec::SmallVec;

use crate::{
    charge::Charges,
    limit::{Algorithm, Counter, Limit},
    units::Timestamp,
};
use redis::Value;

/// What a script saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// The time it went by, in whole microseconds.
    pub now: Timestamp,
    /// Of each key.
    values: Vec<Value>,
}

impl Seen {
    /// Reads an answer about `keys` many keys; None if it is none.
    pub fn read(answer: Value, keys: usize) -> Option<Self> {
        let Value::Array(mut values) = answer else { return None };
        let Some(Value::Int(micros)) = values.pop() else { return None };
        let now = Timestamp(u64::try_from(micros).ok()?.checked_mul(1_000)?);
        (values.len() == keys).then_some(Self { now, values })
    }

    /// The counters that `charges` met, in the order of their keys. `seat_of` names the key of each charge, then of each
    /// gate.
    pub fn counters(&self, charges: &Charges<'_>, seat_of: &[u32]) -> SmallVec<[Counter; 8]> {
        let mut counters = SmallVec::from_elem(Counter::default(), self.values.len());
        let limits = charges.list.iter().map(|charge| Some(charge.limit)).chain(charges.gates.iter().map(|_| None));
        for (limit, &seat) in limits.zip(seat_of) {
            counters[seat as usize] = counter(&self.values[seat as usize], limit);
        }
        counters
    }
}

/// `used rest time`, of a limit or of a block; what is of no such form was never ours, and is nothing.
fn counter(value: &Value, limit: Option<&Limit>) -> Counter {
    let Value::BulkString(bytes) = value else { return Counter::default() };
    let Some([used, rest, micros]) = numbers(bytes) else { return Counter::default() };
    let time = Timestamp(micros.saturating_mul(1_000));
    match limit {
        Some(limit) if matches!(limit.algorithm, Algorithm::TokenBucket { .. }) => {
            Counter { used, rest: fraction(rest, limit), time }
        }
        _ => Counter { used, rest, time },
    }
}

/// `parts` / length (in µs) of a hit, in units of 2⁻⁶⁴, rounded up: the same multiple comes back of it, see
/// [`token_bucket`](crate::limit::token_bucket).
fn fraction(parts: u64, limit: &Limit) -> u64 {
    let length = u128::from((limit.window.longest().0 / 1_000).max(1));
    u64::try_from((u128::from(parts) << 64).div_ceil(length)).unwrap_or(u64::MAX)
}

/// Three numbers of digits alone, with one space between.
fn numbers(bytes: &[u8]) -> Option<[u64; 3]> {
    let mut parts = bytes.split(|&byte| byte == b' ').map(|digits| {
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}
