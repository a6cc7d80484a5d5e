//! A collector of spans, over gRPC and HTTP, that keeps the very bytes that it was sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
    serve::Listener,
};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use prost::Message as _;
use tallygate::trace::proto::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse, KeyValue, Span, any_value::Value,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::harness::{eventually, servers::Certificate};

/// A collector that ends with the test.
pub struct Collector {
    port: u16,
    state: Arc<Kept>,
    _runtime: Runtime,
}

/// What a collector does with what it is sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Answers {
    Take,
    /// All but so many.
    TakeWithout(i64),
    /// Not now: 503, or UNAVAILABLE.
    NotNow,
    /// Never: 400, or `INVALID_ARGUMENT`.
    Never,
    /// Nothing at all.
    Nothing,
}

struct Kept {
    answers: Mutex<Answers>,
    taken: Mutex<Vec<Bytes>>,
    asked: AtomicUsize,
}

impl Collector {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    pub fn start_with_tls(certificate: &Certificate) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let state = Kept { answers: Mutex::new(Answers::Take), taken: Mutex::default(), asked: AtomicUsize::new(0) };
        let state = Arc::new(state);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        match tls {
            None => drop(runtime.spawn(async { axum::serve(listener, router).await })),
            Some(tls) => drop(runtime.spawn(async { axum::serve(Encrypted { listener, tls }, router).await })),
        }
        Self { port, state, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn answers(&self, answers: Answers) {
        *self.state.answers.lock() = answers;
    }

    /// How often it was sent something, taken or not.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Relaxed)
    }

    /// The bytes of every message that it took.
    pub fn bytes(&self) -> Vec<u8> {
        self.state.taken.lock().concat()
    }

    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let taken = self.state.taken.lock();
        taken.iter().map(|bytes| ExportTraceServiceRequest::decode(bytes.clone()).unwrap()).collect()
    }

    /// All spans that it took so far.
    pub fn spans(&self) -> Vec<Span> {
        let scopes = self.requests().into_iter().flat_map(|request| request.resource_spans);
        scopes.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The spans of decisions, once there are so many; and all others.
    pub fn decisions(&self, count: usize) -> (Vec<Span>, Vec<Span>) {
        let mut told = (Vec::new(), Vec::new());
        eventually(&format!("{count} decisions are told"), || {
            told = self.spans().into_iter().partition(|span| span.name != "charge");
            told.0.len() >= count
        });
        assert_eq!(told.0.len(), count, "{told:?}");
        told
    }
}

/// What is said of something, as text; empty where nothing is.
pub fn said(attributes: &[KeyValue], key: &str) -> String {
    let mut values =
        attributes.iter().filter(|attribute| attribute.key == key).filter_map(|found| found.value.as_ref());
    let value = values.next().and_then(|value| value.value.clone());
    assert!(values.next().is_none(), "{key} stands there twice");
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
    }
}

async fn answer(State(state): State<Arc<Kept>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes();
    let grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    let expected = if grpc {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    } else {
        assert_eq!(head.headers[CONTENT_TYPE], "application/x-protobuf");
        "/v1/traces"
    };
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", expected));
    if grpc {
        let length = u32::try_from(body.len() - 5).unwrap().to_be_bytes();
        assert_eq!(body.split_to(5), [&[0][..], &length].concat(), "one message that is not compressed");
    }
    state.asked.fetch_add(1, Relaxed);
    let answers = *state.answers.lock();
    let (http, code) = match answers {
        Answers::Take | Answers::TakeWithout(_) => (StatusCode::OK, "0"),
        Answers::NotNow => (StatusCode::SERVICE_UNAVAILABLE, "14"),
        Answers::Never => (StatusCode::BAD_REQUEST, "3"),
        Answers::Nothing => std::future::pending().await,
    };
    let mut told = ExportTraceServiceResponse::default();
    if code == "0" {
        state.taken.lock().push(body);
    }
    if let Answers::TakeWithout(rejected_spans) = answers {
        told.partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message: String::new() });
    }
    let told = told.encode_to_vec();
    if !grpc {
        return Response::builder().status(http).body(told.into()).unwrap();
    }
    let message = [&[0][..], &u32::try_from(told.len()).unwrap().to_be_bytes(), &told].concat();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(code))]);
    let body = Full::new(Bytes::from(message)).with_trailers(async { Some(Ok(trailers)) });
    debug_assert!(!body.is_end_stream());
    Response::builder().header(CONTENT_TYPE, "application/grpc").body(Body::new(body)).unwrap()
}

/// A listener with TLS.
struct Encrypted {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            // One that is not trusted hangs up.
            if let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), self.tls.accept(stream)).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
