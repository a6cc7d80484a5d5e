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

    let serving = grpc_until_drained();
    drain(settings, &health, &reload).await?;
    stop.send_replace(true);
    while tasks.join_next().await.is_some() {}
    info!("stopped");
    Ok(())
}

/// Waits for the signal to stop, and then for everybody to learn of it. SIGHUP loads the rules again.
async fn told_to_stop(settings: &Settings, health: &Health, reload: &Arc<Reload>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let delay = loop {
        match signals.next().await {
            Told::Reload => {
                info!("SIGHUP: loading the rules again");
                let reload = Arc::clone(reload);
                tokio::task::spawn_blocking(move || reload.look(true)).await?;
            }
            Told::Stop { leave_time: true } => break settings.drain_delay,
            // Somebody at a terminal: there is no balancer that would have to learn of it.
            Told::Stop { leave_time: false } => break Duration::ZERO,
        }
    };
    health.draining();
    info!(?delay, "stopping: health checks are told, calls are still answered");
    tokio::select! {
        () = sleep(delay) => {}
        // A second signal is impatience.
        () = signals.stop() => {}
    }
    Ok(())
}

/// The signals we heed.
struct Signals {
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
    fn new() -> io::Result<Self> {
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

    async fn stop(&mut self) {
        while !matches!(self.next().await, Told::Stop { .. }) {}
    }
}

async fn serve_http(listener: TcpListener, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    let graceful = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    if let Err(error) = graceful.await {
        warn!(%error, "serving HTTP ended");
    }
}

/// Sweeps expired counters, a shard at a time.
async fn sweep(clock: Clock, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let Store::Memory(memory) = &*store;
        memory.expire_some(clock.now());
    }
}

async fn bind(setting: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (setting `{setting}`)"))
}

/// The admin API changes counters and knows no tokens yet: it is for this machine alone.
fn loopback_only(address: &str) -> anyhow::Result<&str> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback());
    if !loopback {
        bail!("setting `admin` is `{address}`: only loopback addresses until the admin API knows tokens");
    }
    Ok(address)
}

/// The state directory, if it can be written; that there is none is said once, and costs only what it is for.
fn state_directory(path: &Path) -> Option<PathBuf> {
    let probe = path.join(".writable");
    match fs::create_dir_all(path).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Some(path.to_owned()),
        Err(error) => {
            warn!(%error, state = %path.display(), "no state directory: the last good rules are not kept");
            None
        }
    }
}

/// The secret that names of counters are hashed with; new with every process, as its counters are.
fn hash_key() -> anyhow::Result<HashKey> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
    Ok(HashKey(key))
}
