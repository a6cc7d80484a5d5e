//! What was answered and has not left yet: h2 keeps it for a client that reads nothing, for as long as the connection
//! lives.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::{Buf, Bytes};

/// Counts what a connection's client has yet to take.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    given: AtomicU64,
    taken: AtomicU64,
}

impl Unread {
    /// A payload that counts until it has left.
    pub(super) fn payload(&self, bytes: Bytes) -> Payload {
        self.0.given.fetch_add(1, Relaxed);
        Payload { bytes, unread: self.clone() }
    }

    /// How many have left.
    pub(super) fn taken(&self) -> u64 {
        self.0.taken.load(Relaxed)
    }

    /// Whether some have not.
    pub(super) fn waits(&self) -> bool {
        self.taken() < self.0.given.load(Relaxed)
    }
}

/// A part of an answer, as h2 sends it.
#[derive(Debug)]
pub(super) struct Payload {
    bytes: Bytes,
    unread: Unread,
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.unread.0.taken.fetch_add(1, Relaxed);
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_left_waits() {
        let unread = Unread::default();
        assert!(!unread.waits());
        let (first, second) = (unread.payload(Bytes::from_static(b"one")), unread.payload(Bytes::new()));
        assert!((unread.waits(), unread.taken()) == (true, 0));
        drop(second);
        assert!((unread.waits(), unread.taken()) == (true, 1));
        drop(first);
        assert!((unread.waits(), unread.taken()) == (false, 2));
    }
}
