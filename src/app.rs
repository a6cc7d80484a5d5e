//! Builds every part from the settings, owns every task that lives as long as the process, starts and stops them in
//! order.
//!
//! | module | its story |
//! |---|---|
//! | `ports`, `certificates` | where is listened, and what is shown there |
//! | `secrets`, `state` | what only some may know; the directory for what outlives the process |
//! | `keep` | counters read back at the start, and written every second |
//! | `shared_store`, `shared_orders` | what replicas have in common: the store beyond this process, the orders in it |
//! | `tasks` | what goes on at its own pace, and what becomes of it where it panics |
//! | `signals` | when to reload, and when to stop |

mod certificates;
mod keep;
mod ports;
mod secrets;
mod shared_orders;
mod shared_store;
mod signals;
mod state;
mod tasks;

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::{info, warn};

use self::{
    certificates::Certificates,
    ports::{Pages, Ports},
    signals::{Signals, told_to_stop},
};
use crate::{
    admin::{self, Admin, door::Door},
    bounds::LAST_WALK_DEADLINE,
    clock::Clock,
    config::{DomainDefaults, settings::Settings},
    debug::{self, Debug},
    decide::Decider,
    grpc,
    health::Health,
    http::{self, Neighbourhood},
    live::Live,
    orders::Book,
    reload::{Reload, directory::Source, last_good::LastGood},
    telemetry::{Telemetry, events::ServerEvents, log::Log, metrics, tls::HandshakeEvents},
    trace::Tracer,
};

/// How long an HTTP client may finish reading when we stop.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// How long a thread for blocking work waits for more of it: less than from one look at the rule files to the next, so that
/// the thread which loaded rules ends. What it freed goes back to the system only then; as long as it lived, a load of
/// 100,000 rules left 76 MB behind.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_millis(100);

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
    let telemetry = telemetry(settings, log);
    let (live, health) = (Arc::new(Live::default()), Arc::new(Health::default()));
    if settings.ready_without_rules {
        health.needs_no_rules();
    }
    let store = Arc::new(shared_store::store(settings, clock, &telemetry)?);
    // Before counters are restored: they are what huge pages are for.
    tokio::spawn(tasks::allow_huge_pages_when_at_work(Arc::clone(&store)));

    // Everything is bound before anything is served: a port that is taken is said at once.
    let ports = Ports::bind(settings).await?;
    let token = secrets::admin_token(settings, ports.admin()?.ip())?;
    let (listener, certificates) = listen(settings, clock, &telemetry).await?;
    info!(
        grpc = %listener.address()?,
        http = %ports.http.local_addr()?,
        admin = %ports.admin()?,
        debug = address(ports.debug.as_ref()).map(display),
        metrics = address(ports.metrics.as_ref()).map(display),
        cores = settings.cores,
        store = store.name(),
        "listening"
    );

    let usage_secret = secrets::usage_secret(settings)?;
    // What was known before: counters, orders, rules.
    let state = state::directory(&settings.state);
    let (hash_key, kept) = keep::restore(settings.snapshot, state.clone(), &store, clock, &telemetry).await?;
    let (directory, _orders_lock) = state.clone().and_then(state::of_orders).unzip();
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
    tasks::load_now(&reload, move |reload| reload.start(clock.now())).await?;

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
    let grpc_health = grpc::Health::not_serving().await;

    let (nothing_more, nothing_more_comes) = watch::channel(false);
    let keeping = tokio::spawn(keep::keep(kept, Arc::clone(&store), clock, nothing_more_comes));
    ports.serve(pages, &mut tasks, &stopped);
    tasks.spawn(orders.run(stopped.clone()));
    tasks.spawn(shared_store::count_replicas(Arc::clone(&store), stopped.clone()));
    tasks.spawn(tasks::sweep(clock, store, stopped.clone()));
    tasks.spawn(tasks::tidy(clock, book, Arc::clone(&telemetry), stopped.clone()));
    tasks.spawn(tasks::watch_rules(clock, Arc::clone(&reload), stopped.clone()));
    if let Some(certificates) = certificates {
        tasks.spawn(certificates::watch(certificates, clock, stopped.clone()));
    }
    tasks.spawn(tasks::announce(health.watch(), grpc_health.clone(), stopped));

    let routes = grpc_health.routes();
    let service = grpc::Service { decide: decider, events, health: grpc_health, routes };
    let drain = told_to_stop(signals, clock, settings.drain_delay, &health, &reload);
    let serving = grpc::run(listener, service, grpc_settings(settings), drain);
    let served = tokio::select! {
        served = serving => served.context("serving gRPC"),
        never = tasks::tell_of_panics_for_ever(&mut tasks, &telemetry) => match never {},
    };

    nothing_more.send_replace(true);
    if tokio::time::timeout(LAST_WALK_DEADLINE, keeping).await.is_err() {
        warn!("the last counters could not be written in time");
    }
    // Probes and metrics go last, so that the end can be watched.
    stop.send_replace(true);
    if tokio::time::timeout(HTTP_GRACE, tasks::tell_of_panics(&mut tasks, &telemetry)).await.is_err() {
        warn!("an HTTP client held on to its connection; leaving it");
    }
    info!("stopped");
    served
}

/// What is told of the process, in the words that the settings ask for.
fn telemetry(settings: &Settings, log: Log) -> Arc<Telemetry> {
    let telemetry = Telemetry::with_log(settings.cores, log);
    telemetry.gauge(&metrics::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
    if settings.compat_metrics {
        telemetry.speak_compat(settings.near_limit_ratio);
    }
    telemetry
}

/// Where gRPC is listened for, with the certificates to show where it is by TLS.
async fn listen(
    settings: &Settings,
    clock: Clock,
    telemetry: &Telemetry,
) -> anyhow::Result<(grpc::Listener, Option<Certificates>)> {
    let bound = async { grpc::Address::parse(&settings.grpc)?.bind().await };
    let listener = bound.await.context("setting `grpc`")?;
    let Some(files) = &settings.grpc_tls else { return Ok((listener, None)) };
    let certificates = certificates::read(files, clock, telemetry)?;
    Ok((listener.with_tls(Arc::clone(&certificates.tls)), Some(certificates)))
}

fn grpc_settings(settings: &Settings) -> grpc::Settings {
    grpc::Settings {
        cores: NonZeroUsize::new(settings.cores).unwrap_or(NonZeroUsize::MIN),
        age_max: settings.max_connection_age,
        age_grace: settings.max_connection_age_grace,
        drain_grace: settings.drain_deadline.saturating_sub(settings.drain_delay),
        ..grpc::Settings::default()
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
    let made = Tracer::new(settings, secrets::random()?, telemetry);
    let (tracer, exporter) = made.with_context(|| format!("setting `trace_endpoint` is `{}`", settings.collector))?;
    tasks.spawn(exporter.run(stopped.clone()));
    Ok(Some(tracer))
}

/// Where a port is that not everybody has.
fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener?.local_addr().ok()
}
