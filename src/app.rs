//! Builds every part from the settings, owns every task that lives as long as the process, starts and stops them in
//! order.

mod keep;
mod shared_store;

use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use crate::{
    admin::{self, Admin, door::Door, token::Token},
    bounds::{ADMIN_CONNECTIONS_MAX, HTTP_CONNECTIONS_MAX, LAST_WALK_DEADLINE},
    clock::Clock,
    config::{DomainDefaults, settings::Settings},
    grpc::{self, service::RateLimitService},
    health::{Health, Readiness},
    http::{self, Neighbourhood, usage_page::Secret},
    huge_pages,
    live::Live,
    orders::Book,
    reload::{self, Reload, last_good::LastGood},
    serve_http::serve_http,
    store::{Store, memory::snapshot::Directory},
    telemetry::{Telemetry, events::ServerEvents, metrics},
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

/// Serves until a signal says stop.
///
/// # Errors
///
/// What keeps the service from starting, and what ended it otherwise than asked.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    // The cores that decide have runtimes of their own; this one does everything else.
    let house = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .enable_all()
        .build()?;
    let result = house.block_on(serve(settings));
    // What still blocks (a rule file on a dead network share) must not keep the process.
    house.shutdown_background();
    result
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    // First of all: a signal that comes while rules are loaded is heeded then, instead of killing the process.
    let signals = Signals::new()?;
    let clock = Clock;
    #[cfg(feature = "test-clock")]
    if let Some(hands) = crate::clock::test_clock::stop()? {
        tokio::spawn(hands.turn());
    }
    let started = clock.stopwatch();
    let telemetry = Telemetry::new(settings.cores);
    telemetry.gauge(&metrics::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
    let (live, health) = (Arc::new(Live::default()), Arc::new(Health::default()));
    let store = Arc::new(shared_store::store(settings, clock, &telemetry)?);
    // Before counters are restored: they are what huge pages are for.
    tokio::spawn(huge_pages_when_at_work(Arc::clone(&store)));
    let state = state_directory(&settings.state);

    // Everything is bound before anything is served: a port that is taken is said at once.
    let http = bind("http", &settings.http).await?;
    let admin = bind("admin", &settings.admin).await?;
    let token = admin_token(settings, &admin)?;
    let grpc =
        grpc::Address::parse(&settings.grpc).context("setting `grpc`")?.bind().await.context("setting `grpc`")?;
    info!(
        grpc = %grpc.address()?,
        http = %http.local_addr()?,
        admin = %admin.local_addr()?,
        cores = settings.cores,
        store = store.name(),
        "listening"
    );

    let usage_secret = usage_secret(settings)?;
    let (hash_key, kept) = keep::restore(settings.snapshot, state.clone(), &store, clock, &telemetry).await?;
    let (orders, _orders_lock) = state.clone().and_then(orders_directory).unzip();
    let book = Arc::new(Book::open(Arc::clone(&live), hash_key, orders, clock.now()));
    let reload = Arc::new(Reload::new(
        settings.rules.clone(),
        DomainDefaults::of(settings),
        LastGood::new(state),
        Arc::clone(&live),
        Arc::clone(&book),
        Arc::clone(&health),
        Arc::clone(&telemetry),
    ));
    load_now(&reload, Reload::start).await?;

    let events = Arc::new(ServerEvents::new(&telemetry));
    let decide = RateLimitService {
        clock,
        live: Arc::clone(&live),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
        events: Arc::clone(&events),
        hash_key,
        book: Arc::clone(&book),
    };
    let grpc_health = grpc::Health::not_serving().await;
    let routes = grpc_health.routes();

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let (nothing_more, nothing_more_comes) = watch::channel(false);
    let keeping = tokio::spawn(keep::keep(kept, Arc::clone(&store), clock, nothing_more_comes));
    let neighbourhood = Neighbourhood {
        clock,
        live: Arc::clone(&live),
        hash_key,
        usage_secret,
        health: Arc::clone(&health),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
    };
    let endpoints = Admin {
        clock,
        live,
        book: Arc::clone(&book),
        health: Arc::clone(&health),
        store: Arc::clone(&store),
        telemetry: Arc::clone(&telemetry),
        hash_key,
        started,
    };
    let endpoints = admin::router(endpoints, Door::new(token));
    tasks.spawn(serve_http(http, http::router(neighbourhood), HTTP_CONNECTIONS_MAX, stopped.clone()));
    tasks.spawn(serve_http(admin, endpoints, ADMIN_CONNECTIONS_MAX, stopped.clone()));
    tasks.spawn(shared_store::watch(Arc::clone(&store), stopped.clone()));
    tasks.spawn(sweep(clock, store, stopped.clone()));
    tasks.spawn(tidy(clock, book, Arc::clone(&telemetry), stopped.clone()));
    tasks.spawn(watch_rules(Arc::clone(&reload), stopped.clone()));
    tasks.spawn(announce(health.watch(), grpc_health.clone(), stopped));

    let service = grpc::Service { decide: Arc::new(decide), events, health: grpc_health, routes };
    let grpc_settings = grpc::Settings {
        cores: NonZeroUsize::new(settings.cores).unwrap_or(NonZeroUsize::MIN),
        drain_grace: settings.drain_deadline.saturating_sub(settings.drain_delay),
        ..grpc::Settings::default()
    };
    let drain = told_to_stop(signals, settings.drain_delay, &health, &reload);
    let served = grpc::run(grpc, service, grpc_settings, drain).await.context("serving gRPC");

    nothing_more.send_replace(true);
    if tokio::time::timeout(LAST_WALK_DEADLINE, keeping).await.is_err() {
        warn!("the last counters could not be written in time");
    }
    // Probes and metrics go last, so that the end can be watched.
    stop.send_replace(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(HTTP_GRACE, all).await.is_err() {
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
async fn watch_rules(reload: Arc<Reload>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(reload::LOOK_EVERY);
    // A look may take longer than a tick; the next one is then due a tick later, not at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        if let Err(error) = load_now(&reload, Reload::look).await {
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

/// Waits for the signal to stop, and then for everybody to learn of it. SIGHUP loads the rules again.
async fn told_to_stop(mut signals: Signals, drain_delay: Duration, health: &Health, reload: &Arc<Reload>) {
    let delay = loop {
        match signals.next().await {
            Told::Reload => {
                info!("SIGHUP: reading the rules again");
                if let Err(error) = load_now(reload, Reload::look_closely).await {
                    error!(%error, "the last good rules go on serving");
                }
            }
            Told::Stop { leave_time: true } => break drain_delay,
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

async fn bind(setting: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (setting `{setting}`)"))
}

/// The token of the admin API. Without one it is for this machine alone: it changes counters.
fn admin_token(settings: &Settings, admin: &TcpListener) -> anyhow::Result<Option<Token>> {
    let Some(path) = &settings.admin_token_file else {
        // What counts is where it really listens, whatever name was resolved to it.
        if !admin.local_addr()?.ip().is_loopback() {
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
