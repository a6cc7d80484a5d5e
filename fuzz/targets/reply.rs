//! Any bytes as the answer of a Redis server: none of ours, or what it decides about charges of every kind. Never a panic,
//! and no more memory than the answer takes.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tallygate::{
    charge::{Charge, Charges, CounterKey, Gate, Role, Way},
    limit::{Algorithm, Limit, Window},
    request::Ask,
    store::redis::Decided,
    units::{Nanos, Timestamp},
};

const fn limit(algorithm: Algorithm, length: Nanos) -> Limit {
    Limit { count: 5, window: Window::Length(length), algorithm }
}

/// The shortest window, and the longest.
static LIMITS: LazyLock<[Limit; 4]> = LazyLock::new(|| {
    [
        limit(Algorithm::FixedWindow, Nanos::from_secs(60)),
        limit(Algorithm::SlidingWindow, Nanos::from_millis(1)),
        limit(Algorithm::TokenBucket { burst: 9 }, Nanos::from_secs(3_650 * 86_400)),
        limit(Algorithm::TokenBucket { burst: u64::MAX }, Nanos::from_millis(1)),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, answer)) = bytes.split_first() else { return };
    let ask = match first & 3 {
        0 => Ask::Look,
        1 => Ask::Take(1),
        2 => Ask::Take(u64::MAX),
        _ => Ask::GiveBack(7),
    };
    let way = if first & 4 == 0 { Way::AllOrNone } else { Way::EachAlone };
    let roles = [Role::Enforced, Role::Quota, Role::Overdraw, Role::Shadow];
    let kept = usize::from((first >> 3) & 15) % (LIMITS.len() + 1);
    let mut charges = Charges { way, ..Charges::default() };
    for (number, (limit, role)) in (1..).zip(LIMITS.iter().zip(roles)).take(kept) {
        let key = CounterKey(u128::from(number));
        charges.list.push(Charge { key, limit, ask, role, descriptor: number - 1, group: 0 });
    }
    // Without it, one charge may be the usual request.
    if first & 128 == 0 {
        let starts = Some(Nanos::from_secs(60));
        charges.gates.push(Gate { key: CounterKey(99), descriptor: 0, starts, ordered_until: Timestamp::EPOCH });
    }
    if let Some(decided) = Decided::read(answer, &charges, Timestamp::from_secs(1_800_000_000)) {
        assert_eq!(decided.verdicts.list.len(), charges.list.len());
        assert_eq!(decided.before.len(), charges.list.len() + charges.gates.len());
    }
});
