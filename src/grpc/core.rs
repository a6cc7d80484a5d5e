//! A core: one thread with a runtime of its own, and the connections dealt to it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{self, RuntimeMetrics},
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet, yield_now},
    time::{Instant, timeout, timeout_at},
};

use super::{
    connection,
    decide::Decide,
    events::{Events, TurnedAway},
    places::Place,
    seat::Seat,
    wire::Accepted,
};
use crate::bounds;

/// A connection on its way to a core.
#[derive(Debug)]
pub(super) struct Dealt {
    pub socket: Accepted,
    /// How many came before it, since the process started.
    pub number: u64,
    pub place: Place,
}

/// Why a core could not begin or end as it should.
#[derive(Debug, Error)]
pub enum CoreError {
    #[error("cannot start core {core}")]
    Start { core: usize, source: io::Error },
    /// Only the end of the process ends it.
    #[error("core {core} hangs and was left behind")]
    Hangs { core: usize },
    #[error("core {core} panicked")]
    Panicked { core: usize },
}

/// A running core, seen from the accept loop.
#[derive(Debug)]
pub(super) struct Core {
    queue: mpsc::Sender<Dealt>,
    metrics: RuntimeMetrics,
    working: Arc<AtomicUsize>,
    sheds: Arc<AtomicBool>,
    ended: Ended,
}

/// What tells that a core's thread has ended.
#[derive(Debug)]
pub(super) struct Ended {
    core: usize,
    signal: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Core {
    /// Starts the thread of a core.
    ///
    /// # Errors
    ///
    /// Where the system has no thread or no handles for it.
    pub(super) fn start<D: Decide, E: Events>(seat: Seat<D, E>) -> Result<Self, CoreError> {
        let core = seat.core;
        let failed = |source| CoreError::Start { core, source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let metrics = runtime.metrics();
        let (working, sheds) = (seat.working.clone(), seat.sheds.clone());
        let (queue, dealt) = mpsc::channel(bounds::DEALT_MAX);
        let (ends, signal) = oneshot::channel::<()>();
        let spawned = thread::Builder::new().name(format!("grpc-{core}")).spawn(move || {
            runtime.block_on(run(Arc::new(seat), dealt));
            drop(runtime); // and with it what outlived the grace
            drop(ends);
        });
        let thread = spawned.map_err(failed)?;
        Ok(Self { queue, metrics, working, sheds, ended: Ended { core, signal, thread } })
    }

    /// Hands a connection over; gives it back if the core takes none.
    pub(super) fn deal(&self, dealt: Dealt) -> Result<(), Dealt> {
        self.queue.try_send(dealt).map_err(|error| match error {
            mpsc::error::TrySendError::Full(dealt) | mpsc::error::TrySendError::Closed(dealt) => dealt,
        })
    }

    /// How long it has worked since it started.
    pub(super) fn busy_total(&self) -> Duration {
        // A current-thread runtime has one worker.
        self.metrics.worker_total_busy_duration(0)
    }

    /// Connections that have asked for a decision.
    pub(super) fn working(&self) -> usize {
        self.working.load(Relaxed)
    }

    /// Tells it to send one of its connections away.
    pub(super) fn shed(&self) {
        self.sheds.store(true, Relaxed);
    }

    /// Deals nothing more to it, so that it ends once its connections have.
    pub(super) fn close(self) -> Ended {
        self.ended
    }
}

impl Ended {
    /// Waits for the thread to end.
    ///
    /// # Errors
    ///
    /// Where it has not by the deadline (it hangs, and is left behind), or where it panicked.
    pub(super) async fn wait(self, deadline: Instant) -> Result<(), CoreError> {
        let core = self.core;
        if timeout_at(deadline, self.signal).await.is_err() {
            return Err(CoreError::Hangs { core });
        }
        // It has dropped its last: joining waits for nothing but its return.
        self.thread.join().map_err(|_| CoreError::Panicked { core })
    }
}

async fn run<D: Decide, E: Events>(seat: Arc<Seat<D, E>>, mut queue: mpsc::Receiver<Dealt>) {
    let mut connections = JoinSet::new();
    let mut new = 0_usize;
    loop {
        tokio::select! {
            dealt = queue.recv() => {
                let Some(Dealt { socket, number, place }) = dealt else { break };
                match socket.settle() {
                    Ok(socket) => {
                        let stay = Stay { seat: seat.clone(), _place: place };
                        connections.spawn(async move { connection::serve(stay.seat.clone(), socket, number).await });
                    }
                    Err(_) => seat.events.turned_away(TurnedAway::NoRoom),
                }
                new += 1;
                if new.is_multiple_of(bounds::DEALT_PER_TURN) {
                    yield_now().await;
                }
            }
            Some(ended) = connections.join_next() => note(&*seat.events, &ended),
        }
    }
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note(&*seat.events, &ended);
        }
    };
    // Every connection keeps to the grace by itself; this is for those that were already ending with a longer one.
    let _ = timeout(seat.settings.drain_grace, all).await;
}

fn note<E: Events>(events: &E, ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        events.panicked();
    }
}

/// A connection's stay at a core; its end is told however it ends.
struct Stay<D: Decide, E: Events> {
    seat: Arc<Seat<D, E>>,
    _place: Place,
}

impl<D: Decide, E: Events> Drop for Stay<D, E> {
    fn drop(&mut self) {
        self.seat.events.closed(self.seat.core);
    }
}
