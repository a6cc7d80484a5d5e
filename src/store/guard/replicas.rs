//! By how many processes a limit is shared while the store is away: what people said, or as many as were counted.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// Counts that are remembered, the highest of which is believed. One alone may come too low: a store that was away or has
/// lost its memory hears the replicas again one by one. Too high a number lets in too little for some seconds, too low a
/// one more than the limit.
const COUNTS_REMEMBERED: usize = 3;

/// How many replicas there are.
#[derive(Debug)]
pub struct Replicas {
    /// By people, who are believed.
    said: Option<NonZeroU32>,
    /// 0: not yet.
    counted: AtomicU32,
    /// The last counts; those that were none yet are 0.
    last: Mutex<[u32; COUNTS_REMEMBERED]>,
}

impl Replicas {
    /// As many as people say, or where they say nothing as will be counted.
    pub fn new(said: Option<NonZeroU32>) -> Self {
        Self { said, counted: AtomicU32::new(0), last: Mutex::default() }
    }

    /// By how many a limit is shared: by one as long as nobody knows better.
    pub fn sharing(&self) -> u32 {
        self.said.map_or_else(|| self.counted.load(Relaxed).max(1), NonZeroU32::get)
    }

    /// How many were counted; None: not yet. While they cannot be, the last number stays.
    pub fn counted(&self) -> Option<u32> {
        Some(self.counted.load(Relaxed)).filter(|&counted| counted > 0)
    }

    /// So many were counted just now.
    pub fn count(&self, replicas: u32) {
        let mut last = self.last.lock();
        last.rotate_right(1);
        last[0] = replicas;
        self.counted.store(last.iter().copied().max().unwrap_or(replicas), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shared_by_one_until_more_are_counted_unless_people_say_how_many() {
        let said = Replicas::new(NonZeroU32::new(3));
        let counted = Replicas::new(None);
        assert_eq!((said.sharing(), counted.sharing()), (3, 1));
        assert_eq!((said.counted(), counted.counted()), (None, None));
        said.count(5);
        counted.count(5);
        assert_eq!((said.sharing(), counted.sharing()), (3, 5));
        assert_eq!((said.counted(), counted.counted()), (Some(5), Some(5)));
    }

    #[test]
    fn more_are_believed_at_once_and_fewer_when_three_counts_agree() {
        let replicas = Replicas::new(None);
        let believed = [2, 3, 1, 2, 2, 1, 1, 1, 4].map(|count| {
            replicas.count(count);
            replicas.sharing()
        });
        assert_eq!(believed, [2, 3, 3, 3, 2, 2, 2, 1, 4]);
    }
}
