//! Counters kept over a restart: read back before anything is served, then copied to the state directory once a second,
//! and once more at the end.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::secrets::random;
use crate::{
    bounds::WALKS_PAUSED_MAX,
    clock::Clock,
    rules::identity::HashKey,
    store::{
        Store,
        memory::snapshot::{self, Directory, Set, Source, Target, Walk, hash_key::Origin},
    },
    telemetry::{Telemetry, snapshot::SnapshotEvents},
};

/// What a kill forgets at most, with the time that one walk takes: from where the last walk that reached the disk began.
const WALK_EVERY: Duration = Duration::from_secs(1);

/// While segments cannot be written, one log line in so many walks: a minute.
const WALKS_UNTOLD: u32 = 60;

/// The state directory, taken for this process.
#[derive(Debug)]
pub(super) struct Kept {
    walk: Walk<Directory>,
    patience: Patience,
    events: SnapshotEvents,
    /// Two processes that write segments would each cover the other's; the system lets go of the lock however we end.
    _lock: File,
}

/// Puts the counters of before into `store`. The key they are named with comes back too; a new one, if there are none.
///
/// That counters cannot be kept is said, and no reason not to serve.
///
/// # Errors
///
/// The system has no random numbers.
pub(super) async fn restore(
    wanted: bool,
    state: Option<PathBuf>,
    store: &Arc<Store>,
    clock: Clock,
    telemetry: &Telemetry,
) -> anyhow::Result<(HashKey, Option<Kept>)> {
    if matches!(**store, Store::Redis(_)) {
        // What this process counts while the store is away is nothing to go on with.
        return Ok((HashKey::Public, None));
    }
    let fresh = random()?;
    let Some(state) = state.filter(|_| wanted) else {
        info!("counters are not kept over a restart");
        return Ok((HashKey::Secret(fresh), None));
    };
    let (store, events) = (Arc::clone(store), SnapshotEvents::new(telemetry));
    let restored = spawn_blocking(move || take(&state, fresh, store.in_process(), clock, events));
    match restored.await.context("reading counters back")? {
        Ok((key, kept)) => Ok((key, Some(kept))),
        Err(error) => {
            warn!(error = format!("{error:#}"), "counters are not kept over a restart");
            Ok((HashKey::Secret(fresh), None))
        }
    }
}

/// Copies what changes, until `stop`; then once more.
pub(super) async fn keep(kept: Option<Kept>, store: Arc<Store>, clock: Clock, mut stop: watch::Receiver<bool>) {
    let Some(mut kept) = kept else { return };
    let mut ticks = interval(WALK_EVERY);
    // A walk may take longer than a tick; the next one is then due a tick later, not at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            _ = stop.wait_for(|stop| *stop) => true,
        };
        if last || kept.patience.due() {
            let store = Arc::clone(&store);
            let walk = move || {
                kept.walk(store.in_process(), clock);
                kept
            };
            kept = match spawn_blocking(walk).await {
                Ok(kept) => kept,
                Err(error) => {
                    error!(%error, "counters are no longer kept over a restart");
                    return;
                }
            };
        }
        if last {
            return;
        }
    }
}

/// Takes the state directory, and puts its counters into `store`.
fn take<S: Source + Target>(
    state: &Path,
    fresh: [u8; 16],
    store: &S,
    clock: Clock,
    events: SnapshotEvents,
) -> anyhow::Result<(HashKey, Kept)> {
    let started = clock.stopwatch();
    let lock = lock(&state.join("lock"))?;
    let directory = Directory::new(state.to_owned())?;
    let (secret, origin) = snapshot::hash_key::hash_key(&directory, fresh).context("the hash key")?;
    let key = HashKey::Secret(secret);
    if origin == Origin::Damaged {
        events.key_damaged();
    }

    let segments = Directory::new(state.join("snapshot")).context("the directory of the snapshot")?;
    let set = Set { shards: u32::try_from(store.shards())?, fingerprint: key.fingerprint() };
    let now = clock.now();
    let found = snapshot::restore(&segments, set, store, now).context("reading counters back")?;
    events.damaged(&found.damaged);
    let behind = found.taken.unwrap_or_default().since(now);
    events.restored(found.counters, found.segments, started.elapsed(), behind);
    let walk = Walk::new(segments, set, found.next);
    Ok((key, Kept { walk, patience: Patience::default(), events, _lock: lock }))
}

