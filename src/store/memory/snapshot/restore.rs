//! Reading segments back: what is right is used in order, what is not is set aside.

use std::io;

use super::{
    Disk, SEGMENTS, Set, Slot, Target,
    segment::{Damage, Header, Reader},
    walk::{UNFINISHED, name, place},
};
use crate::{
    bounds::{SEGMENTS_LOOKED_AT_MAX, SEGMENTS_SET_ASIDE_MAX},
    units::Timestamp,
};

/// What a segment's name is followed by once it is set aside.
const SET_ASIDE: &str = ".damaged";

/// What a restore found.
#[derive(Debug)]
pub struct Restored {
    /// Counters handed to the store, those that had expired included.
    pub counters: u64,
    /// Segments they came from.
    pub segments: usize,
    /// The wall clock at the newest of them.
    pub taken: Option<Timestamp>,
    /// Names of files that were set aside, and why.
    pub damaged: Vec<(String, Damage)>,
    /// The place of the next segment.
    pub next: u64,
}

/// Puts the counters that the segments on `disk` hold into `target`.
///
/// Each segment is read twice: nothing of it is used before its checksum has been seen to be right. Memory is bounded by
/// one section, time by the size of the newest segments.
///
/// # Errors
///
/// The directory cannot be listed. A segment that cannot be read is only set aside.
pub fn restore<D: Disk, T: Target>(disk: &D, set: Set, target: &T, now: Timestamp) -> io::Result<Restored> {
    let mut places: Vec<u64> = disk.names()?.iter().filter_map(|name| place(name)).collect();
    places.sort_unstable();
    // What a crash left half written. That there is none is as good.
    let _ = disk.remove(UNFINISHED);
    // The newest segment may have got its name just before a crash: what we go on from must not vanish with the power.
    // A disk that cannot do it says so again at the first walk.
    let _ = disk.sync_names();

    let mut damaged = Vec::new();
    let mut found = Vec::new();
    for &place in &places[places.len().saturating_sub(SEGMENTS_LOOKED_AT_MAX)..] {
        match look(disk, set, place) {
            Ok(segment) => found.push(segment),
            Err(damage) => damaged.push((name(place), damage)),
        }
    }
    // A file may have been put here with any number in its name; only those of our set say which are the newest.
    let newest = found.last().map(|segment| segment.header);
    let next = newest.map_or(0, |newest| newest.place.saturating_add(1));
    found.retain(|segment| segment.header.place.saturating_add(SEGMENTS) >= next);

    let mut complete_since = vec![0; set.shards as usize];
    for segment in &found {
        for &shard in &segment.whole {
            complete_since[shard as usize] = segment.header.place;
        }
    }
    let mut counters = 0;
    for segment in &found {
        match load(disk, segment.header, &complete_since, target, now) {
            Ok(count) => counters += count,
            Err(damage) => damaged.push((name(segment.header.place), damage)),
        }
    }
    set_aside(disk, &damaged);
    Ok(Restored { counters, segments: found.len(), taken: newest.map(|newest| newest.taken), damaged, next })
}

/// A segment that was found to be right.
struct Found {
    header: Header,
    /// The shards that it holds whole.
    whole: Vec<u32>,
}

fn look<D: Disk>(disk: &D, set: Set, place: u64) -> Result<Found, Damage> {
    let mut reader = Reader::new(disk.open(&name(place))?, set)?;
    let header = reader.header();
    if header.place != place {
        return Err(Damage::OtherPlace(header.place));
    }
    let mut whole = Vec::new();
    let mut slots = Vec::new();
    while let Some(section) = reader.next(&mut slots)? {
        if section.whole && whole.last() != Some(&section.shard) {
            if whole.len() >= set.shards as usize {
                return Err(Damage::BadSection("more whole shards than there are"));
            }
            whole.push(section.shard);
        }
    }
    Ok(Found { header, whole })
}

/// Loads what no later segment holds more completely.
fn load<D: Disk, T: Target>(
    disk: &D,
    header: Header,
    complete_since: &[u64],
    target: &T,
    now: Timestamp,
) -> Result<u64, Damage> {
    let mut reader = Reader::new(disk.open(&name(header.place))?, header.set)?;
    let mut slots: Vec<Slot> = Vec::new();
    let mut counters = 0;
    while let Some(section) = reader.next(&mut slots)? {
        let shard = section.shard as usize;
        if header.place < complete_since[shard] {
            continue;
        }
        for &slot in &slots {
            target.insert(shard, slot, now);
        }
        counters += slots.len() as u64;
    }
    Ok(counters)
}

/// Renames damaged files, so that they are neither read nor overwritten; a few are kept. A disk that does not let us do
/// so is no reason not to start: the next walks write over them.
fn set_aside<D: Disk>(disk: &D, damaged: &[(String, Damage)]) {
    for (name, _) in damaged {
        let _ = disk.rename(name, &format!("{name}{SET_ASIDE}"));
    }
    let mut aside: Vec<String> = disk.names().unwrap_or_default();
    aside.retain(|name| name.starts_with("segment-") && name.ends_with(SET_ASIDE));
    aside.sort_unstable();
    for name in &aside[..aside.len().saturating_sub(SEGMENTS_SET_ASIDE_MAX)] {
        let _ = disk.remove(name);
    }
}
