//! The certificates of gRPC over TLS: read at the start, looked at ever after.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::error;

use crate::{
    bounds::TLS_LOOK_EVERY,
    clock::Clock,
    config::settings::GrpcTls,
    grpc::{Tls, tls::Looked},
    telemetry::{Telemetry, tls::CertificateEvents},
};

/// Certificates that are live, and what is told of them.
pub(super) struct Certificates {
    pub tls: Arc<Tls>,
    events: CertificateEvents,
}

/// What the files say at the start. Here, and only here, files that will not do are an error.
pub(super) fn read(files: &GrpcTls, clock: Clock, telemetry: &Telemetry) -> anyhow::Result<Certificates> {
    let (tls, shown) = Tls::read(files.clone()).context("TLS for gRPC")?;
    let events = CertificateEvents::new(telemetry);
    events.live(shown.expires_secs, clock.now());
    Ok(Certificates { tls: Arc::new(tls), events })
}

/// Has the files looked at, over and over.
pub(super) async fn watch(certificates: Certificates, clock: Clock, mut stopped: watch::Receiver<bool>) {
    let Certificates { tls, events } = certificates;
    let mut ticks = interval(TLS_LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let tls = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || tls.look()).await {
            Ok(Looked::Same) => {}
            Ok(Looked::Live(shown)) => events.reloaded(shown.expires_secs, clock.now()),
            Ok(Looked::Refused(why)) => events.refused(&why),
            Err(error) => error!(%error, "certificates could not be looked at"),
        }
    }
}
