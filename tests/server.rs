//! The server against real clients, on loopback and ports that the system chooses.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

use std::{
    future::pending,
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use tallygate::{
    bounds::MESSAGE_MAX_BYTES,
    grpc::{
        Address, Answered, Call, CoreError, Decide, Decided, Events, Failure, Health, Listener, Service, Settings,
        TurnedAway,
        codec::receive,
        health::NAMES,
        proto::{
            RateLimitRequest, RateLimitResponse, rate_limit_response::Code,
            rate_limit_service_client::RateLimitServiceClient,
        },
        run,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
/// `grpc.health.v1.HealthCheckResponse.ServingStatus`
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[tokio::test]
async fn a_call_is_answered() {
    let server = Server::start(Settings::default()).await;
    let answer = server.client().await.should_rate_limit(about("shop")).await.unwrap().into_inner();
    assert_eq!((answer.overall_code(), &answer.raw_body[..]), (Code::Ok, &b"shop"[..]));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_decides_knows_how_long_the_client_waits() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.client().await;
    for (header, told) in
        [(Some("20m"), "Some(20ms)"), (Some("1S"), "Some(1s)"), (Some("soon"), "None"), (None, "None")]
    {
        let mut request = tonic::Request::new(about("timeout?"));
        if let Some(header) = header {
            request.metadata_mut().insert("grpc-timeout", header.parse().unwrap());
        }
        let answer = client.should_rate_limit(request).await.unwrap().into_inner();
        assert_eq!(String::from_utf8_lossy(&answer.raw_body), told, "{header:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_arrive_as_they_are() {
    let server = Server::start(Settings::default()).await;
    let domain = b"\xff\x00\xfe";
    let answer = server.client().await.should_rate_limit(about(domain)).await.unwrap().into_inner();
    assert_eq!(&answer.raw_body[..], domain);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_message_of_16_mib_is_decided_and_a_larger_one_is_over_the_limit() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.client().await;
    // The domain's key and length take five bytes more.
    let largest = vec![b'x'; MESSAGE_MAX_BYTES - 5];
    let decided = client.should_rate_limit(about(&largest[..])).await.unwrap().into_inner();
    assert_eq!((decided.overall_code(), server.too_large()), (Code::Ok, 0));

    let larger = vec![b'x'; 17 << 20];
    let answer = client.should_rate_limit(about(&larger[..])).await.unwrap().into_inner();
    assert_eq!((answer.overall_code(), server.too_large()), (Code::OverLimit, 1));
    // And the connection goes on.
    assert_eq!(client.should_rate_limit(about("shop")).await.unwrap().into_inner().overall_code(), Code::Ok);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_answered_by_policy_and_counted() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.client().await;
    server.decide.release.add_permits(1);
    for (panics, domain) in [(1, "panic"), (2, "wait, then panic")] {
        let answer = client.should_rate_limit(about(domain)).await.unwrap().into_inner();
        assert_eq!((answer.overall_code(), server.events.panicked.load(SeqCst)), (Code::OverLimit, panics), "{domain}");
    }
    assert_eq!(client.should_rate_limit(about("shop")).await.unwrap().into_inner().overall_code(), Code::Ok);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_failure_is_a_grpc_status_with_its_text() {
    let server = Server::start(Settings::default()).await;
    let status = server.client().await.should_rate_limit(about("fail")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "no rules: 50 % of nothing"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn two_hundred_calls_at_once_share_one_connection() {
    let server = Server::start(Settings::default()).await;
    let client = server.client().await;
    let mut calls = JoinSet::new();
    for call in 0..200 {
        let mut client = client.clone();
        calls.spawn(async move {
            let domain = format!("wait {call}");
            let answer = client.should_rate_limit(about(&domain)).await.unwrap().into_inner();
            assert_eq!(answer.raw_body, domain.as_bytes());
        });
    }
    server.decide.waiting(200).await; // all of them are under way
    server.decide.release.add_permits(200);
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!(server.events.accepted.load(SeqCst), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let server = Server::start(Settings::default()).await;
    let domain = vec![b'x'; 300_000];
    let answer = server.client().await.should_rate_limit(about(&domain[..])).await.unwrap().into_inner();
    assert_eq!(answer.raw_body, domain);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_unary_call_of_grpc_is_told_so() {
    let server = Server::start(Settings::default()).await;
    let mut h2 = server.h2().await;
    let grpc = "application/grpc";
    for (method, content_type, body, http_status, grpc_status) in [
        (Method::POST, grpc, &b"\0\0\0\0\x00"[..], StatusCode::OK, Some("0")),
        (Method::POST, "application/grpc+proto", b"\0\0\0\0\x00", StatusCode::OK, Some("0")),
        (Method::POST, grpc, b"\x01\0\0\0\x00", StatusCode::OK, Some("12")),
        (Method::POST, grpc, b"", StatusCode::OK, Some("13")),
        (Method::POST, grpc, b"\0\0\0\0\x05ab", StatusCode::OK, Some("13")),
        (Method::POST, grpc, b"\0\0\0\0\x01\xff", StatusCode::OK, Some("3")),
        (Method::GET, grpc, b"", StatusCode::METHOD_NOT_ALLOWED, None),
        (Method::POST, "application/grpc-web", b"", StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
        (Method::POST, "application/json", b"{}", StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
    ] {
        let case = format!("{method} {content_type} {body:?}");
        let request = Request::builder().method(method).uri(format!("http://rls{PATH}"));
        let request = request.header("content-type", content_type).body(()).unwrap();
        let (response, told) = h2.call(request, body).await.unwrap();
        assert_eq!((response.status(), told.as_deref()), (http_status, grpc_status), "{case}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let server = Server::start(Settings::default()).await;
    let request = Request::post("http://rls/envoy.service.ratelimit.v3.RateLimitService/Other");
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (_, told) = server.h2().await.call(request, b"\0\0\0\0\0").await.unwrap();
    assert_eq!(told.as_deref(), Some("12"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn health_is_told_under_every_name_and_watches_end_with_the_drain() {
    let server = Server::start(Settings::default()).await;
    let mut client = HealthClient::new(server.channel().await);
    for (serving, told) in [(false, NOT_SERVING), (true, SERVING)] {
        server.health.set_serving(serving).await;
        for name in NAMES {
            let answer = client.check(HealthCheckRequest { service: name.to_owned() }).await.unwrap();
            assert_eq!(answer.into_inner().status, told, "{name}");
        }
    }
    let unknown = client.check(HealthCheckRequest { service: "other".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().map(|answer| answer.status), Some(SERVING));
    server.stop().await.unwrap();
    assert!(watch.message().await.is_ok_and(|answer| answer.is_none()), "ended in order, not cut off");
}

#[tokio::test]
async fn a_drain_says_goaway_and_lets_calls_under_way_end() {
    let server = Server::start(Settings { drain_grace: Duration::from_mins(1), ..Settings::default() }).await;
    let mut h2 = server.h2().await;
    let response = h2.send(grpc_request(), &framed(&about("wait"))).await.unwrap();
    server.decide.waiting(1).await;

    let decide = server.decide.clone();
    let running = server.drain();
    assert!(h2.goes_away().await, "the client is told to go elsewhere");
    decide.release.add_permits(1);
    let (_, told) = response.await.unwrap();
    assert_eq!(told.as_deref(), Some("0"));
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_with_its_grace_whatever_hangs() {
    let server = Server::start(Settings { drain_grace: Duration::from_millis(20), ..Settings::default() }).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.should_rate_limit(about("hang")).await });
    server.decide.waiting(1).await;
    server.stop().await.unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn after_a_drain_nobody_listens() {
    let server = Server::start(Settings::default()).await;
    let address = server.address.clone();
    server.stop().await.unwrap();
    assert_eq!(TcpStream::connect(&address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_old_connection_is_told_to_go() {
    let server = Server::start(Settings { age_max: Some(Duration::from_millis(50)), ..Settings::default() }).await;
    let mut h2 = server.h2().await;
    assert!(h2.goes_away().await);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_stays_silent_is_closed() {
    let server = Server::start(Settings { preface_deadline: Duration::from_millis(20), ..Settings::default() }).await;
    let mut socket = TcpStream::connect(&server.address).await.unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap(); // and no more
    let mut said = Vec::new();
    let _end_or_reset = socket.read_to_end(&mut said).await;
    assert_eq!(server.events.silent.load(SeqCst), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_and_their_places_come_free() {
    let server = Server::start(Settings { connections_max: 1, ..Settings::default() }).await;
    let first = server.h2().await;
    let mut second = TcpStream::connect(&server.address).await.unwrap();
    assert!(matches!(second.read(&mut [0; 64]).await, Ok(0) | Err(_)));
    assert_eq!(server.events.turned_away.load(SeqCst), 1);

    first.hang_up();
    server.events.until(|events| events.closed.load(SeqCst) == 1).await;
    let answer = server.client().await.should_rate_limit(about("shop")).await.unwrap().into_inner();
    assert_eq!(answer.overall_code(), Code::Ok);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn connections_are_spread_over_the_cores() {
    let server = Server::start(Settings { cores: NonZeroUsize::new(4).unwrap(), ..Settings::default() }).await;
    let mut cores = Vec::new();
    for _ in 0..4 {
        let answer = server.client().await.should_rate_limit(about("core?")).await.unwrap().into_inner();
        cores.push(answer.raw_body[0]);
    }
    cores.sort_unstable();
    assert_eq!(cores, [0, 1, 2, 3]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_goes_to_the_core_with_less_work() {
    let server = Server::start(Settings { cores: NonZeroUsize::new(2).unwrap(), ..Settings::default() }).await;
    let mut busy = server.client().await;
    let mut idle = server.client().await;
    let on = async |client: &mut RateLimitServiceClient<Channel>| {
        client.should_rate_limit(about("core?")).await.unwrap().into_inner().raw_body[0]
    };
    assert_eq!((on(&mut busy).await, on(&mut idle).await), (0, 1));
    // Two answers later its runtime has reckoned up the work of the first.
    for domain in ["work", "shop", "shop"] {
        busy.should_rate_limit(about(domain)).await.unwrap();
    }
    assert_eq!(on(&mut server.client().await).await, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_serves_as_well_and_is_gone_after_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rls.sock");
    let listener = Address::parse(&format!("unix:{}", path.display())).unwrap().bind().await.unwrap();
    let server = Server::start_on(listener, Settings::default()).await;
    let mut h2 = H2::over(UnixStream::connect(&path).await.unwrap()).await;
    let (_, told) = h2.call(grpc_request(), &framed(&about("shop"))).await.unwrap();
    assert_eq!(told.as_deref(), Some("0"));
    server.stop().await.unwrap();
    assert!(!path.exists());
}

fn about(domain: impl AsRef<[u8]>) -> RateLimitRequest {
    RateLimitRequest { domain: domain.as_ref().to_vec(), ..RateLimitRequest::default() }
}

fn framed(message: &impl prost::Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

fn grpc_request() -> Request<()> {
    Request::post(format!("http://rls{PATH}")).header("content-type", "application/grpc").body(()).unwrap()
}

/// Answers OK with the domain as the body; some domains ask for something else.
#[derive(Debug)]
struct Echo {
    waiting: AtomicUsize,
    release: Semaphore,
}

impl Echo {
    async fn waiting(&self, calls: usize) {
        while self.waiting.load(SeqCst) < calls {
            tokio::task::yield_now().await;
        }
    }
}

impl Decide for Echo {
    fn decide(self: &Arc<Self>, message: Bytes, call: Call) -> Decided {
        let waits =
            receive(&message).is_ok_and(|request| matches!(request.domain, [b'w', b'a', b'i', b't', ..] | b"hang"));
        if !waits {
            return Decided::Now(answer(&message, &call));
        }
        let echo = Arc::clone(self);
        Decided::Later(Box::pin(async move {
            echo.wait(&message).await;
            answer(&message, &call)
        }))
    }
}

impl Echo {
    async fn wait(&self, message: &[u8]) {
        self.waiting.fetch_add(1, SeqCst);
        if receive(message).is_ok_and(|request| request.domain == b"hang") {
            pending::<()>().await;
        }
        self.release.acquire().await.unwrap().forget();
    }
}

/// OK with the domain as the body, or what the domain asks for.
#[expect(clippy::disallowed_methods, reason = "a core that is busy is busy in real time")]
fn answer(message: &[u8], call: &Call) -> Answered {
    let request = receive(message)
        .map_err(|error| Failure { code: tonic::Code::InvalidArgument, message: error.to_string().into() })?;
    let mut body = request.domain.to_vec();
    match request.domain {
        b"panic" | b"wait, then panic" => panic!("asked to"),
        b"fail" => {
            let message = "no rules: 50 % of nothing".into();
            return Err(Failure { code: tonic::Code::Unavailable, message });
        }
        b"work" => {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(500) {}
        }
        b"core?" => body = vec![u8::try_from(call.core).unwrap()],
        b"timeout?" => body = format!("{:?}", call.timeout).into_bytes(),
        domain if domain.len() > 1 << 20 => body.clear(),
        _ => {}
    }
    Ok(framed(&RateLimitResponse { overall_code: 1, raw_body: body, ..RateLimitResponse::default() }))
}

#[derive(Debug, Default)]
struct Counted {
    accepted: AtomicUsize,
    closed: AtomicUsize,
    turned_away: AtomicUsize,
    silent: AtomicUsize,
    panicked: AtomicUsize,
    too_large: AtomicUsize,
}

impl Counted {
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            tokio::task::yield_now().await;
        }
    }
}

impl Events for Counted {
    fn accepted(&self, _: usize) {
        self.accepted.fetch_add(1, SeqCst);
    }
    fn closed(&self, _: usize) {
        self.closed.fetch_add(1, SeqCst);
    }
    fn turned_away(&self, why: TurnedAway) {
        assert_eq!(why, TurnedAway::TooMany);
        self.turned_away.fetch_add(1, SeqCst);
    }
    fn stayed_silent(&self) {
        self.silent.fetch_add(1, SeqCst);
    }
    fn panicked(&self) {
        self.panicked.fetch_add(1, SeqCst);
    }
    fn too_large(&self) {
        self.too_large.fetch_add(1, SeqCst);
    }
}

struct Server {
    address: String,
    decide: Arc<Echo>,
    events: Arc<Counted>,
    health: Health,
    drain: oneshot::Sender<()>,
    running: JoinHandle<Result<(), CoreError>>,
}

impl Server {
    async fn start(settings: Settings) -> Self {
        Self::start_on(Address::parse("127.0.0.1:0").unwrap().bind().await.unwrap(), settings).await
    }

    async fn start_on(listener: Listener, settings: Settings) -> Self {
        let address = listener.address().unwrap().to_string();
        let decide = Arc::new(Echo { waiting: AtomicUsize::new(0), release: Semaphore::new(0) });
        let events = Arc::new(Counted::default());
        let health = Health::not_serving().await;
        let service =
            Service { decide: decide.clone(), events: events.clone(), health: health.clone(), routes: health.routes() };
        let (drain, drained) = oneshot::channel();
        let running = tokio::spawn(run(listener, service, settings, async {
            let _ = drained.await;
        }));
        Self { address, decide, events, health, drain, running }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> RateLimitServiceClient<Channel> {
        RateLimitServiceClient::new(self.channel().await)
    }

    async fn h2(&self) -> H2 {
        H2::over(TcpStream::connect(&self.address).await.unwrap()).await
    }

    fn too_large(&self) -> usize {
        self.events.too_large.load(SeqCst)
    }

    fn drain(self) -> JoinHandle<Result<(), CoreError>> {
        self.drain.send(()).unwrap();
        self.running
    }

    async fn stop(self) -> Result<(), CoreError> {
        self.drain().await.unwrap()
    }
}

/// A client that shows HTTP/2 as it is.
struct H2 {
    client: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl H2 {
    async fn over(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { client, connection }
    }

    /// Sends a request; the future is the response with its `grpc-status`, wherever it stood.
    async fn send(
        &mut self,
        request: Request<()>,
        body: &[u8],
    ) -> Result<impl Future<Output = Result<(Response<()>, Option<String>), h2::Error>> + use<>, h2::Error> {
        self.client = self.client.clone().ready().await?;
        let (response, mut sender) = self.client.send_request(request, false)?;
        sender.send_data(Bytes::copy_from_slice(body), true)?;
        Ok(async move {
            let (response, mut body) = response.await?.into_parts();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data?.len())?;
            }
            let trailers = body.trailers().await?.unwrap_or_default();
            let told = trailers.get("grpc-status").or(response.headers.get("grpc-status"));
            let told = told.map(|status| status.to_str().unwrap().to_owned());
            Ok((Response::from_parts(response, ()), told))
        })
    }

    async fn call(&mut self, request: Request<()>, body: &[u8]) -> Result<(Response<()>, Option<String>), h2::Error> {
        self.send(request, body).await?.await
    }

    /// Waits until the connection takes no new calls, and tells whether a GOAWAY was the reason.
    async fn goes_away(&mut self) -> bool {
        loop {
            match self.client.clone().ready().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR),
            }
        }
    }

    fn hang_up(self) {
        self.connection.abort();
    }
}
