//! The watch over the orders that replicas share: looks what the others have ordered, and tells them what they lack.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    bounds::ORDERS_PAUSE,
    clock::Clock,
    orders::{Book, Told},
    store::{Store, redis::Away},
    telemetry::{Telemetry, metrics},
};

/// Exchanges that fail in a row until the log is told: one late answer is no outage, and the next comes half a second
/// later.
const FAILURES_TOLD: u32 = 2;

/// How long the start waits for the orders of other replicas: ten deadlines of a call, half of what a start may take.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// Looks, and tells.
pub(super) struct Watch {
    clock: Clock,
    store: Arc<Store>,
    book: Arc<Book>,
    voice: Voice,
}

impl Watch {
    pub fn new(clock: Clock, store: Arc<Store>, book: Arc<Book>, telemetry: Arc<Telemetry>) -> Self {
        Self { clock, store, book, voice: Voice { failures: 0, told: Told::default(), telemetry } }
    }

    /// Looks once before anything is served, so that nobody slips through who is blocked elsewhere; but waits for nobody
    /// who does not answer at once: what comes late is put into force later.
    pub async fn look_first(&mut self) {
        // Either way there will be another look.
        let _ = timeout(FIRST_LOOK, self.exchange()).await;
        // What came in time holds, also where there was more to come.
        self.settle().await;
    }

    /// Looks twice a second. While the store is away nothing is asked of it: the probes tell when it is back.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        if self.store.shared().is_none() {
            return;
        }
        let mut ticks = interval(ORDERS_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = async {
            loop {
                ticks.tick().await;
                self.look().await;
            }
        };
        tokio::select! {
            () = looks => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn look(&mut self) {
        self.exchange().await;
        // Also where the exchange has failed: some may have come before.
        self.settle().await;
    }

    async fn exchange(&mut self) {
        if let Some(exchanged) = self.book.exchange(self.clock.now(), &self.store).await {
            self.voice.tell(&exchanged);
        }
    }

    async fn settle(&self) {
        let (book, store, now) = (Arc::clone(&self.book), Arc::clone(&self.store), self.clock.now());
        if let Err(error) = spawn_blocking(move || book.settle(now, &store)).await {
            error!(%error, "orders of other replicas are not in force");
        }
    }
}

/// Tells the log and the metrics how it stands, the log once.
struct Voice {
    /// In a row.
    failures: u32,
    /// The most that the log was told of.
    told: Told,
    telemetry: Arc<Telemetry>,
}

impl Voice {
    fn tell(&mut self, exchanged: &Result<Told, Away>) {
        match exchanged {
            Ok(told) => {
                self.show(1.0);
                if std::mem::take(&mut self.failures) >= FAILURES_TOLD {
                    info!("orders are shared with the other replicas again");
                }
                // Only where all was compared are there any to be seen again.
                if told.strange > self.told.strange {
                    warn!(count = told.strange, "orders of other replicas make no sense to this program");
                    self.told.strange = told.strange;
                }
                if told.no_room > self.told.no_room {
                    warn!(count = told.no_room, "orders find no room in Redis: other replicas do not know of them");
                    self.told.no_room = told.no_room;
                }
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES_TOLD {
                    self.show(0.0);
                    warn!(%why, "orders are not shared with other replicas until Redis answers");
                }
            }
        }
    }

    fn show(&self, shared: f64) {
        self.telemetry.gauge(&metrics::ORDERS_SHARED, &[]).set(shared);
    }
}