/// Takes a file that only one process can hold.
pub(super) fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another process holds {}", path.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

impl Kept {
    fn walk<S: Source>(&mut self, store: &S, clock: Clock) {
        let (now, stopwatch) = (clock.now(), clock.stopwatch());
        match self.walk.walk(store, now) {
            Ok(written) => {
                self.events.up_to_date(now, stopwatch.elapsed(), written.map(|written| written.bytes));
                if self.patience.succeeded() {
                    self.events.mended();
                }
            }
            Err(error) => self.events.failed(&error, self.patience.failed()),
        }
    }
}

/// How a disk that fails is treated: asked less and less often, and spoken of once a minute.
///
/// Counts in walks that are due, not in time: a clock that is set changes nothing.
#[derive(Debug, Default)]
struct Patience {
    /// Walks to sit out.
    pause: u32,
    /// Failures in a row.
    failures: u32,
    /// Walks since the log was told of a failure.
    untold: u32,
}

impl Patience {
    /// Whether the walk that would be now is to be made.
    fn due(&mut self) -> bool {
        self.untold = self.untold.saturating_add(1);
        let due = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        due
    }

    /// Notes a failure; whether the log is to be told.
    fn failed(&mut self) -> bool {
        self.pause = 1_u32.checked_shl(self.failures).unwrap_or(WALKS_PAUSED_MAX).min(WALKS_PAUSED_MAX);
        let told = self.failures == 0 || self.untold >= WALKS_UNTOLD;
        self.failures = self.failures.saturating_add(1);
        if told {
            self.untold = 0;
        }
        told
    }

    /// Notes a success; whether it ends failures.
    fn succeeded(&mut self) -> bool {
        let mended = self.failures > 0;
        *self = Self { untold: self.untold, ..Self::default() };
        mended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::memory::{Memory, snapshot::Slot},
        units::Timestamp,
    };

    fn take_for_test(state: &Path, key: u8) -> anyhow::Result<(HashKey, Kept)> {
        let events = SnapshotEvents::new(&Telemetry::new(1));
        take(state, [key; 16], &Memory::new(1_000), Clock, events)
    }

    #[test]
    fn a_second_process_on_one_state_directory_keeps_nothing() {
        let state = tempfile::tempdir().unwrap();
        let (_, kept) = take_for_test(state.path(), 1).unwrap();
        let error = take_for_test(state.path(), 2).unwrap_err().to_string();
        assert!(error.starts_with("another process holds"), "{error}");
        drop(kept);
        assert_eq!(take_for_test(state.path(), 2).unwrap().0, HashKey::Secret([1; 16]));
    }

    #[test]
    fn a_disk_that_fails_is_asked_less_and_less_and_spoken_of_once_a_minute() {
        let mut patience = Patience::default();
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for second in 0..300 {
            if patience.due() {
                asked.push(second);
                if patience.failed() {
                    told.push(second);
                }
            }
        }
        assert_eq!(asked, [0, 2, 5, 10, 19, 36, 69, 134, 199, 264]);
        assert_eq!(told, [0, 69, 134, 199, 264]);
        assert!(patience.succeeded());
        assert!(!patience.succeeded());
        assert!(patience.due());
    }

    /// A store in which something changes all the time.
    struct Busy;

    impl Source for Busy {
        fn shards(&self) -> usize {
            1
        }

        fn collect(&self, _shard: usize, _everything: bool, _now: Timestamp, out: &mut Vec<Slot>) {
            out.push([1; 8]);
        }
    }

    impl Target for Busy {
        fn insert(&self, _shard: usize, _slot: Slot, _now: Timestamp) {}
    }

    #[test]
    fn a_directory_that_vanishes_costs_nothing_but_the_snapshot() {
        let state = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::new(1);
        let (_, mut kept) = take(state.path(), [1; 16], &Busy, Clock, SnapshotEvents::new(&telemetry)).unwrap();
        kept.walk(&Busy, Clock);
        let path = state.path().to_owned();
        state.close().unwrap();
        kept.walk(&Busy, Clock);
        std::fs::create_dir_all(path.join("snapshot")).unwrap();
        kept.walk(&Busy, Clock);
        std::fs::remove_dir_all(path).unwrap();
        let text = telemetry.render();
        for line in [
            "tallygate_snapshot_segments_total{result=\"failure\"} 1",
            "tallygate_snapshot_segments_total{result=\"success\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
