//! Writing segments: one [`walk`](Walk::walk) through the store, one segment or none.

use std::io;

use super::{
    Disk, SEGMENTS, Set, Slot, Source,
    segment::{Header, Section, Size, Writer},
};
use crate::units::Timestamp;

/// What a segment is called until it is whole. One name is enough: a directory has one writer.
pub(super) const UNFINISHED: &str = "segment.unfinished";

/// Walks through a store, over and over.
#[derive(Debug)]
pub struct Walk<D> {
    disk: D,
    set: Set,
    /// The place of the next segment.
    next: u64,
    /// What earlier walks have collected is not on the disk: everything must be collected again.
    owed: bool,
    slots: Vec<Slot>,
}

/// What one walk wrote.
pub type Written = Size;

impl<D: Disk> Walk<D> {
    /// Goes on where [`restore`](super::restore()) ended: its `next` is the place of the first segment.
    pub fn new(disk: D, set: Set, next: u64) -> Self {
        Self { disk, set, next, owed: false, slots: Vec::new() }
    }

    /// Writes what has changed, and every 64th shard whole; nothing, if nothing has changed.
    ///
    /// When it returns, what was written outlasts a loss of power. A crash on the way leaves the segments as they were
    /// before.
    ///
    /// # Errors
    ///
    /// What the system says. The segments are then as they were before, and the next walk writes everything.
    pub fn walk<S: Source>(&mut self, source: &S, now: Timestamp) -> io::Result<Option<Written>> {
        let written = self.write(source, now);
        match written {
            // What was collected counts as unchanged now, and is nowhere.
            Err(_) => self.owed = true,
            Ok(None) => {}
            Ok(Some(_)) => {
                self.owed = false;
                self.remove_covered();
                self.next = self.next.saturating_add(1);
            }
        }
        written
    }

    fn write<S: Source>(&mut self, source: &S, now: Timestamp) -> io::Result<Option<Written>> {
        let shards = 0..source.shards();
        let (turn, owed) = (self.next % SEGMENTS, self.owed);
        let whole = |shard: &usize| owed || *shard as u64 % SEGMENTS == turn;
        let mut segment = None;

        for shard in shards.clone().filter(|shard| !whole(shard)) {
            self.collect(source, shard, false, now);
            if !self.slots.is_empty() {
                let section = Section { shard: number(shard), whole: false };
                self.begun(&mut segment, now)?.add(section, &self.slots)?;
            }
        }
        let changed = segment.is_some()
            || owed
            || shards.clone().filter(whole).any(|shard| {
                self.collect(source, shard, false, now);
                !self.slots.is_empty()
            });
        if !changed {
            return Ok(None);
        }
        for shard in shards.filter(whole) {
            self.collect(source, shard, true, now);
            let section = Section { shard: number(shard), whole: true };
            self.begun(&mut segment, now)?.add(section, &self.slots)?;
        }

        let Some(segment) = segment else { return Ok(None) };
        let (file, size) = segment.end()?;
        self.disk.replace(file, UNFINISHED, &name(self.next))?;
        Ok(Some(size))
    }

    fn collect<S: Source>(&mut self, source: &S, shard: usize, everything: bool, now: Timestamp) {
        self.slots.clear();
        source.collect(shard, everything, now, &mut self.slots);
    }

    /// The segment of this walk; begun with its first section, so that walks without change leave the disk alone.
    fn begun<'s>(
        &self,
        segment: &'s mut Option<Writer<D::Output>>,
        now: Timestamp,
    ) -> io::Result<&'s mut Writer<D::Output>> {
        if segment.is_none() {
            let header = Header { set: self.set, place: self.next, taken: now };
            *segment = Some(Writer::new(self.disk.create(UNFINISHED)?, header));
        }
        Ok(segment.as_mut().expect("it was begun just now"))
    }

    /// Removes the segments that the newest 64 cover. What cannot be removed now is found again after the next walk.
    fn remove_covered(&self) {
        let Ok(names) = self.disk.names() else { return };
        let covered = |name: &&String| place(name).is_some_and(|place| place.saturating_add(SEGMENTS) <= self.next);
        for name in names.iter().filter(covered) {
            let _ = self.disk.remove(name);
        }
    }
}

fn number(shard: usize) -> u32 {
    u32::try_from(shard).expect("a store has fewer shards than counters")
}

/// What the segment at `place` is called; names sort like places.
pub(super) fn name(place: u64) -> String {
    format!("segment-{place:020}")
}

/// The place of the segment of this name, if it is one.
pub(super) fn place(name: &str) -> Option<u64> {
    name.strip_prefix("segment-").filter(|digits| digits.len() == 20)?.parse().ok()
}
