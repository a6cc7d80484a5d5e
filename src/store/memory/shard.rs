//! One shard: a directory of equal pages (extendible hashing), and what makes room when it is full.
//!
//! The upper bits of a counter's name choose its page. A page that is full splits in two and nothing else moves, so
//! that no insertion costs more than one page's worth of work; hash tables that double stop the world at ten million
//! counters, and take up to twice the memory.

use std::sync::Arc;

use super::{
    groups::{Gone, Groups},
    page::{Page, SLOTS},
    slot::{self, FULL, Name, Slot},
};
use crate::units::Timestamp;

/// Bits of a name that choose pages. A directory of 2¹⁶ pages holds five million counters, five times what a billion
/// counters come to in one shard.
pub(super) const PREFIX_BITS: u32 = 16;

/// Entries of a directory for each of its pages at most. Random names need about three. Only the windows of one
/// descriptor have equal prefixes: more of them than a page holds would double the directory for nothing.
const DIRECTORY_PER_PAGE: usize = 32;

/// Two neighbouring pages become one when they hold this many together: half of what makes it split again.
const MERGED: usize = SLOTS / 2;

/// Pages that are searched for a counter to evict where the newcomer's own has none: only shards of a few counters get
/// there, or such as are refused nearly throughout.
const PAGES_SEARCHED: usize = 4;

/// The counters of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    /// Counters it may hold.
    capacity: usize,
    /// Those of the whole store.
    groups: Arc<Groups>,
    /// How many bits of a name choose the entry of the directory.
    depth: u32,
    /// Places in `pages`; empty while there are no counters at all.
    directory: Vec<u32>,
    pages: Vec<Option<Box<Page>>>,
    /// Places in `pages` that are empty.
    free: Vec<u32>,
    /// How many pages there are of each depth: the directory is as deep as the deepest.
    of_depth: [u32; PREFIX_BITS as usize + 1],
    len: usize,
}

/// What became of a counter that was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Found,
    /// Another one that still counted made place.
    Evicting,
    /// Everything near is refused at the moment.
    Nowhere,
}

/// What a look at a whole page tells.
#[derive(Clone, Copy, Default)]
struct Census {
    expired: Option<usize>,
    /// The counter that is furthest from its limit, and its share; none that is full.
    furthest: Option<(u8, usize)>,
}

