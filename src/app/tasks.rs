//! Work that goes on as long as the process, each at its own pace, and what becomes of it where it panics.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::error;

use crate::{
    clock::Clock,
    grpc,
    health::Readiness,
    huge_pages,
    orders::Book,
    reload::{self, Reload},
    store::Store,
    telemetry::{Telemetry, metrics},
};

/// How often one shard of the counters is swept: all of them every 51 seconds, each for a fraction of a millisecond.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// How often orders are tidied: what a kill forgets of the list of started blocks, as of the counters.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Counters that take so much mean traffic: huge pages begin to fill, and what lies in small ones by then is little. Some
/// 300 clients take as much, since a shard's first counter takes a page of 4 KiB.
const AT_WORK_BYTES: usize = 1 << 20;

/// How often to look for that: a flood of a million new counters a second, or a restore, is 5 MB ahead at most. A look takes
/// each shard's lock for a moment.
const AT_WORK_EVERY: Duration = Duration::from_millis(100);

/// Has the rule files looked at, over and over.
pub(super) async fn watch_rules(clock: Clock, reload: Arc<Reload>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(reload::LOOK_EVERY);
    // A look may take longer than a tick; the next one is then due a tick later, not at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        if let Err(error) = load_now(&reload, move |reload| reload.look(clock.now())).await {
            error!(%error, "the last good rules go on serving");
        }
    }
}

/// Reads and compiles rules on a thread for blocking work.
pub(super) async fn load_now<T: Send + 'static>(
    reload: &Arc<Reload>,
    load: impl FnOnce(&Reload) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let reload = Arc::clone(reload);
    tokio::task::spawn_blocking(move || load(&reload)).await.context("loading the rules")
}

/// Sweeps expired counters, a shard at a time.
pub(super) async fn sweep(clock: Clock, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        store.in_process().expire_some(clock.now());
    }
}

/// Forgets orders that are over, and writes down which blocks were started; once more at the end.
pub(super) async fn tidy(clock: Clock, book: Arc<Book>, telemetry: Arc<Telemetry>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            _ = stopped.wait_for(|stopped| *stopped) => true,
        };
        let (book, now) = (Arc::clone(&book), clock.now());
        let tidied = tokio::task::spawn_blocking(move || {
            book.tidy(now);
            book.counts(now)
        });
        match tidied.await {
            Ok(counts) => counts
                .into_iter()
                .for_each(|(kind, count)| telemetry.gauge(&metrics::ORDERS, &[("kind", kind)]).set(count as f64)),
            Err(error) => {
                error!(%error, "orders are not tidied any more");
                return;
            }
        }
        if last {
            return;
        }
    }
}

/// Waits for counters to come, which huge pages are for.
pub(super) async fn allow_huge_pages_when_at_work(store: Arc<Store>) {
    let mut ticks = interval(AT_WORK_EVERY);
    loop {
        ticks.tick().await;
        if store.in_process().fill().bytes >= AT_WORK_BYTES {
            huge_pages::allow();
            return;
        }
    }
}

/// Tells gRPC's health service whenever readiness changes.
pub(super) async fn announce(mut readiness: Readiness, grpc_health: grpc::Health, mut stopped: watch::Receiver<bool>) {
    let told = async {
        while let Some(ready) = readiness.next().await {
            grpc_health.set_serving(ready).await;
        }
    };
    tokio::select! {
        () = told => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Waits for all tasks to end. One that panicked does its work no more, and nobody else would say so: the rest goes on.
pub(super) async fn tell_of_panics(tasks: &mut JoinSet<()>, telemetry: &Telemetry) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            telemetry.counter(&metrics::PANICS, &[]).increment(1);
            error!("a task of the house panicked, and its work is not done any more: start anew");
        }
    }
}

/// The same while we serve, when tasks without work end at once.
pub(super) async fn tell_of_panics_for_ever(tasks: &mut JoinSet<()>, telemetry: &Telemetry) -> Infallible {
    tell_of_panics(tasks, telemetry).await;
    pending().await
}
