//! The other end of one connection: whether it works, and whether it shall go.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::{sync::Notify, time::sleep};

use super::{seat::Seat, unread::Unread};
use crate::bounds;

/// The other end of one connection.
pub(super) struct Client<D, E> {
    pub seat: Arc<Seat<D, E>>,
    /// What it was answered and has not taken yet.
    pub unread: Unread,
    /// It has asked for a decision.
    works: AtomicBool,
    /// It has since somebody looked.
    asked: AtomicBool,
    /// It shall go and come back to another core.
    shed: Notify,
}

impl<D, E> Client<D, E> {
    pub(super) fn of(seat: Arc<Seat<D, E>>) -> Self {
        Self {
            seat,
            unread: Unread::default(),
            works: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            shed: Notify::new(),
        }
    }

    /// A decision is asked for.
    pub(super) fn asks(&self) {
        if !self.works.load(Relaxed) && !self.works.swap(true, Relaxed) {
            self.seat.working.fetch_add(1, Relaxed);
        }
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
        }
        if self.seat.sheds.load(Relaxed) && self.seat.sheds.swap(false, Relaxed) {
            self.shed.notify_one();
        }
    }

    /// Waits until it shall go and come back to another core.
    pub(super) async fn told_to_go(&self) {
        self.shed.notified().await;
    }

    /// Waits until its place is needed by somebody else, while it asks for nothing itself.
    pub(super) async fn told_to_make_room(&self) {
        sleep(bounds::ASKS_WITHIN).await;
        loop {
            while self.has_asked() {
                sleep(bounds::IDLE_AFTER).await;
            }
            self.seat.places.one_is_needed().await;
            if !self.has_asked() {
                return;
            }
            self.seat.places.another_is_needed();
        }
    }

    /// Since this was called last.
    fn has_asked(&self) -> bool {
        self.asked.swap(false, Relaxed)
    }
}

impl<D, E> Drop for Client<D, E> {
    fn drop(&mut self) {
        if *self.works.get_mut() {
            self.seat.working.fetch_sub(1, Relaxed);
        }
    }
}
