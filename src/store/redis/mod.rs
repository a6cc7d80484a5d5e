//! Counters in Redis, shared by all replicas.
//!
//! | step | file |
//! |---|---|
//! | what a request asks, as the script reads it | `ask`; `usual`, where the script has a short way; each a `list` |
//! | the script: decides and charges in one atomic step | `charge.lua`, sent by `script` |
//! | which keys it meets | `key`; several groups of them where a domain is `spread` over a cluster, and `give_back.lua` |
//! | the call | `charging` |
//! | which server has them | `follow`; in a cluster by the map of its `slots` that `cluster` has learnt |
//! | the connection of each core to it | `link` of a `node`, opened by `door` |
//! | what that takes | `sentinels`: which server; `place`: the way there; `tls`; `connection` |
//! | what the script saw | `reply` |
//! | what replicas tell each other beside counters | `entries`, merged by `orders.lua` |
//! | what the server's clock shows | `server_clock` |
//! | what is asked beside charges | `errands` |
//! | how many share the server | `replicas`, `replicas.lua` |
//!
//! The script leaves the counters as [`settle`] would, and returns what they held before; `settle` then runs here over the
//! same counters and the same time, and tells what became of each charge. So there is one place that words verdicts.

mod ask;
mod away;
mod charging;
mod cluster;
mod connection;
pub mod door;
mod entries;
mod errands;
mod files;
mod follow;
mod key;
mod link;
mod list;
mod node;
mod place;
mod replicas;
mod reply;
mod script;
mod sentinels;
mod server_clock;
mod slots;
mod spread;
mod tls;
mod usual;

use std::{borrow::Cow, sync::Arc, time::Duration};

pub(super) use ask::Seats;
pub use away::Away;
use cluster::Cluster;
use door::Door;
pub use entries::{Entry, Exchange, Exchanged, Told};
use follow::Servers;
use key::{Group, Names};
use node::Way;
pub use node::{Hop, Node, Probe};
use redis::Value;
use reply::Seen;
use script::{Arguments, Call, Runnable};
use slots::Slot;
use smallvec::SmallVec;

use super::{Keyspace, memory::Emptied};
use crate::{
    bounds::REDIS_CONNECT_DEADLINE,
    charge::{Charges, CounterKey, Gate, Verdicts, gate_is_closed, settle},
    limit::Counter,
    rules::Slots,
    units::Timestamp,
};

/// Counters in a Redis server, or in several that share them among them.
#[derive(Debug)]
pub struct Redis {
    servers: Servers,
    names: Names,
    scripts: Arc<Scripts>,
    deadline: Duration,
    time: Time,
}

/// Whose time windows go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The server's: replicas need not agree on theirs.
    Servers,
    /// That of each call, in whole microseconds: for tests, whose clock stands still.
    Calls,
}

/// What the server decided.
#[derive(Clone, Debug)]
pub struct Decided {
    pub verdicts: Verdicts,
    /// The counters as they were before, each where the seats have its key.
    pub before: SmallVec<[Counter; 8]>,
    /// The time it went by.
    pub at: Timestamp,
}

impl Decided {
    /// What `answer` decides about `charges`, as it comes over the wire, at about `now`; None where it is no answer of
    /// ours.
    pub fn read(answer: &[u8], charges: &Charges<'_>, now: Timestamp) -> Option<Self> {
        let answer = redis::parse_redis_value(answer).and_then(Value::extract_error).ok()?;
        let seats = Seats::of(charges);
        let seen = Seen::read(answer, charges, &seats)?;
        Self::of(&seen, charges, &seats, seen.now.unwrap_or(now))
    }

    /// None where the script decided otherwise: one of the two would be wrong, and nobody knows which.
    fn of(seen: &Seen, charges: &Charges<'_>, seats: &Seats, at: Timestamp) -> Option<Self> {
        let before = seen.counters(charges, seats, at);
        let verdicts = settle(charges, &seats.of, &mut before.clone(), at);
        (verdicts.refused == seen.refused).then_some(Self { verdicts, before, at })
    }
}

/// A call that came to nothing.
#[derive(Debug)]
pub struct Failure {
    pub why: Away,
    /// Where it stood; None where that says nothing of any server.
    pub at: Option<Hop>,
}

#[derive(Debug)]
struct Scripts {
    charge: Runnable,
    give_back: Runnable,
    reset: Runnable,
    orders: Runnable,
    replicas: Runnable,
}

