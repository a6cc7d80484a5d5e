//! Counters kept over a restart: a walker copies what changed into small files, once a second, and a new process reads
//! them back.
//!
//! A *segment* is what one walk writes: of every shard the counters that changed since the last walk, and of every 64th
//! shard all of them. The shards copied whole move on with each segment, so the newest [`SEGMENTS`] segments together
//! hold every live counter as of the last walk, and one walk costs what changed and a 64th of the rest. A walk that
//! finds nothing changed writes nothing: the files already say it.
//!
//! | file | story |
//! |---|---|
//! | [`segment`] | the bytes of one segment |
//! | [`walk`] | writing them, so that a crash at any point leaves the old state or the new |
//! | [`restore`](mod@restore) | reading them back; what is damaged is set aside |
//! | [`hash_key`](mod@hash_key) | the secret that counters are named with, without which the segments mean nothing |
//! | [`disk`] | the few things that are asked of a file system |
//!
//! There is no manifest beside the segments: each says in its header which set it belongs to and which place it has
//! there, and its name says the place once more. A manifest would be a second file to sync every second, and one more
//! that could be damaged.

pub mod disk;
pub mod hash_key;
pub mod restore;
pub mod segment;
pub mod walk;

pub use disk::{Directory, Disk};
pub use restore::{Restored, restore};
pub use walk::{Walk, Written};

use crate::units::Timestamp;

pub use super::slot::Slot;

/// The newest so many segments hold every live counter. More of them make a walk cheaper and a restore slower: at 64 the
/// part of a walk that is not about changes costs less than half a megabyte for a million counters.
pub const SEGMENTS: u64 = 64;

/// A store whose counters can be copied.
pub trait Source {
    /// The same number for as long as the process lives.
    fn shards(&self) -> usize;

    /// Appends counters of `shard` to `out`: those that changed since they were last collected, or all of them. Either
    /// way they count as unchanged from now on; the unchanged that have expired are dropped. Holds no lock for long.
    ///
    /// What an older segment says of a counter stands until a newer one says something else. So a counter that was
    /// removed before it expired (reset, given back) has changed, and its slot says that there is nothing; and one that
    /// has changed and then expired is collected once more, for it might have lived longer before the change.
    fn collect(&self, shard: usize, everything: bool, now: Timestamp, out: &mut Vec<Slot>);
}

/// A store that takes counters back.
pub trait Target {
    /// Puts a counter where it was, in place of an older state of it; drops both if it has expired. The counter counts as
    /// unchanged. Any eight numbers may come: a checksum finds what a disk does, not what a person does.
    fn insert(&self, shard: usize, slot: Slot, now: Timestamp);
}

/// Which set a segment belongs to: those of one store, with one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    pub shards: u32,
    /// See [`HashKey::fingerprint`](crate::rules::identity::HashKey::fingerprint).
    pub fingerprint: u64,
}

#[cfg(test)]
mod tests;
