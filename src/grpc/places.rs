//! Places for connections. When nearly all are taken, who has asked nothing lately makes room for who comes: a crowd that
//! only sits there must not keep an Envoy out.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// One in so many places is kept free, as long as somebody sits idly in another: who comes finds one of those, and does not
/// wait until another is left.
const KEPT_FREE: usize = 64;

/// All places there are.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    max: usize,
    /// Those who could spare theirs wait here, one behind the other.
    needed: Notify,
}

/// One of them; free again once dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max, needed: Notify::new() }
    }

    /// A place, if one is free. Only one thread takes places.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        if self.are_scarce() {
            self.another_is_needed();
        }
        if self.taken.load(Relaxed) >= self.max {
            return None;
        }
        self.taken.fetch_add(1, Relaxed);
        Some(Place(Arc::clone(self)))
    }

    /// Waits until the place of who waits here is needed. It is for who has waited longest.
    pub(super) async fn one_is_needed(&self) {
        loop {
            self.needed.notified().await;
            // It may have been needed when nobody waited, and not be any more.
            if self.are_scarce() {
                return;
            }
        }
    }

    /// Asks the next one: somebody needs a place, or who was asked keeps its own.
    pub(super) fn another_is_needed(&self) {
        self.needed.notify_one();
    }

    fn are_scarce(&self) -> bool {
        self.taken.load(Relaxed) + self.max / KEPT_FREE >= self.max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn there_are_so_many_places_and_one_that_is_left_is_free() {
        let places = Arc::new(Places::new(2));
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
        assert!(Arc::new(Places::new(0)).take().is_none());
    }

    #[test]
    fn when_places_are_scarce_each_who_comes_needs_one_of_who_has_waited_longest() {
        let places = Arc::new(Places::new(2 * KEPT_FREE));
        let mut taken: Vec<_> = (0..2 * KEPT_FREE - 2).map(|_| places.take().unwrap()).collect();
        let (mut first, mut second) = (pin!(places.one_is_needed()), pin!(places.one_is_needed()));
        let mut first_is_asked = || first.as_mut().now_or_never().is_some();
        let mut second_is_asked = || second.as_mut().now_or_never().is_some();
        assert!(!first_is_asked() && !second_is_asked(), "there is enough");
        taken.push(places.take().unwrap());
        assert!(!second_is_asked() && first_is_asked());
        taken.push(places.take().unwrap());
        assert!(second_is_asked());
        assert!(places.take().is_none());
    }

    #[test]
    fn a_need_that_is_over_is_nobodys() {
        let places = Arc::new(Places::new(1));
        let place = places.take();
        assert!(places.take().is_none(), "it is needed, and nobody can spare one");
        drop(place);
        assert!(places.one_is_needed().now_or_never().is_none());
    }
}
