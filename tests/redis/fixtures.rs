//! The servers and the proxy that the other tests stand on do what they say.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use crate::servers::{Cluster, Direction, Proxy, RedisServer, Sentinels, Weather, eventually};

#[test]
fn a_server_answers_and_forgets_when_it_is_killed() {
    let mut server = RedisServer::start_with(&["--maxmemory", "7mb"]);
    assert_eq!(server.ask::<(String, String)>(&["CONFIG", "GET", "maxmemory"]).1, (7 << 20).to_string());
    server.ask::<()>(&["SET", "stays", "1"]);
    server.ask::<()>(&["SET", "goes", "1", "PX", "100000"]);
    assert_eq!(server.keys().len(), 2);
    assert_eq!(server.keys_without_expiry(), ["stays"]);

    server.kill();
    assert!(server.try_ask::<()>(&["PING"]).is_err());
    server.restart();
    assert_eq!(server.ask::<Option<String>>(&["GET", "stays"]), None);
}

#[test]
fn a_server_that_is_stopped_answers_when_it_goes_on() {
    let server = RedisServer::start();
    server.stop();
    let (told, answer) = sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(|| told.send(server.ask::<String>(&["PING"])));
        assert!(answer.recv_timeout(Duration::from_millis(50)).is_err());
        server.cont();
        assert_eq!(answer.recv_timeout(Duration::from_secs(10)).unwrap(), "PONG");
    });
}

#[test]
fn a_server_that_loads_says_so_and_holds_what_it_held() {
    let mut server = RedisServer::start();
    server.ask::<()>(&["SET", "k", "v"]);
    server.restart_loading(500);
    let answer = || server.try_ask::<Option<String>>(&["GET", "k"]);
    eventually("it loads", || answer().is_err_and(|error| error.code() == Some("LOADING")));
    eventually("it is loaded", || answer().is_ok());
    assert_eq!(answer().unwrap().as_deref(), Some("v"));
}

#[test]
fn a_changed_password_shows_everybody_out_and_outlasts_a_restart() {
    let mut server = RedisServer::start();
    let mut inside = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    assert!(ping(&mut inside).is_some());
    server.set_password("new");
    assert!(ping(&mut inside).is_none());
    assert_eq!(server.ask::<String>(&["PING"]), "PONG");
    server.restart();
    assert_eq!(server.ask::<String>(&["PING"]), "PONG");
}

#[test]
fn a_replica_takes_the_place_of_a_master_that_is_gone() {
    let mut sentinels = Sentinels::start();
    assert_eq!(sentinels.master(), Some(0));
    sentinels.servers[0].ask::<()>(&["SET", "k", "v"]);
    assert_eq!(sentinels.servers[0].ask::<u32>(&["WAIT", "1", "10000"]), 1);
    assert_eq!(sentinels.fail_over(), 1);
    assert_eq!(sentinels.servers[1].ask::<String>(&["GET", "k"]), "v");
    sentinels.servers[1].ask::<()>(&["SET", "k", "w"]);
}

#[test]
fn a_cluster_knows_whose_a_key_is_and_moves_it() {
    let cluster = Cluster::start();
    let slot = cluster.slot("{shop}:k");
    let owner = cluster.owner(slot).unwrap();
    cluster.masters[owner].ask::<()>(&["SET", "{shop}:k", "v"]);
    let other = (owner + 1) % cluster.masters.len();
    let moved = cluster.masters[other].try_ask::<String>(&["GET", "{shop}:k"]).unwrap_err();
    assert_eq!(moved.code(), Some("MOVED"));

    cluster.move_slot(slot, other);
    eventually("all know of it", || cluster.owner(slot) == Some(other));
    assert_eq!(cluster.masters[other].ask::<String>(&["GET", "{shop}:k"]), "v");
    let moved = cluster.masters[owner].try_ask::<String>(&["GET", "{shop}:k"]).unwrap_err();
    assert_eq!(moved.code(), Some("MOVED"));
}

/// Far above what a busy machine adds by itself, so that the two are told apart.
const DELAY: Duration = Duration::from_millis(200);

#[test]
fn a_way_is_slow_in_the_direction_that_was_asked_for_and_clears() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    assert!(ping(&mut client).unwrap() < DELAY);
    for (to_server, to_client, least) in [
        (Weather::Slow(DELAY), Weather::Clear, DELAY),
        (Weather::Clear, Weather::Slow(DELAY), DELAY),
        (Weather::Slow(DELAY), Weather::Slow(DELAY), 2 * DELAY),
        (Weather::Clear, Weather::Clear, Duration::ZERO),
    ] {
        proxy.set(Direction::ToServer, to_server);
        proxy.set(Direction::ToClient, to_client);
        let took = ping(&mut client).unwrap();
        assert!(took >= least && took < least + DELAY, "{to_server:?}, {to_client:?}: {took:?}");
    }
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn what_is_lost_on_the_way_to_the_client_was_done_all_the_same() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    proxy.set(Direction::ToClient, Weather::Lost);
    client.write_all(b"INCR k\r\n").unwrap();
    eventually("it is counted", || server.ask::<Option<u32>>(&["GET", "k"]) == Some(1));

    proxy.set(Direction::ToServer, Weather::Lost);
    client.write_all(b"INCR k\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answer = [0; 8];
    assert!(client.read(&mut answer).is_err());
    assert_eq!(server.ask::<u32>(&["GET", "k"]), 1);

    // When it clears, both arrive.
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    proxy.set_both(Weather::Clear);
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b":1\r\n:2\r\n");
}

#[test]
fn a_way_that_is_cut_off_ends_connections_until_it_is_mended() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let mut client = connect();
    assert!(ping(&mut client).is_some());
    proxy.cut_off();
    assert!(ping(&mut client).is_none());
    assert!(ping(&mut connect()).is_none());
    proxy.reconnect();
    assert!(ping(&mut connect()).is_some());
}

/// How long the answer took; none where the connection has ended.
#[expect(clippy::disallowed_methods, reason = "a test of real connections takes real time")]
fn ping(stream: &mut TcpStream) -> Option<Duration> {
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 7];
    match stream.read_exact(&mut answer) {
        Ok(()) => assert_eq!(&answer, b"+PONG\r\n"),
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "neither an answer nor an end");
            return None;
        }
    }
    Some(start.elapsed())
}
