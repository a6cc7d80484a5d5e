//! How much memory counters really take, as the system sees it, how long a charge takes among so many, and what keeping
//! them costs.
//!
//! `cargo run --release --example counters` prints a row for each million of counters, up to ten, and then the times of the
//! sweep, of the snapshot and of its restore with ten, and what a decision waits for them at most. It writes some 400 MB into a temporary directory and removes them.

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
    let hit = |number| _ = store.charge(now, &hit(key(number), &limit));
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
    copy(&store, clock, now);
    drop_all(&store, clock, now);
    largest_directory(&limit, clock, now);
}

/// A request that takes one hit.
fn hit(key: CounterKey, limit: &Limit) -> Charges<'_> {
    let charge = Charge { key, limit, ask: Ask::Take(1), role: Role::Enforced, descriptor: 0, group: 0 };
    Charges { list: [charge].into_iter().collect(), ..Charges::default() }
}

/// How long a shard takes to sweep. Its lock is taken for each of its pages (a test counts that), so the whole is more than
/// anybody waits.
fn sweep(store: &Memory, clock: Clock, now: Timestamp) {
    let mut shards = vec![Nanos(u64::MAX); store.shards()];
    for _ in 0..REPEATS {
        // Each call sweeps the next shard in turn.
        for shortest in &mut shards {
            let sweeping = clock.stopwatch();
            store.expire_some(now);
            *shortest = (*shortest).min(sweeping.elapsed());
        }
    }
    tell("swept for the expired", &shards);
}

/// The same for the snapshot, every counter copied.
fn copy(store: &Memory, clock: Clock, now: Timestamp) {
    let (mut shards, mut slots) = (vec![Nanos(u64::MAX); store.shards()], Vec::new());
    for _ in 0..REPEATS {
        for (shard, shortest) in shards.iter_mut().enumerate() {
            slots.clear();
            let copying = clock.stopwatch();
            store.collect(shard, true, now, &mut slots);
            *shortest = (*shortest).min(copying.elapsed());
        }
    }
    tell("copied whole", &shards);
}

/// The same where everything has expired: every page is emptied, merged and given back. The memory is empty then.
fn drop_all(store: &Memory, clock: Clock, now: Timestamp) {
    let later = now.plus(Nanos::from_secs(2 * 86_400));
    let dropping = |shard| {
        let dropping = clock.stopwatch();
        store.collect(shard, false, later, &mut Vec::new());
        dropping.elapsed()
    };
    let dropped: Vec<Nanos> = (0..store.shards()).map(dropping).collect();
    tell("dropped", &dropped);
    assert_eq!(store.fill().counters, 0);
}

fn tell(what: &str, shards: &[Nanos]) {
    let mut sorted = shards.to_vec();
    sorted.sort_unstable();
    let all = Nanos(sorted.iter().map(|shard| shard.0).sum());
    let (median, longest) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("{what} in {all:?}: one of {} shards in {median:?}, the longest in {longest:?}", sorted.len());
}

/// What is measured so often counts by its shortest time: whatever else the machine does only ever adds.
const REPEATS: usize = 5;

/// One shard so full that its directory is the largest there can be: the longest charge doubles it. No other shard has
/// any counters: it takes some three billion to get there otherwise, three times what a process may have.
fn largest_directory(limit: &Limit, clock: Clock, now: Timestamp) {
    const COUNTERS: usize = 3_000_000;
    let in_first_shard = |number: usize| CounterKey(key(number as u64).0 >> 16);
    let mut longest = vec![Nanos(u64::MAX); COUNTERS];
    let mut dropped = vec![Nanos(u64::MAX)];
    for _ in 0..REPEATS {
        let store = Memory::new(10_000_000_000);
        for (number, longest) in longest.iter_mut().enumerate() {
            let charging = clock.stopwatch();
            store.charge(now, &hit(in_first_shard(number), limit));
            *longest = (*longest).min(charging.elapsed());
        }
        let dropping = clock.stopwatch();
        store.expire_some(now.plus(Nanos::from_secs(2 * 86_400)));
        dropped[0] = dropped[0].min(dropping.elapsed());
        assert_eq!(store.fill().counters, 0);
    }
    longest.sort_unstable();
    println!("one shard of {COUNTERS} counters: the longest charges {:?}", &longest[longest.len() - 6..]);
    tell("dropped", &dropped);
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
