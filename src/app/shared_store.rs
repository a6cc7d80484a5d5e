//! The store that the settings name, and the watch over one beyond this process.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::secrets::random;
use crate::{
    bounds::{REDIS_MAP_ODDS, REDIS_MAPS_APART, SIGN_OF_LIFE_EVERY},
    clock::Clock,
    config::settings::Settings,
    store::{
        Store,
        breaker::next_probe,
        guard::{Guard, replicas::Replicas},
        memory::Memory,
        redis::{Redis, Time, door::Door},
    },
    store_address::StoreAddress,
    telemetry::{Telemetry, store::StoreEvents},
};

/// How often sentinels are asked whether they name another master: so long the old one may go on counting beside the new.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The store that the settings name. Nothing is asked of it yet: it may be away.
///
/// # Errors
///
/// What this version cannot do, or the system has no random numbers.
pub(super) fn store(settings: &Settings, clock: Clock, telemetry: &Arc<Telemetry>) -> anyhow::Result<Store> {
    let memory = Memory::new(settings.max_counters);
    let StoreAddress::Redis(address) = &settings.store else { return Ok(Store::Memory(memory)) };
    let door = Door::new(address.clone(), settings.store_password_file.clone(), settings.store_tls.clone());
    let door = door.map_err(|why| anyhow!("setting `store` is `{}`: {why}", settings.store))?;
    // Where the test clock stands still, it does so in Redis too.
    let time = if clock.told().is_some() { Time::Calls } else { Time::Servers };
    let redis = Redis::new(door, &settings.store_key_prefix, settings.cores, settings.store_deadline, time);
    let replicas = Replicas::new(settings.replicas);
    let (key, events) = (random()?, Arc::new(StoreEvents::new(telemetry, replicas.sharing())));
    Ok(Store::Redis(Box::new(Guard::new(redis, memory, replicas, key, clock, events))))
}

/// Shows those that share a store that this process lives, and counts them.
pub(super) async fn count_replicas(store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let Store::Redis(guard) = &*store else { return };
    // A name for this process, as long as it lives. Without random numbers it would not have come this far.
    let Ok(id) = random().map(u128::from_le_bytes) else { return };
    let signs = async {
        let mut ticks = interval(SIGN_OF_LIFE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            guard.count_replicas(id).await;
        }
    };
    tokio::select! {
        () = signs => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Asks the servers of a store beyond this process whether they are back, for as long as they are away, and which of them
/// has which keys.
pub(super) async fn watch(store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    if matches!(*store, Store::Memory(_)) {
        return;
    }
    tokio::select! {
        () = probe(&store) => {}
        () = learn(&store) => {}
        () = follow_master(&store) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Asks who is away whether he is back: all at once, for one that does not answer takes his time.
async fn probe(store: &Arc<Store>) {
    let mut probes = JoinSet::new();
    loop {
        let Store::Redis(guard) = &**store else { return };
        sleep(pause()).await;
        while probes.try_join_next().is_some() {}
        for probe in guard.to_probe() {
            let store = Arc::clone(store);
            probes.spawn(async move {
                if let Store::Redis(guard) = &*store {
                    guard.probe(probe).await;
                }
            });
        }
    }
}

/// Goes over to the master that sentinels name.
async fn follow_master(store: &Store) {
    let Store::Redis(guard) = store else { return };
    loop {
        sleep(FOLLOW_EVERY).await;
        guard.follow_master().await;
    }
}

/// Asks who has which keys: at the start, when a call was sent on, as long as somebody is away, and now and then.
async fn learn(store: &Store) {
    let Store::Redis(guard) = store else { return };
    loop {
        guard.learn().await;
        let told_old = async {
            sleep(REDIS_MAPS_APART).await;
            guard.map_is_old().await;
        };
        let found_old = async {
            loop {
                sleep(pause()).await;
                if guard.is_any_away() || random_number().is_multiple_of(REDIS_MAP_ODDS) {
                    break;
                }
            }
        };
        tokio::select! {
            () = told_old => {}
            () = found_old => {}
        }
    }
}

/// Until the next look at who is away.
fn pause() -> Duration {
    Duration::from_nanos(next_probe(random_number()).0)
}

/// Without random numbers, replicas go at the same pace, and learn only what they are told.
fn random_number() -> u64 {
    random().map_or(1, u64::from_le_bytes)
}