impl Shard {
    /// A shard of at most `capacity` counters of the groups that the whole store counts.
    pub(super) fn new(capacity: usize, groups: Arc<Groups>) -> Self {
        Self {
            capacity,
            groups,
            depth: 0,
            directory: Vec::new(),
            pages: Vec::new(),
            free: Vec::new(),
            of_depth: [0; PREFIX_BITS as usize + 1],
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn page_count(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// Bytes it holds: pages and directory.
    pub(super) fn bytes(&self) -> usize {
        self.page_count() * size_of::<Page>()
            + self.pages.capacity() * size_of::<Option<Box<Page>>>()
            + (self.directory.capacity() + self.free.capacity()) * size_of::<u32>()
    }

    /// The counter called `name`.
    #[inline]
    pub(super) fn find(&self, name: Name) -> Option<&Slot> {
        let page = self.page(self.place_of(name.high)?)?;
        page.find(name).map(|place| &page.slots()[place])
    }

    /// Whether the counter called `name` is held against newcomers, or not here at all. One without room is not where
    /// its limit was lowered since it was last charged.
    pub(super) fn is_held(&self, name: Name) -> bool {
        self.find(name).is_none_or(|slot| slot::share_of(slot) == FULL)
    }

    /// Remembers `slot`.
    pub(super) fn put(&mut self, slot: Slot, now: Timestamp) -> Placed {
        let (name, group) = (slot::name(&slot), slot::group(&slot));
        let Some(page) = self.page_for(name.high) else { return Placed::Nowhere };
        if let Some(place) = page.find(name) {
            let before = page.replace(place, slot);
            // A reload may have given its limit another number.
            self.groups.renumber(slot::group(&before), group);
            return Placed::Found;
        }
        if !self.groups.claim(group) {
            return self.put_among_own(slot, now);
        }
        let placed = self.put_newcomer(slot, now);
        if placed == Placed::Nowhere {
            self.groups.release(group, 1);
        }
        placed
    }

    /// Puts a newcomer of a group that has half of the store: another one of that group makes place.
    fn put_among_own(&mut self, slot: Slot, now: Timestamp) -> Placed {
        let Some(page) = self.page_for(slot::name(&slot).high) else { return Placed::Nowhere };
        let census = Census::take(page, now, |other| slot::group(other) == slot::group(&slot));
        let Some((place, placed)) = census.victim() else { return Placed::Nowhere };
        page.replace(place, slot);
        placed
    }

    /// Puts a newcomer that its group has a place for.
    fn put_newcomer(&mut self, slot: Slot, now: Timestamp) -> Placed {
        let high = slot::name(&slot).high;
        // As long as there is place enough nobody looks for what has expired: the walker drops it anyway.
        let census = if self.len * 2 < self.capacity { Census::default() } else { self.census(high, now) };
        if census.expired.is_some() {
            return self.put_instead(census, slot);
        }
        while self.len < self.capacity {
            if self.push(slot) {
                return Placed::Found;
            }
            if !self.split(high) {
                let census = self.census(high, now);
                return self.put_instead(census, slot);
            }
        }
        // The page stands as it stood: what is evicted is in another one.
        if census.furthest.is_none() && self.evict_near(high, now) && self.push(slot) {
            return Placed::Evicting;
        }
        self.put_instead(census, slot)
    }

    /// Puts a newcomer in the place of another one of its page.
    fn put_instead(&mut self, census: Census, slot: Slot) -> Placed {
        let Some((place, placed)) = census.victim() else { return Placed::Nowhere };
        let Some(page) = self.page_for(slot::name(&slot).high) else { return Placed::Nowhere };
        let victim = page.replace(place, slot);
        self.groups.release(slot::group(&victim), 1);
        placed
    }

    /// Adds a newcomer to its page; false where that is full.
    fn push(&mut self, slot: Slot) -> bool {
        let pushed = self.page_for(slot::name(&slot).high).is_some_and(|page| page.push(slot));
        self.len += usize::from(pushed);
        pushed
    }

    fn census(&mut self, high: u16, now: Timestamp) -> Census {
        self.page_for(high).map(|page| Census::take(page, now, |_| true)).unwrap_or_default()
    }

    /// Drops one counter of the pages after that of `high` (and of none before it, so that this one stays as it is),
    /// where that has place for a newcomer.
    fn evict_near(&mut self, high: u16, now: Timestamp) -> bool {
        if self.page_for(high).is_none_or(|page| page.len() == SLOTS) {
            return false;
        }
        let mut cursor = self.after(high);
        for _ in 0..PAGES_SEARCHED {
            let at = cursor.unwrap_or(0);
            if self.place_of(at) == self.place_of(high) {
                return false;
            }
            cursor = self.after(at);
            let Some((place, _)) = self.census(at, now).victim() else { continue };
            let Some(page) = self.page_for(at) else { return false };
            let victim = page.swap_remove(place);
            self.groups.release(slot::group(&victim), 1);
            self.len -= 1;
            return true;
        }
        false
    }

    /// Visits the page at `cursor`: shows all of it to `each`, drops what has expired, gives memory back. Returns where
    /// the next page begins.
    ///
    /// A walk from 0 to the end visits every counter that is there all the while, however pages split and merge
    /// between its steps: a cursor is a place among names, not among pages.
    pub(super) fn visit(&mut self, cursor: u16, now: Timestamp, each: impl FnMut(&mut Slot)) -> Option<u16> {
        let next = self.after(cursor);
        let place = self.place_of(cursor)? as usize;
        let page = self.pages.get_mut(place)?.as_deref_mut()?;
        page.slots_mut().iter_mut().for_each(each);
        let mut gone = Gone::of(&self.groups);
        let dropped = page.drop_where(|slot| {
            let expired = slot::expired(slot, now);
            if expired {
                gone.note(slot::group(slot));
            }
            expired
        });
        gone.tell();
        let few = page.len() <= MERGED;
        self.len -= dropped;
        if few {
            self.merge(cursor);
        }
        next
    }

    /// The first prefix behind the page of `high`; None where it is the last.
    fn after(&self, high: u16) -> Option<u16> {
        let depth = self.page(self.place_of(high)?)?.depth;
        let span = 1u32 << (PREFIX_BITS - u32::from(depth));
        u16::try_from((u32::from(high) & !(span - 1)) + span).ok()
    }

    /// Splits the page of `high` in two; false where the directory would become too large for it.
    fn split(&mut self, high: u16) -> bool {
        let Some(place) = self.place_of(high) else { return false };
        let live = self.page_count();
        let Some(page) = self.page(place) else { return false };
        let depth = u32::from(page.depth);
        if depth == self.depth {
            if depth == PREFIX_BITS || self.directory.len() * 2 > live * DIRECTORY_PER_PAGE {
                return false;
            }
            self.directory = self.directory.iter().flat_map(|&place| [place, place]).collect();
            self.depth += 1;
        }
        let Some(page) = self.page_mut(place) else { return false };
        page.depth += 1;
        let mut other = Page::new(page.depth);
        let bit = 1u16 << (PREFIX_BITS - 1 - depth);
        page.move_to(&mut other, |slot| slot::name(slot).high & bit != 0);
        let other = self.keep(other);
        self.of_depth[depth as usize] -= 1;
        self.of_depth[depth as usize + 1] += 2;
        self.point(high | bit, depth + 1, other);
        true
    }

    /// Makes one page of that of `high` and its neighbour as long as both are nearly empty, and gives back what it
    /// can.
    fn merge(&mut self, high: u16) {
        while let Some(place) = self.place_of(high) {
            let Some(page) = self.page(place) else { return };
            let (depth, len) = (u32::from(page.depth), page.len());
            if depth == 0 {
                if len == 0 {
                    *self = Self::new(self.capacity, Arc::clone(&self.groups));
                }
                return;
            }
            let neighbour = high ^ 1 << (PREFIX_BITS - depth);
            let Some(other_place) = self.place_of(neighbour) else { return };
            let fits = self.page(other_place).is_some_and(|o| u32::from(o.depth) == depth && o.len() + len <= MERGED);
            if !fits {
                break;
            }
            let Some(mut other) = self.pages[other_place as usize].take() else { return };
            self.free.push(other_place);
            let Some(page) = self.page_mut(place) else { return };
            page.depth -= 1;
            other.move_to(page, |_| true);
            self.of_depth[depth as usize] -= 2;
            self.of_depth[depth as usize - 1] += 1;
            self.point(neighbour, depth, place);
        }
        self.shrink();
    }

    /// Makes the directory no deeper than the deepest page.
    fn shrink(&mut self) {
        let pages = (0..).zip(&self.of_depth).filter(|&(_, &pages)| pages > 0);
        let deepest = pages.map(|(depth, _)| depth).max().unwrap_or(0);
        let span = 1 << (self.depth - deepest);
        if span > 1 {
            self.directory = self.directory.iter().copied().step_by(span).collect();
            self.depth = deepest;
        }
    }

    /// Lets every name that shares `depth` bits with `high` lead to the page at `place`.
    fn point(&mut self, high: u16, depth: u32, place: u32) {
        let span = 1usize << (self.depth - depth);
        let first = self.entry_of(high) & !(span - 1);
        self.directory[first..first + span].fill(place);
    }

    fn keep(&mut self, page: Box<Page>) -> u32 {
        if let Some(place) = self.free.pop() {
            self.pages[place as usize] = Some(page);
            return place;
        }
        self.pages.push(Some(page));
        u32::try_from(self.pages.len() - 1).unwrap_or(u32::MAX)
    }

    fn entry_of(&self, high: u16) -> usize {
        (u32::from(high) >> (PREFIX_BITS - self.depth)) as usize
    }

    fn place_of(&self, high: u16) -> Option<u32> {
        self.directory.get(self.entry_of(high)).copied()
    }

    fn page(&self, place: u32) -> Option<&Page> {
        self.pages.get(place as usize)?.as_deref()
    }

    fn page_mut(&mut self, place: u32) -> Option<&mut Page> {
        self.pages.get_mut(place as usize)?.as_deref_mut()
    }

    /// The page of `high`, the first one if there is none.
    fn page_for(&mut self, high: u16) -> Option<&mut Page> {
        if self.directory.is_empty() {
            let first = self.keep(Page::new(0));
            self.of_depth[0] = 1;
            self.directory.push(first);
        }
        self.page_mut(self.place_of(high)?)
    }
}

impl Census {
    /// Looks at the slots of `page` that may make place.
    fn take(page: &Page, now: Timestamp, may: impl Fn(&Slot) -> bool) -> Self {
        let mut census = Self::default();
        for (place, slot) in page.slots().iter().enumerate().filter(|(_, slot)| may(slot)) {
            if slot::expired(slot, now) {
                census.expired = Some(place);
                return census;
            }
            let share = slot::share_of(slot);
            // Of equals the first: a flood then keeps taking the place of its own last one.
            if share != FULL && census.furthest.is_none_or(|(furthest, _)| share < furthest) {
                census.furthest = Some((share, place));
            }
        }
        census
    }

    /// Who makes place, and what that is called.
    fn victim(&self) -> Option<(usize, Placed)> {
        let expired = self.expired.map(|place| (place, Placed::Found));
        expired.or(self.furthest.map(|(_, place)| (place, Placed::Evicting)))
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
