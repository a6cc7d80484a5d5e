//! The same steps over counters in a real Redis server, which must be decided as the book says, too.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tallygate::{
    charge::{Charges, CounterKey, Verdicts},
    rules::Slots,
    store::{
        Asking, Keyspace,
        redis::{Decided, Redis, Time, door::Door},
    },
    store_address::{StoreAddress, TlsFiles},
    units::Timestamp,
};
use tokio::runtime::{Builder, Runtime};

use crate::servers::{Cluster, RedisServer};

/// Longer than any pause of a busy machine: here nothing is late.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a clock shows that goes on while a test runs.
#[expect(clippy::disallowed_methods, reason = "a test of a real server goes by real time")]
pub fn real_time() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    Timestamp(u64::try_from(since_1970.as_nanos()).expect("it is not yet 2554"))
}

/// Servers, and the store over them.
pub struct OnRedis {
    servers: Servers,
    runtime: Runtime,
    store: Redis,
    keyspace: Keyspace<'static>,
}

enum Servers {
    One(RedisServer),
    Cluster(Box<Cluster>),
}

impl OnRedis {
    /// Windows go by the time of each call.
    pub fn start() -> Arc<Self> {
        Self::start_by(Time::Calls)
    }

    pub fn start_by(time: Time) -> Arc<Self> {
        Self::over(Servers::One(RedisServer::start()), time, Slots::Together)
    }

    /// The counters of each descriptor have a slot of their own in a cluster.
    pub fn start_spread() -> Arc<Self> {
        let on_redis = Self::over(Servers::Cluster(Box::new(Cluster::start())), Time::Calls, Slots::Spread);
        on_redis.runtime.block_on(on_redis.store.learn());
        on_redis
    }

    fn over(servers: Servers, time: Time, slots: Slots) -> Arc<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = match &servers {
            Servers::One(server) => server.url(),
            Servers::Cluster(cluster) => cluster.url(),
        };
        let Ok(StoreAddress::Redis(address)) = StoreAddress::parse(&url) else { panic!("{url} is an address") };
        let door = Door::new(address, None, TlsFiles::default()).expect("plain servers");
        let store = Redis::new(door, "tallygate:", 1, DEADLINE, time);
        Arc::new(Self { servers, runtime, store, keyspace: Keyspace { domain: "d", slots } })
    }

    pub fn servers(&self) -> &[RedisServer] {
        match &self.servers {
            Servers::One(server) => std::slice::from_ref(server),
            Servers::Cluster(cluster) => &cluster.masters,
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.servers().iter().for_each(|server| server.ask::<()>(&["FLUSHALL"]));
    }

    pub fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        let decided = self.decide(now, charges);
        assert_eq!(decided.at, now);
        decided.verdicts
    }

    /// At whatever time Redis says.
    pub fn decide(&self, now: Timestamp, charges: &Charges<'_>) -> Decided {
        let asking = Asking { now, keyspace: self.keyspace, charges, on_store_error: &[], core: Some(0), within: None };
        self.runtime.block_on(self.store.charge(&asking)).expect("Redis answers")
    }

    /// How often scripts have called a command so far.
    pub fn calls_of(&self, command: &str) -> u64 {
        self.servers().iter().map(|server| calls_of(server, command)).sum()
    }

    pub fn lift(&self, now: Timestamp, key: CounterKey) {
        self.runtime.block_on(self.store.lift(now, self.keyspace, key)).expect("Redis answers");
    }

    pub fn reset(&self, now: Timestamp, charges: &Charges<'_>) {
        self.runtime.block_on(self.store.reset(now, self.keyspace, charges)).expect("Redis answers");
    }
}

/// How often a server was given a command so far, by scripts too.
pub fn calls_of(server: &RedisServer, command: &str) -> u64 {
    let told: String = server.ask(&["INFO", "commandstats"]);
    let line = told.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
}
