//! What the store locks and counts with. In its tests locks count themselves; under shuttle these are shuttle's, whose scheduler then decides at
//! every one of them which thread goes on; everything above stays as it is.
//!
//! shuttle takes every atomic as sequentially consistent. That hides nothing here: what the store's atomics say is a
//! figure for people, or whether it is worth taking a lock.

#[cfg(not(test))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(all(test, feature = "shuttle")))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

#[cfg(all(test, feature = "shuttle"))]
pub(super) use steered::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};

#[cfg(all(test, not(feature = "shuttle")))]
pub(super) use counted::{Mutex, MutexGuard, locks_taken};

/// Locks that know how often they were taken: what happens under one lock is told apart from what happens under two.
#[cfg(all(test, not(feature = "shuttle")))]
mod counted {
    use std::cell::Cell;

    pub(in super::super) use parking_lot::MutexGuard;

    thread_local! {
        static TAKEN: Cell<usize> = const { Cell::new(0) };
    }

    /// Locks that this thread has taken so far.
    pub(in super::super) fn locks_taken() -> usize {
        TAKEN.get()
    }

    #[derive(Debug)]
    pub(in super::super) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            TAKEN.set(TAKEN.get() + 1);
            self.0.lock()
        }
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod steered {
    use std::sync::PoisonError;

    pub(in super::super) use shuttle::sync::{
        MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    };

    /// Looks like parking_lot's, which knows no poison.
    #[derive(Debug)]
    pub(in super::super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
