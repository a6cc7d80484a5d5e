//! How much memory counters really take, as the system sees it, how long a charge takes among so many, and what keeping
//! them costs.
//!
//! `cargo run --release --example counters` prints a row for each million of counters, up to ten, and then the times of the
//! sweep, of the snapshot and of its restore with ten. It writes some 400 MB into a temporary directory and removes them.

use std::{env, fmt::Write as _, fs, io, process};

use tallygate::{
    charge::{Charge, Charges, CounterKey, Role},
    clock::Clock,
    limit::{Algorithm, Limit, Window},
    request::Ask,
    store::memory::{
        Memory,
        snapshot::{Directory, Set, Source as _, Walk, restore},
    },
    units::{Nanos, Timestamp},
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
    print!("{table}");
    sweep(&store, clock, now);
    let directory = env::temp_dir().join(format!("tallygate-counters-{}", process::id()));
    let kept = keep(&store, &hit, clock, now, &directory);
    let _ = fs::remove_dir_all(&directory);
    if let Err(error) = kept {
        println!("the snapshot could not be written: {error}");
    }
}

/// A shard is swept under a lock a page: its whole time is more than anybody waits for it.
fn sweep(store: &Memory, clock: Clock, now: Timestamp) {
    let (mut all, mut longest) = (Nanos::ZERO, Nanos::ZERO);
    for _ in 0..store.shards() {
        let sweeping = clock.stopwatch();
        store.expire_some(now);
        let took = sweeping.elapsed();
        (all, longest) = (Nanos(all.0 + took.0), longest.max(took));
    }
    println!("swept for the expired in {all:?}, one of {} shards in {longest:?} at most", store.shards());
}

/// Everything written, then a second in which one counter in a hundred changed, then all read back.
fn keep(
    store: &Memory,
    hit: &impl Fn(u64),
    clock: Clock,
    now: Timestamp,
    directory: &std::path::Path,
) -> io::Result<()> {
    let directory = Directory::new(directory.to_owned())?;
    let set = Set { shards: u32::try_from(store.shards()).map_err(io::Error::other)?, fingerprint: 1 };
    let mut walk = Walk::new(directory.clone(), set, 0);
    for what in ["all is new", "one in a hundred changed"] {
        let walking = clock.stopwatch();
        let written = walk.walk(store, now)?;
        println!("a segment where {what}: {:?}, {written:?}", walking.elapsed());
        (0..MILLION / 10).map(|number| mix(number) % (10 * MILLION)).for_each(hit);
    }
    walk.walk(store, now)?;
    let (target, restoring) = (Memory::new(100_000_000), clock.stopwatch());
    let restored = restore(&directory, set, &target, now)?;
    println!(
        "{} counters read back from {} segments in {:?}",
        restored.counters,
        restored.segments,
        restoring.elapsed()
    );
    assert_eq!(target.fill().counters, store.fill().counters);
    Ok(())
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