impl Redis {
    /// A store behind `door`, all of whose keys begin with `key_prefix`, for so many cores; nothing is opened yet.
    pub fn new(door: Door, key_prefix: &str, cores: usize, deadline: Duration, time: Time) -> Self {
        let scripts = Arc::new(Scripts {
            charge: Runnable::charge(),
            give_back: Runnable::give_back(),
            reset: Runnable::reset(),
            orders: Runnable::orders(),
            replicas: Runnable::replicas(),
        });
        let (name, door) = (Box::from(door.name()), Arc::new(door));
        let servers = if door.seeds().is_empty() {
            let way = Way { door, scripts: Arc::clone(&scripts), server: None };
            Servers::One(Arc::new(Node::new(name, way, cores)))
        } else {
            Servers::Cluster(Box::new(Cluster::new(name, door, Arc::clone(&scripts), cores)))
        };
        Self { servers, names: Names::new(key_prefix), scripts, deadline, time }
    }

    /// Every server that calls may be made to.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.servers.all()
    }

    /// Sees whether `node` lets us in and can be written to, on a connection that serves nothing else.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn greet(&self, node: &Arc<Node>) -> Result<(), Away> {
        let tag = match self.servers.cluster() {
            Some(cluster) if cluster.is_nobody(node) => return cluster.has_no_holes(),
            Some(cluster) => cluster.tag_of(node),
            None => Some(String::new()),
        };
        let command = match tag {
            Some(tag) => {
                let mut command = redis::cmd("SET");
                command.arg(self.names.greeting(&tag)).arg("").arg("PX").arg(1_000);
                command
            }
            // No key is its own.
            None => redis::cmd("PING"),
        };
        node.ask_apart(&command, self.deadline).await.map(drop)
    }

    /// What `node` does when it is full (`maxmemory-policy`), unless it forgets nothing then; None also where it does not
    /// say.
    pub async fn forgets(&self, node: &Arc<Node>) -> Option<String> {
        if self.servers.cluster().is_some_and(|cluster| cluster.is_nobody(node)) {
            return None;
        }
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let told = node.ask_apart(&command, REDIS_CONNECT_DEADLINE).await.ok()?;
        let told: String = redis::from_redis_value(told).ok()?;
        let policy = told.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?.trim();
        (policy != "noeviction").then(|| policy.to_owned())
    }

    /// Gives all connections up where the server has another's place now. To be called once a second.
    pub async fn follow_master(&self) {
        if let Servers::One(node) = &self.servers {
            node.follow_master().await;
        }
    }

    /// Learns which servers have which keys, where there are several. To be called by one task alone. Returns those that
    /// have no more part in it.
    pub async fn learn(&self) -> Vec<Arc<Node>> {
        match self.servers.cluster() {
            Some(cluster) => cluster.learn().await,
            None => Vec::new(),
        }
    }

    /// Waits until there may be something to [`learn`](Self::learn).
    pub async fn changed(&self) {
        match self.servers.cluster() {
            Some(cluster) => cluster.map_is_wanted().await,
            None => std::future::pending().await,
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way, whatever they ask.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it was done.
    pub async fn reset(&self, now: Timestamp, keyspace: Keyspace<'_>, charges: &Charges<'_>) -> Result<Emptied, Away> {
        if let Some(group) = self.group_of(keyspace, charges) {
            return self.reset_group(now, group, charges).await;
        }
        let mut all = Emptied::default();
        for part in spread::parts(charges) {
            let emptied = self.reset_group(now, part.group(keyspace.domain), &part.charges).await?;
            all.counters += emptied.counters;
            all.blocks += emptied.blocks;
        }
        Ok(all)
    }

    async fn reset_group(&self, now: Timestamp, group: Group<'_>, charges: &Charges<'_>) -> Result<Emptied, Away> {
        let seats = Seats::of(charges);
        if seats.keys.is_empty() {
            return Ok(Emptied::default());
        }
        let arguments = Arguments::Reset(self.time_of_calls(now));
        let call = Call { script: &self.scripts.reset, names: &self.names, group, keys: &seats.keys, arguments };
        let node = self.servers.node_of(group.slot());
        let answer = self.run_patiently(group.slot(), |how, _: &Node| call.command(how), node).await?;
        let (counters, at) = reply::forgotten(answer, charges, &seats).ok_or(Away::Garbled)?;
        let (of_charges, of_gates) = seats.of.split_at(charges.list.len());
        let mut emptied = Emptied::default();
        let mut told = vec![false; counters.len()];
        for (charge, &seat) in charges.list.iter().zip(of_charges) {
            let counter = charge.limit.at(counters[seat as usize], at);
            let held = charge.limit.standing(counter, at).used > 0;
            emptied.counters += u32::from(held && !std::mem::replace(&mut told[seat as usize], true));
        }
        for &seat in of_gates {
            let stood = gate_is_closed(counters[seat as usize], at);
            emptied.blocks += u32::from(stood && !std::mem::replace(&mut told[seat as usize], true));
        }
        Ok(emptied)
    }

    /// Lifts a block; whether there was one.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it was done.
    pub async fn lift(&self, now: Timestamp, keyspace: Keyspace<'_>, key: CounterKey) -> Result<bool, Away> {
        let gate = Gate { key, descriptor: 0, starts: None, ordered_until: Timestamp::EPOCH };
        let charges = Charges { gates: [gate].into_iter().collect(), ..Charges::default() };
        Ok(self.reset(now, keyspace, &charges).await?.blocks > 0)
    }

    /// What the clock of `node` shows when ours shows `now`, as far as is known.
    fn server_time(&self, node: &Node, now: Timestamp) -> Timestamp {
        match self.time {
            Time::Servers => node.clock().at(now),
            Time::Calls => now,
        }
    }

    /// The time that scripts are told; None: they go by the server's own.
    fn time_of_calls(&self, now: Timestamp) -> Option<Timestamp> {
        Some(now).filter(|_| self.time == Time::Calls)
    }

    /// Where the counters of `charges` stand, if they stand together.
    fn group_of<'d>(&self, keyspace: Keyspace<'d>, charges: &Charges<'_>) -> Option<Group<'d>> {
        let domain = keyspace.domain;
        if self.is_spread(keyspace) {
            spread::only_tag(charges).map(|tag| Group { domain, descriptor: Some(tag) })
        } else {
            Some(Group { domain, descriptor: None })
        }
    }

    /// One server has nobody to spread anything over.
    fn is_spread(&self, keyspace: Keyspace<'_>) -> bool {
        keyspace.slots == Slots::Spread && self.servers.cluster().is_some()
    }

    /// By how many nanoseconds the clock of the house is ahead of ours, as far as is known.
    pub fn ahead_ns(&self) -> i64 {
        match self.time {
            Time::Servers => self.house().clock().ahead_ns(),
            Time::Calls => 0,
        }
    }

    /// Who keeps what replicas tell each other.
    fn house(&self) -> Arc<Node> {
        self.servers.node_of(Slot::of(key::HOUSE.as_bytes()))
    }

    /// `charges` by the clock of the server that decides each: orders end when ours shows what they say.
    pub(super) fn by_its_clock<'c, 'p>(
        &self,
        keyspace: Keyspace<'_>,
        charges: &'c Charges<'p>,
    ) -> Cow<'c, Charges<'p>> {
        let is_ordered = |gate: &Gate| gate.ordered_until > Timestamp::EPOCH;
        if !charges.gates.iter().any(is_ordered) {
            return Cow::Borrowed(charges);
        }
        let mut by_its_clock = charges.clone();
        for gate in by_its_clock.gates.iter_mut().filter(|gate| is_ordered(gate)) {
            let descriptor = self.is_spread(keyspace).then(|| spread::tag_of_gate(charges, gate));
            let node = self.servers.node_of(Group { domain: keyspace.domain, descriptor }.slot());
            gate.ordered_until = self.server_time(&node, gate.ordered_until);
        }
        Cow::Owned(by_its_clock)
    }
}

impl From<Away> for Failure {
    fn from(why: Away) -> Self {
        Self { why, at: None }
    }
}

impl Scripts {
    /// Those that requests wait for.
    fn all(&self) -> [&Runnable; 3] {
        [&self.charge, &self.give_back, &self.reset]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store_address::{StoreAddress, TlsFiles},
        units::Nanos,
    };

    #[test]
    fn orders_end_when_our_clock_shows_their_end_whatever_the_server_s_shows() {
        let Ok(StoreAddress::Redis(address)) = StoreAddress::parse("redis://localhost") else { panic!() };
        let redis =
            Redis::new(Door::new(address, None, TlsFiles::default()).unwrap(), "t:", 1, Duration::ZERO, Time::Servers);
        let (now, minute) = (Timestamp::from_secs(1_800_000_000), Nanos::from_secs(60));
        let gate = |ordered_until| Gate { key: CounterKey(1), descriptor: 0, starts: None, ordered_until };
        let gates = [gate(now), gate(Timestamp::EPOCH)].into_iter().collect();
        let charges = Charges { gates, ..Charges::default() };
        for (theirs, ends) in [(now.plus(minute), now.plus(minute)), (now, now)] {
            redis.house().clock().note(theirs, now, Duration::ZERO);
            let gates = &redis.by_its_clock(Keyspace { domain: "shop", slots: Slots::Together }, &charges).gates;
            assert_eq!([gates[0].ordered_until, gates[1].ordered_until], [ends, Timestamp::EPOCH]);
        }
    }
}
