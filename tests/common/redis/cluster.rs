//! Three masters that share the keys among them.

use super::{RedisServer, ports::free_port, process::eventually};

/// Every key falls into one of so many slots (the specification of Redis Cluster).
const SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;

/// A cluster of three masters without replicas, each with a third of the slots.
pub struct Cluster {
    pub masters: [RedisServer; MASTERS as usize],
    buses: [u16; MASTERS as usize],
}

impl Cluster {
    /// Starts it, and waits until all of it serves.
    pub fn start() -> Self {
        // By default the bus stands 10,000 above the port, where somebody else may be.
        let buses = [(); MASTERS as usize].map(|()| free_port());
        let masters = buses.map(|bus| {
            let bus = bus.to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
            RedisServer::start_with(&options)
        });
        let cluster = Self { masters, buses };
        cluster.share_slots();
        cluster.introduce();
        for master in &cluster.masters {
            eventually("the cluster serves", || {
                let info: String = master.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        cluster
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

    fn introduce(&self) {
        let [first, others @ ..] = &self.masters;
        for (other, bus) in others.iter().zip(&self.buses[1..]) {
            first.ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus.to_string()]);
        }
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.masters[0].ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// Which of the masters has this slot, as each of them sees it; none while they disagree.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        // Whoever has it counts its keys; the others answer with a redirection to any key of it.
        let has = |master: &&RedisServer| {
            let nodes: String = master.ask(&["CLUSTER", "NODES"]);
            let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
            own.split(' ').skip(8).any(|range| holds(range, slot))
        };
        let owners: Vec<usize> =
            (0..).zip(&self.masters).filter(|(_, master)| has(master)).map(|(nth, _)| nth).collect();
        <[usize; 1]>::try_from(owners).ok().map(|[owner]| owner)
    }

    /// Moves a slot with its keys to another master, in the steps that `redis-cli --cluster reshard` takes.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot).expect("the slot has an owner");
        if from == to {
            return;
        }
        let (source, target) = (&self.masters[from], &self.masters[to]);
        let id = |server: &RedisServer| server.ask::<String>(&["CLUSTER", "MYID"]);
        let (slot, port, source_id, target_id) = (slot.to_string(), target.port().to_string(), id(source), id(target));
        target.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]);
        source.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]);
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
            server.ask::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]);
        }
    }
}

/// Whether a word of `CLUSTER NODES` names this slot: `5`, `0-5460`; what is on its way (`[5->-...]`) is left out.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { return false };
    (first..=last).contains(&slot)
}
