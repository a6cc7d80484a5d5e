//! Builds every part from the settings, owns every task that lives as long as the process, starts and stops them in
//! order.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{interval, sleep},
};
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    clock::Clock,
    config::{DomainDefaults, settings::Settings},
    grpc::{self, service::Service},
    health::Health,
    http::{self, Neighbourhood},
    live::Live,
    reload::{Reload, last_good::LastGood},
    rules::identity::HashKey,
    store::{Store, memory::Memory},
    telemetry::{Telemetry, events::ServerEvents, metrics},
};

/// How often one shard of the counters is swept: all of them every 51 seconds, each for a fraction of a millisecond.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// Serves until a signal says stop.
///
/// # Errors
///
/// What keeps the service from starting, and what ended it otherwise than asked.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    // The cores that decide have runtimes of their own; this one does everything else.
    let house = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    house.block_on(serve(settings))
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock;
    let started = clock.stopwatch();
    let telemetry = Telemetry::new(settings.cores);
    telemetry.gauge(&metrics::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
    let (live, health) = (Arc::new(Live::default()), Arc::new(Health::default()));
    let store = Arc::new(Store::Memory(Memory::new(settings.max_counters)));
    let state = state_directory(&settings.state);

    // Everything is bound before anything is served: a port that is taken is said at once.
    let http = bind("http", &settings.http).await?;
    let admin = bind("admin", loopback_only(&settings.admin)?).await?;
    let grpc =
        grpc::listen::bind(&settings.grpc).await.with_context(|| format!("setting `grpc` is `{}`", settings.grpc))?;

    let defaults = DomainDefaults { count_denied: settings.count_denied };
    let reload = Arc::new(Reload::new(
        settings.rules.clone(),
        defaults,
        LastGood::new(state),
        Arc::clone(&live),
        Arc::clone(&health),
        Arc::clone(&telemetry),
    ));
    let first = Arc::clone(&reload);
    tokio::task::spawn_blocking(move || first.start()).await.context("loading the rules")?;

    let events = Arc::new(ServerEvents::new(&telemetry));
    let service = Service {
        clock,
        live: Arc::clone(&live),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
        events: Arc::clone(&events),
        hash_key: hash_key()?,
    };
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let neighbourhood = Neighbourhood { health: Arc::clone(&health), store: Arc::clone(&store), telemetry };
    info!(grpc = %grpc.address(), http = %http.local_addr()?, admin = %admin.local_addr()?, cores = settings.cores, store = store.name(), "listening");
    tasks.spawn(serve_http(http, http::router(neighbourhood), stopped.clone()));
    let endpoints = Admin { live, health: Arc::clone(&health), store: Arc::clone(&store), started };
    tasks.spawn(serve_http(admin, admin::router(endpoints), stopped.clone()));
    tasks.spawn(sweep(clock, store, stopped.clone()));
    tasks.spawn(Arc::clone(&reload).watch(stopped.clone()));
    todo!()
}
