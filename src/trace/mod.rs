//! Traces: of decisions that are traced, what they were and how long they took, sent to a collector by OTLP. Off unless
//! [`Settings`] say where to.
//!
//! | module | its story |
//! |---|---|
//! | [`context`] | whose trace a request belongs to |
//! | `ids` | new numbers, and the draw of what is traced though nobody says so |
//! | [`span`] | one decision under way; told when it is over |
//! | `otlp` | what is told, in the words of OpenTelemetry |
//! | [`collector`] | where it goes |
//! | `send`, `connect` | one try to send it, over gRPC or HTTP, with or without TLS |
//! | [`export`] | what was told, sent in batches by one task, as long as the process lives |
//!
//! A span says which rule decided and how, never what a client sent: no value, no key, no domain that no file names.
//! Whoever decides waits for nothing here: what finds no place in the queue is dropped and counted.

pub mod collector;
mod connect;
pub mod context;
pub mod export;
mod ids;
mod otlp;
mod send;
pub mod span;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::{sync::mpsc, time::interval};

use self::{
    collector::Collector,
    context::Parent,
    export::{ExportError, Exporter},
    ids::Ids,
    span::Record,
};
pub use self::{
    collector::Protocol,
    ids::Ratio,
    span::{Door, Span},
};
use crate::{
    bounds::{SPANS_PER_SECOND, SPANS_QUEUED_MAX},
    telemetry::{Telemetry, spans::SpanEvents},
};

/// What OTLP says, generated.
#[allow(missing_debug_implementations, clippy::pedantic, reason = "generated")]
pub mod proto {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
    }

    pub use generated::opentelemetry::proto::{collector::trace::v1::*, common::v1::*, resource::v1::*, trace::v1::*};
}

/// What is traced, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub collector: Collector,
    /// Who may have signed its certificate; none: whom this machine trusts.
    pub ca: Option<PathBuf>,
    /// The part of the requests that no parent speaks for.
    pub ratio: Ratio,
    pub service: Service,
}

/// Who we are to those who look at traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub namespace: Option<String>,
    /// This process among its like; none: a random name.
    pub instance: Option<String>,
}

/// Chooses what is traced, and takes what is told of it. One for all cores.
#[derive(Debug)]
pub struct Tracer {
    ids: Ids,
    ratio: Ratio,
    /// So many spans may still begin until it is [filled up](Self::fill_up_for_ever) again.
    allowance: AtomicUsize,
    queue: mpsc::Sender<Record>,
    events: Arc<SpanEvents>,
}

impl Tracer {
    /// One, and the task that sends what it is told. `secret` is random: numbers are made from it.
    ///
    /// # Errors
    ///
    /// There is nobody to trust, and the collector has TLS.
    pub fn new(
        settings: &Settings,
        secret: [u8; 16],
        telemetry: &Telemetry,
    ) -> Result<(Arc<Self>, Exporter), ExportError> {
        let (queue, told) = mpsc::channel(SPANS_QUEUED_MAX);
        let events = Arc::new(SpanEvents::new(telemetry));
        let tracer = Arc::new(Self {
            ids: Ids::new(secret),
            ratio: settings.ratio,
            allowance: AtomicUsize::new(SPANS_PER_SECOND),
            queue,
            events: Arc::clone(&events),
        });
        let exporter = Exporter::new(settings, told, Arc::clone(&tracer), events)?;
        Ok((tracer, exporter))
    }

    /// The span of a request with these headers, where it is traced: as its parent says; where there is none, by the
    /// ratio. Beyond so many a second none is, and that is counted.
    pub fn span(self: &Arc<Self>, headers: &HeaderMap, door: Door) -> Option<Box<Span>> {
        let (trace, parent) = match Parent::of(headers) {
            Some(Parent { sampled: false, .. }) => return None,
            Some(Parent { trace, span, .. }) => (trace, Some(span)),
            None if self.ratio.takes(&self.ids) => (self.ids.trace(), None),
            None => return None,
        };
        if self.allowance.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            self.events.dropped(1);
            return None;
        }
        Some(Box::new(Span::new(Arc::clone(self), door, trace, parent)))
    }

    /// Takes what became of a decision. Never waits.
    fn tell(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.events.dropped(1);
        }
    }

    async fn fill_up_for_ever(&self) {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.allowance.store(SPANS_PER_SECOND, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{span::Fate, *};
    use crate::{clock::Clock, units::Timestamp};

    fn tracer(queued_max: usize) -> (Arc<Tracer>, Arc<Telemetry>, mpsc::Receiver<Record>) {
        let (telemetry, (queue, told)) = (Telemetry::new(1), mpsc::channel(queued_max));
        let tracer = Tracer {
            ids: Ids::new([1; 16]),
            ratio: Ratio::new(1.0).unwrap(),
            allowance: AtomicUsize::new(SPANS_PER_SECOND),
            queue,
            events: Arc::new(SpanEvents::new(&telemetry)),
        };
        (Arc::new(tracer), telemetry, told)
    }

    fn begun(tracer: &Arc<Tracer>) -> Option<Box<Span>> {
        let mut span = tracer.span(&HeaderMap::new(), Door::Grpc)?;
        span.begins(Timestamp::EPOCH, Clock.stopwatch(), 1);
        Some(span)
    }

    fn dropped(telemetry: &Telemetry, count: usize) -> bool {
        telemetry.render().contains(&format!("{{result=\"dropped\"}} {count}\n"))
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_are_traced_and_no_more() {
        let (tracer, telemetry, _told) = tracer(1);
        let begin = || (0..SPANS_PER_SECOND + 10).filter(|_| tracer.span(&HeaderMap::new(), Door::Grpc).is_some());
        assert_eq!((begin().count(), dropped(&telemetry, 10)), (SPANS_PER_SECOND, true));
        let filled_up = tokio::time::timeout(Duration::from_millis(1_500), tracer.fill_up_for_ever());
        assert!(filled_up.await.is_err(), "it never ends");
        assert_eq!((begin().count(), dropped(&telemetry, 20)), (SPANS_PER_SECOND, true));
    }

    #[test]
    fn what_finds_no_place_in_the_queue_is_dropped_and_counted() {
        let (tracer, telemetry, mut told) = tracer(2);
        (0..5).for_each(|_| drop(begun(&tracer)));
        assert!(dropped(&telemetry, 3));
        assert!(told.try_recv().is_ok() && told.try_recv().is_ok() && told.try_recv().is_err());
    }

    #[test]
    fn a_span_is_told_however_it_ends_but_not_before_it_begins() {
        let (tracer, _telemetry, mut told) = tracer(10);
        let mut fate = || told.try_recv().ok().map(|record| record.fate);
        drop(tracer.span(&HeaderMap::new(), Door::Grpc));
        assert_eq!(fate(), None);
        drop(begun(&tracer));
        assert_eq!(fate(), Some(Fate::NoRules));
        let mut span = begun(&tracer).unwrap();
        span.charge_begins();
        drop(span);
        assert_eq!(fate(), Some(Fate::GivenUp));
        let mut span = begun(&tracer).unwrap();
        span.charge_begins();
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _span = span;
            panic!("this is a test");
        }));
        assert!(panicked.is_err());
        assert_eq!(fate(), Some(Fate::Panicked));
    }
}
