//! A page: up to 124 counters that stand without gaps, found by one byte of their names.

use super::slot::{self, Name, Slot};

/// Counters of a page: as many as fit with their tags into 4,096 bytes, which allocators hand out without waste.
pub(super) const SLOTS: usize = 124;

/// Tags that are looked at together: 31 of them are three steps of a vector unit less one byte, four times a page.
const GLANCE: usize = 31;

#[derive(Debug)]
pub(super) struct Page {
    len: u8,
    /// How many upper bits the names in here have in common.
    pub(super) depth: u8,
    tags: [u8; SLOTS],
    slots: [Slot; SLOTS],
}

const _: () = assert!(size_of::<Page>() == 4_096, "a page is what allocators hand out without waste");

impl Page {
    pub(super) fn new(depth: u8) -> Box<Self> {
        Box::new(Self { len: 0, depth, tags: [0; SLOTS], slots: [[0; 8]; SLOTS] })
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots[..usize::from(self.len)]
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots[..usize::from(self.len)]
    }

    /// The place of the counter called `name`.
    #[inline]
    pub(super) fn find(&self, name: Name) -> Option<usize> {
        let (tag, len) = (name.tag(), self.len());
        for (glance, tags) in self.tags.chunks_exact(GLANCE).enumerate() {
            let first = glance * GLANCE;
            if first >= len {
                return None;
            }
            let mut same = tags.iter().enumerate().fold(0u32, |same, (i, &t)| same | u32::from(t == tag) << i);
            while same != 0 {
                let place = first + same.trailing_zeros() as usize;
                if place < len && slot::name(&self.slots[place]) == name {
                    return Some(place);
                }
                same &= same - 1;
            }
        }
        None
    }

    /// Adds a counter that is not there yet; false where there is no place.
    pub(super) fn push(&mut self, slot: Slot) -> bool {
        if self.len() == SLOTS {
            return false;
        }
        self.len += 1;
        self.replace(self.len() - 1, slot);
        true
    }

    /// Puts `slot` where another one stands, and gives that back.
    pub(super) fn replace(&mut self, place: usize, slot: Slot) -> Slot {
        self.tags[place] = slot::name(&slot).tag();
        std::mem::replace(&mut self.slots[place], slot)
    }

    /// Takes one out; the last one takes its place.
    pub(super) fn swap_remove(&mut self, place: usize) -> Slot {
        let removed = self.slots[place];
        let last = self.len() - 1;
        self.replace(place, self.slots[last]);
        self.len -= 1;
        removed
    }

    /// Moves those for which `moves` says so to `other`, which has place for them.
    pub(super) fn move_to(&mut self, other: &mut Self, moves: impl Fn(&Slot) -> bool) {
        let mut place = 0;
        while place < self.len() {
            if moves(&self.slots[place]) && other.push(self.slots[place]) {
                self.swap_remove(place);
            } else {
                place += 1;
            }
        }
    }

    /// Drops those for which `drops` says so, and says how many.
    pub(super) fn drop_where(&mut self, mut drops: impl FnMut(&Slot) -> bool) -> usize {
        let before = self.len();
        let mut place = 0;
        while place < self.len() {
            if drops(&self.slots[place]) {
                self.swap_remove(place);
            } else {
                place += 1;
            }
        }
        before - self.len()
    }
}
