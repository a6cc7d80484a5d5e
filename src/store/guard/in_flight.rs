//! Calls under way, at most so many: a store that answers no more must not make us hold ever more requests.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Places for calls that are under way.
#[derive(Debug)]
pub struct InFlight {
    most: usize,
    calls: AtomicUsize,
}

/// One call's place; given back when dropped, also with a future that is never finished.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Place<'f> {
    of: &'f InFlight,
}

impl InFlight {
    /// Places for `most` calls.
    pub const fn new(most: usize) -> Self {
        Self { most, calls: AtomicUsize::new(0) }
    }

    /// A place for one more call, if there is one; nobody waits for it.
    pub fn enter(&self) -> Option<Place<'_>> {
        let one_more = |calls: usize| (calls < self.most).then_some(calls + 1);
        self.calls.fetch_update(Acquire, Relaxed, one_more).ok().map(|_| Place { of: self })
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.calls.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn there_are_so_many_places_and_no_more_until_one_is_given_back() {
        let in_flight = InFlight::new(2);
        let (first, second) = (in_flight.enter(), in_flight.enter());
        assert!(first.is_some() && second.is_some() && in_flight.enter().is_none());
        drop(first);
        let third = in_flight.enter();
        assert!(third.is_some() && in_flight.enter().is_none());
        drop((second, third));
        assert_eq!(in_flight.calls(), 0, "refused calls took none");
    }

    #[test]
    fn a_future_that_is_dropped_gives_its_place_back() {
        let in_flight = InFlight::new(1);
        let call = async {
            let _place = in_flight.enter();
            std::future::pending::<()>().await;
        };
        let mut call = Box::pin(call);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert!(in_flight.enter().is_none());
        drop(call);
        assert!(in_flight.enter().is_some());
    }

    #[test]
    fn threads_never_hold_more_places_than_there_are() {
        let in_flight = InFlight::new(3);
        let churn = || {
            for _ in 0..10_000 {
                let place = in_flight.enter();
                assert!(in_flight.calls() <= 3);
                drop(place);
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(churn))));
        assert_eq!(in_flight.calls(), 0);
    }
}
