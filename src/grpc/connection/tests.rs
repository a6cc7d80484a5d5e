//! What a connection does to its socket.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::join;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex},
    sync::watch,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, rustls};

use super::*;
use crate::{
    grpc::{
        decide::{Call, Decided},
        events::Silent,
        health::Health,
        message::Room,
        places::Places,
        settings::Settings,
        unary::PATH,
    },
    units::Nanos,
};

/// The size of a plain answer, one with headers, metadata and body, and one in several DATA frames.
const SIZES: [usize; 3] = [31, 300, 3_000];

#[tokio::test]
async fn an_answer_is_one_write() {
    for size in SIZES {
        let (near, far) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let far = Counting { socket: far, writes: writes.clone() };
        assert_eq!(writes_of_ten_answers(size, near, far, &writes).await, 10, "answers of {size} bytes");
    }
}

#[tokio::test]
async fn an_answer_is_one_write_over_tls_too() {
    let certified = rcgen::generate_simple_self_signed(["tallygate".into()]).unwrap();
    let (certificate, key) = (certified.cert.der(), certified.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server =
        rustls::ServerConfig::builder_with_provider(ring.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.try_into().unwrap());
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(certificate.clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(trusted).with_no_client_auth();
    let (server, client) = (TlsAcceptor::from(Arc::new(server.unwrap())), TlsConnector::from(Arc::new(client)));
    for size in SIZES {
        let (near, far) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let far = Counting { socket: far, writes: writes.clone() };
        let (near, far) = join(client.connect("tallygate".try_into().unwrap(), near), server.accept(far)).await;
        let writes = writes_of_ten_answers(size, near.unwrap(), far.unwrap(), &writes).await;
        assert_eq!(writes, 10, "answers of {size} bytes");
    }
}

async fn writes_of_ten_answers<N, F>(size: usize, near: N, far: F, writes: &AtomicUsize) -> usize
where
    N: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (_drains, drain) = watch::channel(false);
    let serving = tokio::spawn(serve(Arc::new(seat(size, drain).await), far, 1));
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    let connection = tokio::spawn(connection);
    call(&mut client, size).await; // and with it the SETTINGS of both sides
    let before = writes.load(Relaxed);
    for _ in 0..10 {
        call(&mut client, size).await;
    }
    let writes = writes.load(Relaxed) - before;
    drop(client);
    connection.await.unwrap().unwrap();
    serving.await.unwrap();
    writes
}

#[tokio::test]
async fn a_core_with_too_much_to_do_sends_one_connection_away_that_asks() {
    let (_drains, drain) = watch::channel(false);
    let seat = Arc::new(seat(31, drain).await);
    let mut clients = Vec::new();
    for number in 0..2 {
        let (near, far) = duplex(1 << 20);
        tokio::spawn(serve(seat.clone(), far, number));
        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        call(&mut client, 31).await;
        clients.push(client);
    }
    assert_eq!(seat.working.load(Relaxed), 2);

    seat.sheds.store(true, Relaxed);
    let [idle, busy] = &mut clients[..] else { panic!("two") };
    call(busy, 31).await;
    let told = loop {
        match busy.clone().ready().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(told.is_go_away(), "{told}");
    call(idle, 31).await;
    assert!(!seat.sheds.load(Relaxed));
    while seat.working.load(Relaxed) > 1 {
        tokio::task::yield_now().await;
    }
}

/// Envoy resets its calls after 20 ms. A process that is stopped for a tenth of a second finds hundreds of them.
#[tokio::test]
async fn a_client_that_gave_up_hundreds_of_calls_during_a_stall_is_not_closed() {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];

    let mut said = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let last = 2 * 500 + 1;
    for stream in (1..last).step_by(2) {
        said.extend(frame(HEADERS, END_HEADERS, stream, &call_headers()));
        said.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    said.extend(frame(HEADERS, END_HEADERS, last, &call_headers()));
    said.extend(frame(DATA, END_STREAM, last, b"\0\0\0\0\0"));

    let (mut near, far) = duplex(1 << 20);
    near.write_all(&said).await.unwrap(); // all of it is there before the server wakes up
    let (_drains, drain) = watch::channel(false);
    tokio::spawn(serve(Arc::new(seat(31, drain).await), far, 1));
    loop {
        let mut header = [0; 9];
        near.read_exact(&mut header).await.unwrap();
        let [_, a, b, kind, _, stream @ ..] = header;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([a, b]))];
        near.read_exact(&mut payload).await.unwrap();
        assert_ne!(kind, GOAWAY, "{payload:?}");
        if (kind, u32::from_be_bytes(stream)) == (DATA, last) {
            assert_eq!(payload.len(), 31);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_closed() {
    let (_drains, drain) = watch::channel(false);
    let (mut near, far) = duplex(1 << 20);
    near.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    let began = Instant::now();
    serve(Arc::new(seat(31, drain).await), far, 1).await;
    // It was heard in the first interval, and asked at the end of the second.
    assert_eq!(began.elapsed().as_secs(), (2 * bounds::KEEP_ALIVE_INTERVAL + bounds::KEEP_ALIVE_TIMEOUT).as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answer_is_closed_and_one_that_takes_them_slowly_is_not() {
    const INITIAL_WINDOW_SIZE_0: &[u8] = &[0, 4, 0, 0, 0, 0];
    for takes in [false, true] {
        let (_drains, drain) = watch::channel(false);
        let (mut near, far) = duplex(1 << 20);
        let serving = tokio::spawn(serve(Arc::new(seat(31, drain).await), far, 1));
        let began = Instant::now();
        let calls = [1, 3, 5].into_iter().flat_map(|stream| {
            let message = frame(DATA, END_STREAM, stream, b"\0\0\0\0\0");
            [frame(HEADERS, END_HEADERS, stream, &call_headers()), message].concat()
        });
        let said = [PREFACE, &frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE_0), &calls.collect::<Vec<_>>()].concat();
        near.write_all(&said).await.unwrap();
        if !takes {
            serving.await.unwrap();
            assert!(began.elapsed() <= 2 * bounds::READER_PATIENCE);
            continue;
        }
        for stream in [1, 3, 5] {
            sleep(bounds::READER_PATIENCE * 9 / 10).await;
            near.write_all(&frame(WINDOW_UPDATE, 0, stream, &31_u32.to_be_bytes())).await.unwrap();
        }
        sleep(bounds::READER_PATIENCE / 2).await; // in which none waits
        assert!(!serving.is_finished());
    }
}

/// Who always has something to say must not be listened to for ever.
#[tokio::test]
async fn a_connection_reads_a_little_and_then_it_is_the_others_turn() {
    let nothing = |_| frame(PRIORITY, 0, 1, &[0; 5]);
    let turns = read_in_turns(Constant::of(31), nothing).await;
    // Beside the preface, which comes before all turns.
    let most = bounds::READ_PER_TURN_MAX_BYTES + PREFACE.len() as u64;
    assert!(turns.iter().all(|read| *read <= most), "{turns:?}");
    assert!(turns.iter().sum::<u64>() > 1 << 16, "it is listened to, though: {turns:?}");
}

#[tokio::test]
async fn a_connection_whose_calls_are_dear_is_read_a_few_at_a_time() {
    let call = |n| {
        let message = frame(DATA, END_STREAM, 2 * n + 1, b"\0\0\0\0\0");
        [frame(HEADERS, END_HEADERS, 2 * n + 1, &call_headers()), message].concat()
    };
    // Two of them take longer than a turn may, and more than that come in the least that is read.
    let dear = Constant { takes: Nanos(bounds::TURN_MAX.0 / 2 + 1), ..Constant::of(31) };
    let turns = read_in_turns(dear, call).await;
    // Where little of what was read made a whole call, the next may be twice as much.
    let few = |read: &u64| *read <= 2 * bounds::READ_PER_TURN_MIN_BYTES;
    let (_first, others) = turns.split_at(turns.iter().position(|read| !few(read)).expect("the first is long") + 1);
    assert!(others.iter().all(few), "{turns:?}");
    assert!(others.iter().sum::<u64>() > 1 << 12, "it is listened to, though: {turns:?}");
}

/// How many bytes are read in each turn of a connection on which this is said, as `n` grows, without an end.
async fn read_in_turns(decide: Constant, said: impl Fn(u32) -> Vec<u8> + Send + Unpin + 'static) -> Vec<u64> {
    let (_drains, drain) = watch::channel(false);
    let seat = Seat { decide: Arc::new(decide), ..seat(31, drain).await };
    let read = Arc::new(AtomicUsize::new(0));
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let flood = Flood { unread: greeting, frames: (0..).map(said), read: read.clone() };
    let serving = tokio::spawn(serve(Arc::new(seat), flood, 1));
    let mut turns = Vec::new();
    for _ in 0..50 {
        let before = read.load(Relaxed);
        tokio::task::yield_now().await;
        turns.push((read.load(Relaxed) - before) as u64);
    }
    serving.abort();
    turns
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_nothing_to_ask_for_a_long_time_stays() {
    let (_drains, drain) = watch::channel(false);
    let (near, far) = duplex(1 << 20);
    tokio::spawn(serve(Arc::new(seat(31, drain).await), far, 1));
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    call(&mut client, 31).await;
    sleep(50 * bounds::KEEP_ALIVE_INTERVAL).await;
    call(&mut client, 31).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_may_grow_old_stays() {
    let (_drains, drain) = watch::channel(false);
    let (near, far) = duplex(1 << 20);
    let mut seat = seat(31, drain).await;
    seat.settings.age_max = None;
    tokio::spawn(serve(Arc::new(seat), far, 1));
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    call(&mut client, 31).await;
    sleep(3 * bounds::CONNECTION_AGE).await;
    call(&mut client, 31).await;
}

/// A crowd that only sits there must not keep an Envoy out.
#[tokio::test(start_paused = true)]
async fn when_places_are_scarce_who_asks_nothing_makes_room_and_who_asks_stays() {
    let (_drains, drain) = watch::channel(false);
    let places = Arc::new(Places::new(3));
    let seat = Arc::new(Seat { places: places.clone(), ..seat(31, drain).await });
    let connect = || {
        let (near, far) = duplex(1 << 20);
        let (seat, place) = (seat.clone(), places.take().unwrap());
        let serving = async move {
            serve(seat, far, 1).await;
            drop(place);
        };
        (near, tokio::spawn(serving))
    };
    let (near, envoy) = connect();
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let (near, polite) = connect();
    let (_idle, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let (mut rude, silent) = connect(); // and answers no good-bye
    rude.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();

    let mut came = Vec::new();
    for others in [polite, silent] {
        assert!(places.take().is_none());
        let since = Instant::now();
        while !others.is_finished() {
            call(&mut client, 31).await;
            sleep(Duration::from_millis(100)).await;
            let within = bounds::ASKS_WITHIN + bounds::ROOM_WITHIN + Duration::from_millis(200);
            assert!(since.elapsed() <= within, "{:?}", since.elapsed());
        }
        came.push(places.take().unwrap());
        // Asked again for as long as it may take to be found idle.
        for _ in 0..20 {
            call(&mut client, 31).await;
            sleep(bounds::IDLE_AFTER / 10).await;
        }
        assert!(!envoy.is_finished());
    }

    assert!(places.take().is_none());
    let within = 2 * bounds::IDLE_AFTER + bounds::ROOM_WITHIN;
    timeout(within, envoy).await.expect("who asks no more makes room too").unwrap();
}

#[test]
fn ages_differ_by_at_most_a_tenth_and_fall_evenly() {
    let ages: Vec<_> = (0..10).map(|number| age(Duration::from_secs(1_000), number).as_secs()).collect();
    assert!(ages.iter().all(|age| (900..1_100).contains(age)), "{ages:?}");
    // One in each tenth of the span, or nearly: no two within 10 s of one another.
    let mut sorted = ages.clone();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{ages:?}");
    assert_eq!(age(Duration::MAX, 1), Duration::MAX);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2, for what no library would say.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK: POST, http, then `:path` and `content-type` (31) by their place in the static table, as plain text.
fn call_headers() -> Vec<u8> {
    let content_type = b"application/grpc";
    let mut block = vec![0x83, 0x86, 0x04, u8::try_from(PATH.len()).unwrap()];
    block.extend_from_slice(PATH.as_bytes());
    block.extend_from_slice(&[0x0f, 31 - 15, u8::try_from(content_type.len()).unwrap()]);
    block.extend_from_slice(content_type);
    block
}

async fn call(client: &mut h2::client::SendRequest<Bytes>, size: usize) {
    let request = Request::post(format!("http://rls{PATH}")).header("content-type", "application/grpc");
    let (response, mut sender) = client.send_request(request.body(()).unwrap(), false).unwrap();
    sender.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut received = 0;
    while let Some(data) = body.data().await {
        received += data.unwrap().len();
    }
    assert_eq!(received, size);
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

struct Constant {
    answer: Bytes,
    /// How long it works for an answer.
    takes: Nanos,
}

impl Constant {
    fn of(size: usize) -> Self {
        let mut answer = BytesMut::new();
        answer.put_u8(0);
        answer.put_u32(u32::try_from(size - 5).unwrap());
        answer.put_bytes(0, size - 5);
        Self { answer: answer.freeze(), takes: Nanos::ZERO }
    }
}

impl Decide for Constant {
    fn decide(self: &Arc<Self>, _: Bytes, _: Call) -> Decided {
        let began = Clock.stopwatch();
        while began.elapsed() < self.takes {}
        Decided::Now(Ok(self.answer.clone()))
    }
}

async fn seat(size: usize, drain: watch::Receiver<bool>) -> Seat<Constant, Silent> {
    Seat {
        core: 0,
        decide: Arc::new(Constant::of(size)),
        events: Arc::new(Silent),
        routes: Health::not_serving().await.routes(),
        settings: Settings::default(),
        room: Room::default(),
        places: Arc::new(Places::new(1)),
        working: Arc::default(),
        sheds: Arc::default(),
        drain,
    }
}

/// A socket that would take vectored writes, and counts the writes it gets.
struct Counting {
    socket: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A socket that always has something to read.
struct Flood<F> {
    unread: Vec<u8>,
    frames: F,
    read: Arc<AtomicUsize>,
}

impl<F: Iterator<Item = Vec<u8>> + Unpin> AsyncRead for Flood<F> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.len() < buffer.remaining() {
            let more = self.frames.next().expect("there is no end");
            self.unread.extend(more);
        }
        let now: Vec<u8> = self.unread.drain(..buffer.remaining()).collect();
        self.read.fetch_add(now.len(), Relaxed);
        buffer.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl<F: Unpin> AsyncWrite for Flood<F> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
