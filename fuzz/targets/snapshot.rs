//! Any bytes as a segment of a snapshot, and any eight numbers as a counter: read or refused, and whatever was put into the
//! store, it goes on deciding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallygate::{
    charge::{Charge, Charges, CounterKey, Role},
    limit::{Algorithm, Limit, Window},
    request::Ask,
    store::memory::{
        Memory,
        snapshot::{Set, Slot, Source as _, Target as _, segment::Reader},
    },
    units::{Nanos, Timestamp},
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fuzz_target!(|bytes: &[u8]| {
    let set = Set { shards: 1_024, fingerprint: 7 };
    if let Ok(mut reader) = Reader::new(bytes, set) {
        let mut slots = Vec::new();
        while let Ok(Some(section)) = reader.next(&mut slots) {
            assert!(section.shard < set.shards);
        }
    }
    let memory = Memory::new(2_000);
    let numbers: Vec<u32> = bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    let slots: Vec<Slot> = numbers.chunks_exact(8).map(|eight| std::array::from_fn(|place| eight[place])).collect();
    for slot in &slots {
        memory.insert(0, *slot, NOW);
    }
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 9 }] {
        let limit = Limit { count: 5, window: Window::Length(Nanos::from_secs(60)), algorithm };
        for slot in slots.iter().take(8) {
            // The name that the slot stands under, in the first shard.
            let low = u128::from(slot[0]) << 32 | u128::from(slot[1]);
            let key = CounterKey(u128::from(slot[2] >> 16) << 64 | low);
            let charge = Charge { key, limit: &limit, ask: Ask::Take(1), role: Role::Enforced, descriptor: 0, group: 3 };
            let mut charges = Charges::default();
            charges.list.push(charge);
            memory.charge(NOW, &charges);
        }
    }
    let mut out = Vec::new();
    memory.collect(0, true, NOW, &mut out);
    assert!(memory.fill().counters <= out.len());
});
