//! The server: cores that serve, a loop that accepts, an end in order.
//!
//! It knows nothing of rules and counters ([`Decide`] does), of signals (whoever calls does), of metrics and logs
//! ([`Events`] does).

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tonic::service::Routes;

use super::{
    accept::accept,
    core::{Core, CoreError},
    decide::Decide,
    events::Events,
    health::Health,
    listen::Listener,
    message::Room,
    places::Places,
    seat::Seat,
    settings::Settings,
};

/// How much longer than the grace a core may take to end: for its thread to be scheduled on a machine that is busy.
const STOP_SLACK: Duration = Duration::from_secs(1);

/// What is served.
#[derive(Debug)]
pub struct Service<D, E> {
    pub decide: Arc<D>,
    pub events: Arc<E>,
    /// Forgets its names when the drain begins.
    pub health: Health,
    /// Everything that tonic serves: [`Health::routes`], and what the caller adds to it.
    pub routes: Routes,
}

/// Serves on `listener` until `drain` comes to an end, then lets the calls under way end, and returns once all threads
/// have: at the latest `drain_grace` and a second later.
///
/// Accepting lives on the runtime that calls, serving on threads of its own. Dropped before its end, it stops accepting
/// and the threads end by themselves within the grace.
///
/// # Errors
///
/// Where the system has no threads or handles to begin with, or a core does not end.
pub async fn run<D, E>(
    listener: Listener,
    service: Service<D, E>,
    settings: Settings,
    drain: impl Future<Output = ()>,
) -> Result<(), CoreError>
where
    D: Decide,
    E: Events,
{
    let (drains, drained) = watch::channel(false);
    let places = Arc::new(Places::new(settings.connections_max));
    let cores = start(&service, &settings, &places, &drained)?;

    tokio::select! {
        () = drain => {}
        () = accept(&listener, &cores, &places, &*service.events) => {}
    }

    drop(listener); // a new client is refused at once, and tries the next replica
    let ending: Vec<_> = cores.into_iter().map(Core::close).collect();
    service.health.clear().await;
    drains.send_replace(true);
    // All end at the same time, so that each has waited for as long as the longest.
    let mut result = Ok(());
    let deadline = Instant::now() + settings.drain_grace + STOP_SLACK;
    for core in ending {
        result = result.and(core.wait(deadline).await);
    }
    result
}

fn start<D, E>(
    service: &Service<D, E>,
    settings: &Settings,
    places: &Arc<Places>,
    drained: &watch::Receiver<bool>,
) -> Result<Vec<Core>, CoreError>
where
    D: Decide,
    E: Events,
{
    let room = Room::default();
    let routes = service.routes.clone().prepare();
    (0..settings.cores.get())
        .map(|core| {
            Core::start(Seat {
                core,
                decide: service.decide.clone(),
                events: service.events.clone(),
                routes: routes.clone(),
                settings: settings.clone(),
                room: room.clone(),
                places: Arc::clone(places),
                working: Arc::default(),
                sheds: Arc::default(),
                drain: drained.clone(),
            })
        })
        .collect()
}
