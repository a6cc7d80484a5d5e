//! What a connection does to its socket.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex},
    sync::watch,
    time::Instant,
};

use super::*;
use crate::grpc::{
    decide::{Call, Decided},
    events::Silent,
    health::Health,
    message::Room,
    settings::Settings,
    unary::PATH,
};

#[tokio::test]
async fn an_answer_is_one_write() {
    // The size of a plain answer, one with headers, metadata and body, and one in several DATA frames.
    for size in [31, 300, 3_000] {
        let (near, far) = duplex(1 << 20);
        let writes = Arc::new(AtomicUsize::new(0));
        let (_drains, drain) = watch::channel(false);
        let seat = seat(size, drain).await;
        let socket = Counting { socket: far, writes: writes.clone() };
        let serving = tokio::spawn(serve(Arc::new(seat), socket, 1));

        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        let connection = tokio::spawn(connection);
        call(&mut client, size).await; // and with it the SETTINGS of both sides
        let before = writes.load(Relaxed);
        for _ in 0..10 {
            call(&mut client, size).await;
        }
        assert_eq!(writes.load(Relaxed) - before, 10, "answers of {size} bytes");

        drop(client);
        connection.await.unwrap().unwrap();
        serving.await.unwrap();
    }
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
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];

    // HPACK: POST, http, then `:path` and `content-type` (31) by their place in the static table, as plain text.
    let headers = |content_type: &str| {
        let mut block = vec![0x83, 0x86, 0x04, u8::try_from(PATH.len()).unwrap()];
        block.extend_from_slice(PATH.as_bytes());
        block.extend_from_slice(&[0x0f, 31 - 15, u8::try_from(content_type.len()).unwrap()]);
        block.extend_from_slice(content_type.as_bytes());
        block
    };
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    let last = 2 * 500 + 1;
    for stream in (1..last).step_by(2) {
        said.extend(frame(HEADERS, END_HEADERS, stream, &headers("application/grpc")));
        said.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    said.extend(frame(HEADERS, END_HEADERS, last, &headers("application/grpc")));
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
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap(); // with empty SETTINGS
    let began = Instant::now();
    serve(Arc::new(seat(31, drain).await), far, 1).await;
    // It was heard in the first interval, and asked at the end of the second.
    assert_eq!(began.elapsed().as_secs(), (2 * bounds::KEEP_ALIVE_INTERVAL + bounds::KEEP_ALIVE_TIMEOUT).as_secs());
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

struct Constant(Bytes);

impl Decide for Constant {
    fn decide(self: &Arc<Self>, _: Bytes, _: Call) -> Decided {
        Decided::Now(Ok(self.0.clone()))
    }
}

async fn seat(size: usize, drain: watch::Receiver<bool>) -> Seat<Constant, Silent> {
    let mut answer = BytesMut::new();
    answer.put_u8(0);
    answer.put_u32(u32::try_from(size - 5).unwrap());
    answer.put_bytes(0, size - 5);
    Seat {
        core: 0,
        decide: Arc::new(Constant(answer.freeze())),
        events: Arc::new(Silent),
        routes: Health::not_serving().await.routes(),
        settings: Settings::default(),
        room: Room::default(),
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
