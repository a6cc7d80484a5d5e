//! Builds every part from the settings, owns every task that lives as long as the process, starts and stops them in
//! order.

mod certificates;
mod keep;
mod ports;
mod shared_orders;
mod shared_store;
mod signals;

use std::{
    convert::Infallible,
    fs,
    future::pending,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use self::{
    ports::{Pages, Ports},
    signals::{Signals, told_to_stop},
};
use crate::{
    admin::{self, Admin, door::Door, token::Token},
    bounds::LAST_WALK_DEADLINE,
    clock::Clock,
    config::{DomainDefaults, settings::Settings},
    debug::{self, Debug},
    decide::Decider,
    grpc,
    health::{Health, Readiness},
    http::{self, Neighbourhood, usage_page::Secret},
    huge_pages,
    live::Live,
    orders::Book,
    reload::{self, Reload, directory::Source, last_good::LastGood},
    store::{Store, memory::snapshot::Directory},
    telemetry::{Telemetry, events::ServerEvents, log::Log, metrics, tls::HandshakeEvents},
    trace::Tracer,
};

/// How often one shard of the counters is swept: all of them every 51 seconds, each for a fraction of a millisecond.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// How often orders are tidied: what a kill forgets of the list of started blocks, as of the counters.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How long an HTTP client may finish reading when we stop.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// How long a thread for blocking work waits for more of it: less than from one look at the rule files to the next, so that
/// the thread which loaded rules ends. What it freed goes back to the system only then; as long as it lived, a load of
/// 100,000 rules left 76 MB behind.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Counters that take so much mean traffic: huge pages begin to fill, and what lies in small ones by then is little. Some
/// 300 clients take as much, since a shard's first counter takes a page of 4 KiB.
const AT_WORK_BYTES: usize = 1 << 20;

/// How often to look for that: a flood of a million new counters a second, or a restore, is 5 MB ahead at most. A look takes
/// each shard's lock for a moment.
const AT_WORK_EVERY: Duration = Duration::from_millis(100);

/// Serves until a signal says stop. Lines are logged by `log`.
///
/// # Errors
///
/// What keeps the service from starting, and what ended it otherwise than asked.
pub fn run(settings: &Settings, log: Log) -> anyhow::Result<()> {
    // The cores that decide have runtimes of their own; this one does everything else.
    let house = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .enable_all()
        .build()?;
    let result = house.block_on(serve(settings, log));
    // What still blocks (a rule file on a dead network share) must not keep the process.
    house.shutdown_background();
    result
}

async fn serve(settings: &Settings, log: Log) -> anyhow::Result<()> {
    // First of all: a signal that comes while rules are loaded is heeded then, instead of killing the process.
    let signals = Signals::new()?;
    let clock = Clock;
    #[cfg(feature = "test-clock")]
    if let Some(hands) = crate::clock::test_clock::stop()? {
        tokio::spawn(hands.turn());
    }
    let started = clock.stopwatch();
    let telemetry = Telemetry::with_log(settings.cores, log);
    telemetry.gauge(&metrics::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
    if settings.compat_metrics {
        telemetry.speak_compat(settings.near_limit_ratio);
    }
    let (live, health) = (Arc::new(Live::default()), Arc::new(Health::default()));
    if settings.ready_without_rules {
        health.needs_no_rules();
    }
    let store = Arc::new(shared_store::store(settings, clock, &telemetry)?);
    // Before counters are restored: they are what huge pages are for.
    tokio::spawn(huge_pages_when_at_work(Arc::clone(&store)));
    let state = state_directory(&settings.state);

    // Everything is bound before anything is served: a port that is taken is said at once.
    let ports = Ports::bind(settings).await?;
    let token = admin_token(settings, ports.admin()?.ip())?;
    let grpc =
        grpc::Address::parse(&settings.grpc).context("setting `grpc`")?.bind().await.context("setting `grpc`")?;
    let certificates =
        settings.grpc_tls.as_ref().map(|files| certificates::read(files, clock, &telemetry)).transpose()?;
    let grpc = match &certificates {
        Some(certificates) => grpc.with_tls(Arc::clone(&certificates.tls)),
        None => grpc,
    };
    info!(
        grpc = %grpc.address()?,
        http = %ports.http.local_addr()?,
        admin = %ports.admin()?,
        debug = address(ports.debug.as_ref()).map(display),
        metrics = address(ports.metrics.as_ref()).map(display),
        cores = settings.cores,
        store = store.name(),
        "listening"
    );

    let usage_secret = usage_secret(settings)?;
    let (hash_key, kept) = keep::restore(settings.snapshot, state.clone(), &store, clock, &telemetry).await?;
    let (directory, _orders_lock) = state.clone().and_then(orders_directory).unzip();
    let book = Arc::new(Book::open(Arc::clone(&live), hash_key, directory, clock.now()));
    let reload = Arc::new(Reload::new(
        Source { path: settings.rules.clone(), files: settings.rule_files },
        DomainDefaults::of(settings),
        LastGood::new(state),
        Arc::clone(&live),
        Arc::clone(&book),
        Arc::clone(&health),
        Arc::clone(&telemetry),
    ));
    load_now(&reload, move |reload| reload.start(clock.now())).await?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    // Before the first look at the orders, which in a cluster needs the map that this learns.
    tasks.spawn(shared_store::watch(Arc::clone(&store), stopped.clone()));
    let mut orders = shared_orders::Watch::new(clock, Arc::clone(&store), Arc::clone(&book), Arc::clone(&telemetry));
    orders.look_first().await;

    let failures = grpc::HandshakeFailure::ALL.map(grpc::HandshakeFailure::name);
    let handshakes = certificates.is_some().then(|| HandshakeEvents::new(&telemetry, failures));
    let events = Arc::new(ServerEvents::new(&telemetry).with_handshakes(handshakes));
    let decider = Arc::new(Decider {
        clock,
        live: Arc::clone(&live),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
        events: Arc::clone(&events),
        hash_key,
        book: Arc::clone(&book),
        tracer: tracer(settings, &telemetry, &mut tasks, &stopped)?,
    });
    let grpc_health = grpc::Health::not_serving().await;
    let routes = grpc_health.routes();

    let (nothing_more, nothing_more_comes) = watch::channel(false);
    let keeping = tokio::spawn(keep::keep(kept, Arc::clone(&store), clock, nothing_more_comes));
    let neighbourhood = Neighbourhood { decider: Arc::clone(&decider), usage_secret, health: Arc::clone(&health) };
    let endpoints = Admin {
        clock,
        live,
        book: Arc::clone(&book),
        health: Arc::clone(&health),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
        hash_key,
        started,
        reload: Arc::clone(&reload),
    };
    let endpoints = admin::router(endpoints, Door::new(token));
    let debug = Debug { decider: Arc::clone(&decider), health: Arc::clone(&health), started, admin: None };
    let pages = Pages {
        metrics: http::metrics::router(neighbourhood.clone(), &settings.metrics_path),
        http: http::router(neighbourhood),
        debug: debug::router(debug.clone()),
        debug_and_admin: debug::router(Debug { admin: Some(endpoints.clone()), ..debug }),
        admin: endpoints,
    };
    ports.serve(pages, &mut tasks, &stopped);
    tasks.spawn(orders.run(stopped.clone()));
    tasks.spawn(shared_store::count_replicas(Arc::clone(&store), stopped.clone()));
    tasks.spawn(sweep(clock, store, stopped.clone()));
    tasks.spawn(tidy(clock, book, Arc::clone(&telemetry), stopped.clone()));
    tasks.spawn(watch_rules(clock, Arc::clone(&reload), stopped.clone()));
    if let Some(certificates) = certificates {
        tasks.spawn(certificates::watch(certificates, clock, stopped.clone()));
    }
    tasks.spawn(announce(health.watch(), grpc_health.clone(), stopped));

    let service = grpc::Service { decide: decider, events, health: grpc_health, routes };
    let grpc_settings = grpc::Settings {
        cores: NonZeroUsize::new(settings.cores).unwrap_or(NonZeroUsize::MIN),
        age_max: settings.max_connection_age,
        age_grace: settings.max_connection_age_grace,
        drain_grace: settings.drain_deadline.saturating_sub(settings.drain_delay),
        ..grpc::Settings::default()
    };
    let drain = told_to_stop(signals, clock, settings.drain_delay, &health, &reload);
    let serving = grpc::run(grpc, service, grpc_settings, drain);
    let served = tokio::select! {
        served = serving => served.context("serving gRPC"),
        never = tell_of_panics_for_ever(&mut tasks, &telemetry) => match never {},
    };

    nothing_more.send_replace(true);
    if tokio::time::timeout(LAST_WALK_DEADLINE, keeping).await.is_err() {
        warn!("the last counters could not be written in time");
    }
    // Probes and metrics go last, so that the end can be watched.
    stop.send_replace(true);
    if tokio::time::timeout(HTTP_GRACE, tell_of_panics(&mut tasks, &telemetry)).await.is_err() {
        warn!("an HTTP client held on to its connection; leaving it");
    }
    info!("stopped");
    served
}

/// Waits for counters to come, which huge pages are for.
async fn huge_pages_when_at_work(store: Arc<Store>) {
    let mut ticks = interval(AT_WORK_EVERY);
    loop {
        ticks.tick().await;
        if store.in_process().fill().bytes >= AT_WORK_BYTES {
            huge_pages::allow();
            return;
        }
    }
}

/// Waits for all tasks to end. One that panicked does its work no more, and nobody else would say so: the rest goes on.
async fn tell_of_panics(tasks: &mut JoinSet<()>, telemetry: &Telemetry) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            telemetry.counter(&metrics::PANICS, &[]).increment(1);
            error!("a task of the house panicked, and its work is not done any more: start anew");
        }
    }
}

