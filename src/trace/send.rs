//! One try to send a batch: a call over gRPC, or a POST over HTTP.

use std::{error::Error, fmt, io};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use prost::Message as _;
use tonic::{Code, transport::Channel};
use tower::service_fn;

use super::{
    Settings,
    collector::Protocol,
    connect::Connect,
    export::ExportError,
    proto::{ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient},
};
use crate::bounds::TRACE_ANSWER_MAX_BYTES;

/// Who sends.
pub(super) enum Send {
    /// One connection, opened by the first call, and again by the one that finds it gone.
    Grpc(TraceServiceClient<Channel>),
    /// A connection for each batch: one a second at most.
    Http { connect: Connect, url: String, host: String },
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// Another try may succeed.
    pub(super) again: bool,
    pub(super) why: String,
}

impl Send {
    pub(super) fn new(settings: &Settings) -> Result<Self, ExportError> {
        let (connect, collector) = (Connect::new(settings)?, &settings.collector);
        let url = collector.url();
        Ok(match collector.protocol {
            Protocol::Grpc => {
                let endpoint = Channel::from_shared(url).map_err(|_| ExportError::Name(collector.host.clone()))?;
                let connector = service_fn(move |_| connect.clone().connect());
                Self::Grpc(TraceServiceClient::new(endpoint.connect_with_connector_lazy(connector)))
            }
            Protocol::Http => {
                // As it stands in the URL, without which no proxy knows whom to ask.
                let authority = url.split('/').nth(2).unwrap_or_default().to_owned();
                Self::Http { connect, url, host: authority }
            }
        })
    }

    /// Tries once; returns how many spans the collector did not want.
    pub(super) async fn send(&mut self, batch: ExportTraceServiceRequest) -> Result<u64, Refused> {
        let answer = match self {
            Self::Grpc(client) => client.export(batch).await?.into_inner(),
            Self::Http { connect, url, host } => post(connect.clone(), url, host, batch).await?,
        };
        let unwanted = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(unwanted).unwrap_or(0))
    }
}

async fn post(
    connect: Connect,
    url: &str,
    host: &str,
    batch: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Refused> {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let request = Request::post(format!("/{path}"))
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(Bytes::from(batch.encode_to_vec())))
        .map_err(|error| Refused { again: false, why: error.to_string() })?;
    let (mut sender, connection) = http1::handshake(connect.connect().await?).await?;
    let exchange = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, TRACE_ANSWER_MAX_BYTES).collect().await;
        let body = body.map_err(|error| Refused { again: true, why: error.to_string() })?;
        Ok::<_, Refused>((parts.status, body.to_bytes()))
    };
    // The connection ends with its sender; what it has to say to that, the exchange has said.
    let (answer, _) = tokio::join!(exchange, connection);
    let (status, body) = answer?;
    if !status.is_success() {
        return Err(status.into());
    }
    ExportTraceServiceResponse::decode(body)
        .map_err(|_| Refused { again: false, why: "its answer is no answer of OTLP".to_owned() })
}

/// As [OTLP](https://opentelemetry.io/docs/specs/otlp/#failures) says what may be tried again.
impl From<StatusCode> for Refused {
    fn from(status: StatusCode) -> Self {
        Self { again: matches!(status.as_u16(), 429 | 502 | 503 | 504), why: format!("it answered {status}") }
    }
}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        let again = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            // So is called, among others, a connection that broke off.
            Code::Unknown | Code::Internal => status.source().is_some(),
            _ => false,
        };
        match status.source() {
            Some(source) => Self { again, why: chain(source) },
            None => Self { again, why: format!("it answered {:?}: {}", status.code(), status.message()) },
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { again: true, why: error.to_string() }
    }
}

impl From<hyper::Error> for Refused {
    fn from(error: hyper::Error) -> Self {
        Self { again: true, why: chain(&error) }
    }
}

/// An error and what it comes from, each said once.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        source = error.source();
    }
    said
}

impl fmt::Debug for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc(_) => "Grpc",
            Self::Http { .. } => "Http",
        })
    }
}
