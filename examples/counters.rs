//! How much memory counters really take, as the system sees it, and how long a charge takes among so many.
//!
//! `cargo run --release --example counters` prints a row for each million of counters, up to ten.

use std::{fmt::Write as _, fs};

use tallygate::store::memory::snapshot::Source as _;
use tallygate::{
    charge::{Charge, Charges, CounterKey, Role},
    clock::Clock,
    limit::{Algorithm, Limit, Window},
    request::Ask,
    store::memory::Memory,
    units::Nanos,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u64 = 1_000_000;

fn main() {
    let limit =
        Limit { count: 100, window: Window::Length(Nanos::from_secs(86_400)), algorithm: Algorithm::FixedWindow };
    let (store, clock) = (Memory::new(100_000_000), Clock);
    let now = clock.now();
    let hit = |number| {
        let charge = Charge {
            key: key(number),
            limit: &limit,
            ask: Ask::Take(1),
            role: Role::Enforced,
            descriptor: 0,
            group: 0,
        };
        store.charge(now, &Charges { list: [charge].into_iter().collect(), ..Charges::default() });
    };
    let (before, mut table, mut random) = (resident(), String::new(), 1);
    for millions in 1..=10 {
        let inserting = clock.stopwatch();
        ((millions - 1) * MILLION..millions * MILLION).for_each(hit);
        let insert = inserting.elapsed().0 / MILLION;
        let hitting = clock.stopwatch();
        for _ in 0..MILLION {
            random = mix(random);
            hit(random % (millions * MILLION));
        }
        let again = hitting.elapsed().0 / MILLION;
        let each = |bytes: u64| bytes as f64 / (millions * MILLION) as f64;
        let (held, seen) = (each(store.fill().bytes as u64), each(resident() - before));
        writeln!(
            table,
            "{millions:>3} M | {held:.1} B held | {seen:.1} B resident | {insert} ns new | {again} ns known"
        )
        .expect("a String can be written to");
    }
    let walking = clock.stopwatch();
    (0..store.shards()).for_each(|_| store.expire_some(now));
    println!("{table}a walk of all for the expired: {:?}", walking.elapsed());
}

fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A key as hashing makes them.
fn key(number: u64) -> CounterKey {
    CounterKey(u128::from(mix(number)) << 64 | u128::from(mix(number ^ 0x5555)))
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}
