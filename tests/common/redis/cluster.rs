//! Three masters that share the keys among them.

use std::{collections::BTreeSet, time::Duration};

use super::{
    RedisServer,
    ports::free_port,
    process::{eventually, within},
};

/// Every key falls into one of so many slots (the specification of Redis Cluster).
const SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;
/// A master that has been silent for so long, in milliseconds, is taken for dead. Far longer than one does nothing on a busy
/// machine: it would be failed over.
const NODE_TIMEOUT: &str = "2000";
/// The silence, as much again until all know of it, and an election or two.
const FAILOVER_WITHIN: Duration = Duration::from_secs(30);

/// A cluster of three masters, each with a third of the slots.
pub struct Cluster {
    pub masters: [RedisServer; MASTERS as usize],
    /// Takes the place of the first master when that is gone.
    pub replica: Option<RedisServer>,
}

impl Cluster {
    /// Starts it without replicas, and waits until all of it serves.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts its servers with more options.
    pub fn start_with(options: &[&str]) -> Self {
        // By default the bus stands 10,000 above the port, where somebody else may be.
        let buses = [(); MASTERS as usize].map(|()| free_port());
        let cluster = Self { masters: buses.map(|bus| server(bus, options)), replica: None };
        cluster.share_slots();
        for (master, bus) in cluster.masters.iter().zip(buses).skip(1) {
            cluster.introduce(master, bus);
        }
        cluster.until_serves();
        cluster
    }

    /// Starts it with a replica of the first master.
    pub fn start_with_replica() -> Self {
        // Or all would stop while one third is nobody's.
        let mut cluster = Self::start_with(&["--cluster-require-full-coverage", "no"]);
        let bus = free_port();
        // Whatever it has missed, it stands for election; without the delay a full copy begins at once.
        let replica = server(bus, &["--cluster-replica-validity-factor", "0", "--cluster-require-full-coverage", "no"]);
        for master in &cluster.masters {
            master.ask::<()>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        }
        cluster.introduce(&replica, bus);
        let master = id(&cluster.masters[0]);
        eventually("it follows", || replica.try_ask::<()>(&["CLUSTER", "REPLICATE", &master]).is_ok());
        eventually("it has what there is", || {
            replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        wait_until_they_serve(cluster.masters.iter().chain([&replica]), MASTERS + 1);
        cluster.replica = Some(replica);
        cluster
    }

    /// Waits until the replica of the first master has its place.
    pub fn until_failed_over(&self) {
        let replica = self.replica.as_ref().expect("there is a replica");
        within(FAILOVER_WITHIN, "the replica is a master, and serves", || {
            replica.ask::<String>(&["INFO", "replication"]).contains("role:master")
                && replica.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.masters.iter().map(|master| format!("127.0.0.1:{}", master.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    fn share_slots(&self) {
        for (nth, master) in (0..).zip(&self.masters) {
            let edge = |nth: u16| u32::from(SLOTS) * u32::from(nth) / u32::from(MASTERS);
            let (first, last) = (edge(nth).to_string(), (edge(nth + 1) - 1).to_string());
            master.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            // Different from the start, or they would have to find out whose word counts.
            master.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(nth + 1).to_string()]);
        }
    }

    fn introduce(&self, server: &RedisServer, bus: u16) {
        let (port, bus) = (server.port().to_string(), bus.to_string());
        self.masters[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.masters[0].ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// Which of the masters has this slot; none while they do not see the whole cluster alike.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let told: Vec<String> = self.masters.iter().map(|master| master.ask(&["CLUSTER", "NODES"])).collect();
        let agree = told.iter().all(|nodes| view(nodes) == view(&told[0]));
        let has = |nodes: &String| {
            let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
            own.split(' ').skip(8).any(|range| holds(range, slot))
        };
        told.iter().position(has).filter(|_| agree)
    }

    /// The same, as soon as they agree.
    fn settled_owner(&self, slot: u16) -> usize {
        let mut owner = None;
        eventually("the slot has an owner", || {
            owner = self.owner(slot);
            owner.is_some()
        });
        owner.expect("it was waited for")
    }

    /// Moves a slot with its keys to another master, in the steps that `redis-cli --cluster reshard` takes.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let from = self.settled_owner(slot);
        if from == to {
            return;
        }
        self.begin_to_move(slot, to);
        let (source, target) = (&self.masters[from], &self.masters[to]);
        let (slot, port) = (slot.to_string(), target.port().to_string());
        loop {
            let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            // NOKEY where they have expired meanwhile.
            source.ask::<String>(&migrate);
        }
        // Who takes it first, so that nobody is ever sent to one who does not know of it.
        for server in [target, source] {
            server.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]);
        }
    }

    /// The first step of [`move_slot`](Self::move_slot): new keys of it are the other master's.
    pub fn begin_to_move(&self, slot: u16, to: usize) {
        let from = self.settled_owner(slot);
        let (source, target, slot) = (&self.masters[from], &self.masters[to], slot.to_string());
        target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]);
        source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
    }

    /// Waits until all masters serve.
    pub fn until_serves(&self) {
        wait_until_they_serve(&self.masters, MASTERS);
    }
}

fn id(server: &RedisServer) -> String {
    server.ask(&["CLUSTER", "MYID"])
}

fn server(bus: u16, options: &[&str]) -> RedisServer {
    let bus = bus.to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", NODE_TIMEOUT];
    RedisServer::start_with(&[&cluster, options].concat())
}

/// Until each of them knows so many nodes, and serves.
fn wait_until_they_serve<'s>(servers: impl IntoIterator<Item = &'s RedisServer>, nodes: u16) {
    let known = format!("cluster_known_nodes:{nodes}");
    for server in servers {
        eventually("the cluster serves", || {
            let info: String = server.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&known)
        });
    }
}

/// What `CLUSTER NODES` says of each node: its id, the epoch of what it claims (who has claimed something later is believed),
/// and its slots, without those that are on their way.
fn view(nodes: &str) -> BTreeSet<Vec<&str>> {
    let words = |line| {
        let words = str::split(line, ' ').enumerate();
        let said = words.filter(|(nth, word)| matches!(nth, 0 | 6 | 8..) && !word.starts_with('['));
        said.map(|(_, word)| word).collect()
    };
    nodes.lines().map(words).collect()
}

/// Whether a word of `CLUSTER NODES` names this slot: `5`, `0-5460`; what is on its way (`[5->-...]`) is left out.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return false };
    (first..=last).contains(&slot)
}
