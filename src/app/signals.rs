//! The signals that the process heeds.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{error, info, warn};

use super::tasks::load_now;
use crate::{
    clock::Clock,
    health::Health,
    reload::{Outcome, Reload},
};

/// Waits for the signal to stop, and then for everybody to learn of it. SIGHUP loads the rules again.
pub(super) async fn told_to_stop(
    mut signals: Signals,
    clock: Clock,
    drain_delay: Duration,
    health: &Health,
    reload: &Arc<Reload>,
) {
    let leave_time = loop {
        match signals.next().await {
            Told::Reload => {
                // Rules on a dead network share are read for ever.
                tokio::select! {
                    () = load_again(clock, reload) => {}
                    leave_time = signals.stop() => break leave_time,
                }
            }
            Told::Stop { leave_time } => break leave_time,
        }
    };
    // Somebody at a terminal: there is no balancer that would have to learn of it.
    let delay = if leave_time { drain_delay } else { Duration::ZERO };
    health.draining();
    info!(?delay, "stopping: health checks are told, calls are still answered");
    tokio::select! {
        () = sleep(delay) => {}
        // A second signal is impatience.
        _ = signals.stop() => {}
    }
}

/// Whoever sends SIGHUP means what the files say. What became of them stands in the log.
async fn load_again(clock: Clock, reload: &Arc<Reload>) {
    info!("SIGHUP: reading the rules again");
    match load_now(reload, move |reload| reload.reload(clock.now())).await {
        Ok(Outcome::Live { .. } | Outcome::Refused(_) | Outcome::Waiting) => {}
        Ok(outcome @ (Outcome::Unsettled | Outcome::Busy)) => {
            warn!(?outcome, "SIGHUP: the rule files are being written, or still being read; send it again");
        }
        Err(error) => error!(%error, "the last good rules go on serving"),
    }
}

/// The signals we heed.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal says.
enum Told {
    Reload,
    Stop { leave_time: bool },
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop { leave_time: true },
            _ = self.interrupt.recv() => Told::Stop { leave_time: false },
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// Waits for one that says stop; whether it leaves time. A SIGHUP meanwhile is heeded later.
    async fn stop(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => false,
        }
    }
}
