//! Files that are not what was written: never a panic, never a part of one, and the rest is used.

use proptest::prelude::*;

use super::{
    super::{
        segment::{Damage, Header, Reader, Section, Writer},
        walk::name,
    },
    *,
};
use crate::bounds::SECTION_SLOTS_MAX;

/// A few segments, each with something that no other says.
fn some_segments() -> Platter {
    let (disk, store) = (Platter::default(), shelf());
    let mut walk = Walk::new(disk.clone(), SET, 0);
    for key in 0..4 {
        // In a shard that is not whole in the segment, so that it is said once.
        store.set(100 + key, key + 1, 1_000);
        walk.walk(&store, NOW).unwrap();
    }
    disk
}

/// What is restored where segment `place` says `bytes`, and the damage that was found.
fn with(disk: &Platter, place: u64, bytes: &[u8]) -> (Live, Vec<(String, Damage)>, Platter) {
    let disk = disk.copy();
    disk.put(&name(place), bytes);
    let (shelf, restored) = restored(&disk, NOW);
    (shelf.live(NOW), restored.damaged, disk)
}

/// Holds what is restored beside a damaged segment against what is restored without it.
fn assert_set_aside(disk: &Platter, place: u64, bytes: &[u8], what: &str) {
    let (live, damaged, after) = with(disk, place, bytes);
    let without = disk.copy();
    without.remove(&name(place)).unwrap();
    assert_eq!(live, restored(&without, NOW).0.live(NOW), "segment {place}, {what}");
    assert_eq!(damaged.len(), 1, "segment {place}, {what}: {damaged:?}");
    assert_eq!(damaged[0].0, name(place));
    let names = after.names().unwrap();
    assert!(!names.contains(&name(place)), "{names:?}");
    assert_eq!(after.bytes(&format!("{}.damaged", name(place))), bytes, "it is set aside as it is");
}

#[test]
fn every_byte_matters() {
    let disk = some_segments();
    for place in 0..4 {
        let good = disk.bytes(&name(place));
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                assert_set_aside(&disk, place, &bytes, &format!("byte {at} xor {flip:#x}"));
            }
        }
    }
}

#[test]
fn a_segment_cut_short_anywhere_or_continued_is_set_aside() {
    let disk = some_segments();
    for place in 0..4 {
        let good = disk.bytes(&name(place));
        for length in 0..good.len() {
            assert_set_aside(&disk, place, &good[..length], &format!("cut to {length} bytes"));
        }
        for more in [&b"\0"[..], b"x", &good] {
            assert_set_aside(&disk, place, &[&good, more].concat(), &format!("{} bytes more", more.len()));
        }
    }
}

#[test]
fn a_segment_under_another_name_is_set_aside() {
    let disk = some_segments();
    let good = disk.bytes(&name(2));
    assert_set_aside(&disk, 3, &good, "a copy of segment 2");
    disk.put(&name(u64::MAX), &good);
    let (_, restored) = restored(&disk, NOW);
    assert_eq!(restored.next, 4, "a number in a name alone makes nothing old");
}

#[test]
fn a_segment_of_the_last_place_there_is_ends_nothing() {
    let disk = Platter::default();
    for place in [u64::MAX - 1, u64::MAX] {
        let mut writer = Writer::new(disk.create(&name(place)).unwrap(), Header { set: SET, place, taken: NOW });
        writer.add(Section { shard: 5, whole: false }, &[[5, 1, 1_000, 0, 0, 0, 0, 0]]).unwrap();
        writer.end().unwrap();
    }
    let (store, found) = restored(&disk, NOW);
    assert_eq!((store.live(NOW).len(), found.next), (1, u64::MAX));
    store.set(6, 1, 1_000);
    Walk::new(disk.clone(), SET, found.next).walk(&store, NOW).unwrap();
}

#[test]
fn a_shard_may_fill_many_sections() {
    let disk = Platter::default();
    let store = Shelf::new(1);
    let set = Set { shards: 1, fingerprint: 1 };
    let counters = 3 * u32::try_from(SECTION_SLOTS_MAX).unwrap() + 1;
    (0..counters).for_each(|key| store.set(key, 1, 1_000));
    Walk::new(disk.clone(), set, 0).walk(&store, NOW).unwrap();
    let again = Shelf::new(1);
    restore(&disk, set, &again, NOW).unwrap();
    assert_eq!(again.live(NOW).len(), counters as usize);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_segment(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let disk = Platter::default();
        disk.put(&name(0), &bytes);
        let (shelf, restored) = restored(&disk, NOW);
        prop_assert_eq!((shelf.live(NOW).len(), restored.damaged.len()), (0, 1));
    }

    /// With a header that is right, so that the sections are looked at; words are small, so that some make sense.
    #[test]
    fn arbitrary_sections_are_read_without_panic(words in prop::collection::vec(prop_oneof![0..4_u32, any::<u32>()], 0..128)) {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes, Header { set: SET, place: 0, taken: NOW }).end().unwrap();
        bytes.truncate(40);
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let mut reader = Reader::new(&bytes[..], SET).unwrap();
        let mut slots = Vec::new();
        while let Ok(Some(section)) = reader.next(&mut slots) {
            prop_assert!(section.shard < SHARDS && slots.len() <= SECTION_SLOTS_MAX);
        }
    }

    /// What a person, not a disk, may have made: the checksum is right.
    #[test]
    fn what_is_written_is_read(
        sections in prop::collection::vec(
            (0..SHARDS, any::<bool>(), prop::collection::vec(any::<Slot>(), 1..20)), 0..20),
    ) {
        let header = Header { set: SET, place: 3, taken: NOW };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, header);
        for (shard, whole, slots) in &sections {
            writer.add(Section { shard: *shard, whole: *whole }, slots).unwrap();
        }
        let (_, size) = writer.end().unwrap();
        prop_assert_eq!(size.bytes, bytes.len() as u64);
        let mut reader = Reader::new(&bytes[..], SET).unwrap();
        prop_assert_eq!(reader.header(), header);
        let mut read = Vec::new();
        let mut slots = Vec::new();
        while let Some(Section { shard, whole }) = reader.next(&mut slots).unwrap() {
            read.push((shard, whole, slots.clone()));
        }
        prop_assert_eq!(read, sections);
    }
}
