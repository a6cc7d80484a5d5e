//! The same steps over counters in a real Redis server, which must be decided as the book says, too.

use std::{sync::Arc, time::Duration};

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

use crate::servers::RedisServer;

/// Longer than any pause of a busy machine: here nothing is late.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server, and the store over it.
pub struct OnRedis {
    server: RedisServer,
    runtime: Runtime,
    store: Redis,
}

impl OnRedis {
    pub fn start() -> Arc<Self> {
        let server = RedisServer::start();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let Ok(StoreAddress::Redis(address)) = StoreAddress::parse(&server.url()) else {
            panic!("{} is an address", server.url());
        };
        let store = Redis::new(Door::new(address, None).expect("one server"), 1, DEADLINE, Time::Calls);
        Arc::new(Self { server, runtime, store })
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.server.ask::<()>(&["FLUSHALL"]);
    }

    pub fn charge(&self, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
        let asking = Asking { now, domain: "d", charges, on_store_error: &[], core: Some(0), within: None };
        let decided = self.runtime.block_on(self.store.charge(&asking)).expect("Redis answers");
        assert_eq!(decided.at, now);
        decided.verdicts
    }

    pub fn lift(&self, now: Timestamp, key: CounterKey) {
        self.runtime.block_on(self.store.lift(now, "d", key)).expect("Redis answers");
    }

    pub fn reset(&self, now: Timestamp, charges: &Charges<'_>) {
        self.runtime.block_on(self.store.reset(now, "d", charges)).expect("Redis answers");
    }
}
