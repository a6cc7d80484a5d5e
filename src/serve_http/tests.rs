use std::time::Duration;

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
    time::timeout,
};

use super::*;

/// How long anything may take that should take milliseconds: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(connections_max: usize) -> Self {
        Self::serving(connections_max, |_, router| Some(router.into())).await
    }

    async fn serving(
        connections_max: usize,
        serve: impl Fn(Ends, Router) -> Option<Served> + Send + Sync + 'static,
    ) -> Self {
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
        let router = Router::new().route("/peer", get(peer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serve = move |ends| serve(ends, router.clone());
        Self { address, stop, running: tokio::spawn(serve_http(listener, serve, connections_max, stopped)) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

async fn ask(socket: &mut TcpStream, last: bool) -> String {
    let connection = if last { "close" } else { "keep-alive" };
    let request = format!("GET /peer HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let own = socket.local_addr().unwrap().to_string();
    let mut answer = Vec::new();
    while !answer.ends_with(own.as_bytes()) {
        let read = timeout(PATIENCE, socket.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "ended after {}", answer.escape_ascii());
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection_and_handlers_know_the_peer() {
    let server = Server::start(1).await;
    let mut socket = server.connect().await;
    for last in [false, false, true] {
        assert!(ask(&mut socket, last).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    server.stop().await;
}

#[tokio::test]
async fn one_more_than_the_bound_waits_until_another_goes() {
    let server = Server::start(1).await;
    let mut first = server.connect().await;
    ask(&mut first, false).await;
    let mut second = server.connect().await;
    let mut answered = Box::pin(ask(&mut second, true));
    assert!(timeout(Duration::from_millis(50), answered.as_mut()).await.is_err());
    drop(first);
    assert!(answered.await.starts_with("HTTP/1.1 200 OK\r\n"));
    server.stop().await;
}

#[tokio::test]
async fn each_connection_is_served_as_it_is_said_or_closed_and_keeps_its_place_to_the_end() {
    let places = Arc::new(Semaphore::new(1));
    let serve = {
        let places = Arc::clone(&places);
        move |ends: Ends, router| {
            assert_ne!(ends.local, ends.peer);
            Some(Served { router, place: Some(Arc::clone(&places).try_acquire_owned().ok()?) })
        }
    };
    let server = Server::serving(8, serve).await;
    let mut first = server.connect().await;
    ask(&mut first, false).await;
    assert_eq!(places.available_permits(), 0);
    let mut second = server.connect().await;
    assert_eq!(timeout(PATIENCE, second.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    ask(&mut first, true).await;
    // Its place is free once the server has seen its end.
    drop(timeout(PATIENCE, places.acquire()).await.unwrap().unwrap());
    ask(&mut server.connect().await, true).await;
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Server::start(8).await;
    let mut idle = server.connect().await;
    ask(&mut idle, false).await;
    let _silent = server.connect().await;
    server.stop().await;
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_is_slow_to_ask_is_given_up_at_the_deadline() {
    let (near, mut far) = tokio::io::duplex(1_024);
    let service = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let connection = http1(Duration::from_millis(20)).serve_connection(TokioIo::new(near), service);
    far.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let ended = timeout(PATIENCE, connection).await.unwrap();
    assert!(ended.unwrap_err().is_timeout());
}

#[tokio::test]
async fn who_says_nothing_at_all_is_given_up_too() {
    let (near, _far) = tokio::io::duplex(1_024);
    let service = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let connection = http1(Duration::from_millis(20)).serve_connection(TokioIo::new(near), service);
    assert!(timeout(PATIENCE, connection).await.is_ok());
}
