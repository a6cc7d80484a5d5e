//! The same steps over counters in a real Redis server, which must be decided as the book says, too.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tallygate::{
    charge::{Charges, CounterKey, Verdicts},
    store::{
        Asking,
        redis::{Redis, Time, door::Door},
    },
    store_address::StoreAddress,
    units::Timestamp,
};
use tokio::runtime::{Builder, Runtime};

/// Longer than any pause of a busy machine: here nothing is late.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server, and the store over it.
#[derive(Debug)]
pub struct OnRedis {
    server: Mutex<Child>,
    port: u16,
    runtime: Runtime,
    store: Redis,
}

impl OnRedis {
    pub fn start() -> Arc<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let Ok(StoreAddress::Redis(address)) = StoreAddress::parse(&format!("redis://127.0.0.1:{port}")) else {
            panic!("it is an address");
        };
        let door = Door::new(address, None).unwrap();
        let store = Redis::new(door, 1, DEADLINE, Time::Calls);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Arc::new(Self { server: Mutex::new(server), port, runtime, store })
    }

    /// Forgets everything.
    pub fn forget(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"FLUSHALL\r\n").unwrap();
        let mut said = String::new();
        BufReader::new(stream).read_line(&mut said).unwrap();
        assert_eq!(said, "+OK\r\n");
    }

    pub fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        let asking = Asking { now, domain: "d", charges, on_store_error: &[], core: Some(0), within: None };
        let decided = self.runtime.block_on(self.store.charge(&asking)).unwrap();
        assert_eq!(decided.at, now);
        decided.verdicts
    }

    pub fn lift(&self, now: Timestamp, key: CounterKey) {
        self.runtime.block_on(self.store.lift(now, "d", key)).unwrap();
    }

    pub fn reset(&self, now: Timestamp, charges: &Charges<'_>) {
        self.runtime.block_on(self.store.reset(now, "d", charges)).unwrap();
    }
}

impl Drop for OnRedis {
    fn drop(&mut self) {
        let mut server = self.server.lock().unwrap();
        let _ = server.kill();
        let _ = server.wait();
    }
}
