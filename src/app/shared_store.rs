//! The store that the settings name, and the watch over one beyond this process.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::{sync::watch, time::sleep};

use super::random;
use crate::{
    clock::Clock,
    config::settings::Settings,
    store::{
        Store,
        guard::Guard,
        memory::Memory,
        redis::{Redis, Time, door::Door},
    },
    store_address::StoreAddress,
    telemetry::{Telemetry, store::StoreEvents},
};

/// The store that the settings name. Nothing is asked of it yet: it may be away.
///
/// # Errors
///
/// What this version cannot do, or the system has no random numbers.
pub(super) fn store(settings: &Settings, clock: Clock, telemetry: &Arc<Telemetry>) -> anyhow::Result<Store> {
    let memory = Memory::new(settings.max_counters);
    let StoreAddress::Redis(address) = &settings.store else { return Ok(Store::Memory(memory)) };
    let door = Door::new(address.clone(), settings.store_password_file.clone());
    let door = door.map_err(|why| anyhow!("setting `store` is `{}`: {why}", settings.store))?;
    // Where the test clock stands still, it does so in Redis too.
    let time = if clock.told().is_some() { Time::Calls } else { Time::Servers };
    let redis = Redis::new(door, settings.cores, settings.store_deadline, time);
    let (key, events) = (random()?, Arc::new(StoreEvents::new(telemetry)));
    Ok(Store::Redis(Box::new(Guard::new(redis, memory, settings.replicas, key, clock, events))))
}

/// Asks a store beyond this process whether it is back, for as long as it is away.
pub(super) async fn watch(store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let Store::Redis(guard) = &*store else { return };
    let probes = async {
        guard.look_at_eviction().await;
        loop {
            // Without random numbers, replicas probe at the same pace.
            let pause = guard.next_probe(random().map_or(0, u64::from_le_bytes));
            sleep(Duration::from_nanos(pause.0)).await;
            guard.probe().await;
        }
    };
    tokio::select! {
        () = probes => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}
