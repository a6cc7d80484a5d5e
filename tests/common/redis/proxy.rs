//! A way to a server that a test makes bad while it is used.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1_024;
/// Chunks on their way in one direction of a connection; who sends more must wait, as on a real line.
const UNDER_WAY_MAX: usize = 1_024;

/// A TCP proxy. Its threads end with their connections, and the one that accepts with the test program.
pub struct Proxy {
    port: u16,
    road: Arc<Road>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Every byte arrives so much later; as many as come are on their way at once.
    Slow(Duration),
    /// A black hole: nothing arrives. When it clears everything does, as by TCP's repetitions.
    Lost,
}

/// What all connections share.
struct Road {
    server: u16,
    state: Mutex<State>,
    changed: Condvar,
    accepted: AtomicUsize,
}

struct State {
    /// To the server, and to the client.
    weather: [Weather; 2],
    /// Both ends of every connection, so that they can be cut off; None: new ones are too, at once.
    open: Option<Vec<TcpStream>>,
}

impl Proxy {
    /// A clear way to this port of loopback.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let state = Mutex::new(State { weather: [Weather::Clear; 2], open: Some(Vec::new()) });
        let road = Arc::new(Road { server, state, changed: Condvar::new(), accepted: AtomicUsize::new(0) });
        let of_all = Arc::clone(&road);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                of_all.accepted.fetch_add(1, Relaxed);
                // Who cannot be connected hears it by the end of his connection.
                let _ = Road::lead(&of_all, client);
            }
        });
        Self { port, road }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Connections since it was started.
    pub fn accepted(&self) -> usize {
        self.road.accepted.load(Relaxed)
    }

    /// Holds for open connections too.
    pub fn set(&self, direction: Direction, weather: Weather) {
        self.road.state().weather[direction as usize] = weather;
        self.road.changed.notify_all();
    }

    /// The same in both directions.
    pub fn set_both(&self, weather: Weather) {
        self.set(Direction::ToServer, weather);
        self.set(Direction::ToClient, weather);
    }

    /// Ends every connection; new ones end at once, until [`reconnect`](Self::reconnect).
    pub fn cut_off(&self) {
        let open = self.road.state().open.take();
        for stream in open.into_iter().flatten() {
            // One that has ended already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections be made again.
    pub fn reconnect(&self) {
        self.road.state().open.get_or_insert_default();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut_off();
        self.set_both(Weather::Clear);
    }
}

impl Road {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a client with the server.
    fn lead(road: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", road.server))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let ends = [client.try_clone()?, server.try_clone()?];
        match &mut road.state().open {
            Some(open) => open.extend(ends),
            None => return Ok(()),
        }
        Self::carry(road, Direction::ToServer, client.try_clone()?, server.try_clone()?);
        Self::carry(road, Direction::ToClient, server, client);
        Ok(())
    }

    /// Carries what `from` sends to `to`, until one of them ends.
    fn carry(road: &Arc<Self>, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let (sender, receiver) = sync_channel(UNDER_WAY_MAX);
        thread::spawn(move || read_all(&mut from, &sender));
        let road = Arc::clone(road);
        thread::spawn(move || {
            let _ = road.deliver(direction, &receiver, &mut to);
            // Both ways, so that the one who waits for the other hears of it.
            let _ = to.shutdown(Shutdown::Both);
        });
    }

    fn deliver(&self, direction: Direction, chunks: &Receiver<Chunk>, to: &mut TcpStream) -> io::Result<()> {
        for (read_at, bytes) in chunks {
            let mut state = self.state();
            loop {
                let left = match state.weather[direction as usize] {
                    Weather::Clear => break,
                    Weather::Slow(delay) => delay.saturating_sub(read_at.elapsed()),
                    // Until somebody changes it: longer than a test lasts, and looked at again then.
                    Weather::Lost => Duration::from_hours(1),
                };
                if left.is_zero() {
                    break;
                }
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            drop(state);
            to.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// When it was read, and what.
type Chunk = (Instant, Vec<u8>);

#[expect(clippy::disallowed_methods, reason = "it makes real connections slow")]
fn read_all(from: &mut TcpStream, sender: &SyncSender<Chunk>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now(), buffer[..read].to_vec())).is_err() {
            break;
        }
    }
}
