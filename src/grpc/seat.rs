//! What all connections of one core share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize},
};

use tokio::sync::watch;
use tonic::service::Routes;

use super::{message::Room, places::Places, settings::Settings};

/// What all connections of one core share: one a core, so that counting its references stays within the core.
pub(super) struct Seat<D, E> {
    pub core: usize,
    pub decide: Arc<D>,
    pub events: Arc<E>,
    pub routes: Routes,
    pub settings: Settings,
    pub room: Room,
    pub places: Arc<Places>,
    /// Connections of this core that have asked for a decision.
    pub working: Arc<AtomicUsize>,
    /// The core has too much to do: the next connection that asks is told to go. The busiest is the likeliest to.
    pub sheds: Arc<AtomicBool>,
    /// Turns true when the server stops.
    pub drain: watch::Receiver<bool>,
}
