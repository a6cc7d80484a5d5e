//! What a connection does to its socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{DuplexStream, ReadBuf, duplex};

use super::*;
use crate::grpc::{
    events::Silent,
    health::Health,
    unary::{Failure, PATH},
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

#[test]
fn ages_differ_by_at_most_a_tenth_and_fall_evenly() {
    let ages: Vec<_> = (0..10).map(|number| age(Duration::from_secs(1_000), number).as_secs()).collect();
    assert!(ages.iter().all(|age| (900..1_100).contains(age)), "{ages:?}");
    // One in each tenth of the span, or nearly: no two within 10 s of one another.
    let mut sorted = ages.clone();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{ages:?}");
    assert!(age(Duration::MAX / 2, u64::MAX) > Duration::ZERO);
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
    async fn decide(&self, _: Bytes, _: usize) -> Result<Bytes, Failure> {
        Ok(self.0.clone())
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
        h2: h2(),
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
