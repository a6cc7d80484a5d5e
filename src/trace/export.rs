//! Sends what was told of decisions: in batches, by one task, whatever the collector does meanwhile.

use std::{mem::take, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Settings, Tracer, otlp,
    proto::Resource,
    send::{Refused, Send},
    span::Record,
};
use crate::{
    bounds::{
        SPANS_PER_BATCH, TRACE_FLUSH_DEADLINE, TRACE_LINGER, TRACE_PAUSE_MAX, TRACE_PAUSE_MIN, TRACE_SEND_DEADLINE,
        TRACE_TRIES,
    },
    pem::PemError,
    telemetry::spans::SpanEvents,
    tls_client::TlsClientError,
};

/// Why nothing can be sent to a collector.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error("`{0}` is no name that a certificate can have")]
    Name(Box<str>),
    #[error("this machine trusts nobody: name a file with certificates by `trace_tls_ca_file`")]
    NobodyTrusted,
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error(transparent)]
    Tls(#[from] TlsClientError),
}

/// Sends what the [`Tracer`] is told. What it holds is bounded: the queue, and one batch.
#[derive(Debug)]
pub struct Exporter {
    told: mpsc::Receiver<Record>,
    /// Taken from the queue, and not sent yet.
    batch: Vec<Record>,
    send: Send,
    resource: Resource,
    /// Before the next try; grows from failure to failure.
    pause: Duration,
    tracer: Arc<Tracer>,
    events: Arc<SpanEvents>,
}

impl Exporter {
    pub(super) fn new(
        settings: &Settings,
        told: mpsc::Receiver<Record>,
        tracer: Arc<Tracer>,
        events: Arc<SpanEvents>,
    ) -> Result<Self, ExportError> {
        let resource = otlp::resource(&settings.service, &tracer.ids.instance());
        let send = Send::new(settings)?;
        Ok(Self { told, batch: Vec::new(), send, resource, pause: TRACE_PAUSE_MIN, tracer, events })
    }

    /// Sends until told to stop, and then what is left, as far as that goes within a moment.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let tracer = Arc::clone(&self.tracer);
        tokio::select! {
            () = tracer.fill_up_for_ever() => {}
            () = self.send_for_ever() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        let flushed = timeout(TRACE_FLUSH_DEADLINE, self.flush()).await;
        if flushed != Ok(true) {
            self.events.left_behind(self.batch.len() + self.told.len());
        }
    }

    async fn send_for_ever(&mut self) {
        loop {
            self.fill_batch().await;
            for try_number in 1..=TRACE_TRIES {
                let again = self.send_batch().await;
                if self.batch.is_empty() {
                    break;
                }
                if !again || try_number == TRACE_TRIES {
                    self.events.failed(take(&mut self.batch).len());
                }
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(TRACE_PAUSE_MAX);
                if self.batch.is_empty() {
                    break;
                }
            }
        }
    }

    /// Waits for something to send, and then a little for more.
    async fn fill_batch(&mut self) {
        let mut until = None;
        while self.batch.len() < SPANS_PER_BATCH {
            let room = SPANS_PER_BATCH - self.batch.len();
            let more = self.told.recv_many(&mut self.batch, room);
            let Some(until) = until else {
                more.await;
                until = Some(Instant::now() + TRACE_LINGER);
                continue;
            };
            if timeout_at(until, more).await.is_err() {
                return;
            }
        }
    }

    /// Tries once. The batch is empty afterwards where it was taken; else, whether it may be at another try.
    async fn send_batch(&mut self) -> bool {
        let request = otlp::request(&self.resource, &self.batch);
        let late = || Refused { again: true, why: format!("it did not answer within {TRACE_SEND_DEADLINE:?}") };
        match timeout(TRACE_SEND_DEADLINE, self.send.send(request)).await.unwrap_or_else(|_| Err(late())) {
            Ok(unwanted) => {
                self.events.exported(take(&mut self.batch).len(), unwanted);
                self.pause = TRACE_PAUSE_MIN;
                false
            }
            Err(Refused { again, why }) => {
                self.events.cannot_export(&why);
                again
            }
        }
    }

    /// Sends what is left; whether all of it went.
    async fn flush(&mut self) -> bool {
        loop {
            while self.batch.len() < SPANS_PER_BATCH
                && let Ok(record) = self.told.try_recv()
            {
                self.batch.push(record);
            }
            if self.batch.is_empty() {
                return true;
            }
            self.send_batch().await;
            if !self.batch.is_empty() {
                return false;
            }
        }
    }
}