/// The same while we serve, when tasks without work end at once.
async fn tell_of_panics_for_ever(tasks: &mut JoinSet<()>, telemetry: &Telemetry) -> Infallible {
    tell_of_panics(tasks, telemetry).await;
    pending().await
}

/// Tells gRPC's health service whenever readiness changes.
async fn announce(mut readiness: Readiness, grpc_health: grpc::Health, mut stopped: watch::Receiver<bool>) {
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

/// Has the rule files looked at, over and over.
async fn watch_rules(clock: Clock, reload: Arc<Reload>, mut stopped: watch::Receiver<bool>) {
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
async fn load_now<T: Send + 'static>(
    reload: &Arc<Reload>,
    load: impl FnOnce(&Reload) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let reload = Arc::clone(reload);
    tokio::task::spawn_blocking(move || load(&reload)).await.context("loading the rules")
}

/// Sweeps expired counters, a shard at a time.
async fn sweep(clock: Clock, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
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
async fn tidy(clock: Clock, book: Arc<Book>, telemetry: Arc<Telemetry>, mut stopped: watch::Receiver<bool>) {
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

/// Traces, where the settings say where to.
fn tracer(
    settings: &Settings,
    telemetry: &Telemetry,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Option<Arc<Tracer>>> {
    let Some(settings) = &settings.trace else { return Ok(None) };
    let made = Tracer::new(settings, random()?, telemetry);
    let (tracer, exporter) = made.with_context(|| format!("setting `trace_endpoint` is `{}`", settings.collector))?;
    tasks.spawn(exporter.run(stopped.clone()));
    Ok(Some(tracer))
}

/// Where a port is that not everybody has.
fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener?.local_addr().ok()
}

/// The token of the admin API. Without one it is for this machine alone: it changes counters.
fn admin_token(settings: &Settings, admin: IpAddr) -> anyhow::Result<Option<Token>> {
    let Some(path) = &settings.admin_token_file else {
        // What counts is where it really listens, whatever name was resolved to it.
        if !admin.is_loopback() {
            bail!("setting `admin` is `{}`, beyond this machine: set `admin_token_file` too", settings.admin);
        }
        return Ok(None);
    };
    let token = Token::read(path).with_context(|| format!("setting `admin_token_file` is `{}`", path.display()))?;
    Ok(Some(token))
}

/// Where orders are kept, if no other process keeps its own there; and the lock that says so to the next one.
fn orders_directory(state: PathBuf) -> Option<(Directory, fs::File)> {
    let lock = keep::lock(&state.join("orders.lock"));
    match lock.and_then(|lock| Ok((Directory::new(state)?, lock))) {
        Ok(both) => Some(both),
        Err(error) => {
            warn!(error = format!("{error:#}"), "orders are not kept over a restart");
            None
        }
    }
}

/// What a request for a usage page must show. One that cannot be read is no reason to show pages to everybody.
fn usage_secret(settings: &Settings) -> anyhow::Result<Option<Arc<Secret>>> {
    let Some(path) = &settings.usage_secret_file else { return Ok(None) };
    let secret = Secret::read(path).with_context(|| format!("setting `usage_secret_file` is `{}`", path.display()))?;
    Ok(Some(Arc::new(secret)))
}

/// Bytes that nobody can guess.
fn random<const LENGTH: usize>() -> anyhow::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers from the system: {error}"))?;
    Ok(bytes)
}

/// The state directory, if it can be written; that there is none is said once, and costs only what it is for.
fn state_directory(path: &Path) -> Option<PathBuf> {
    let probe = path.join(".writable");
    match fs::create_dir_all(path).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Some(path.to_owned()),
        Err(error) => {
            warn!(%error, state = %path.display(), "no state directory: neither counters nor the last good rules are kept");
            None
        }
    }
}
