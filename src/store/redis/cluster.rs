//! Several servers that share the keys among them: which of them has which, as they say themselves.
//!
//! The map is asked for by `learn` alone, which a task of its own calls: at the start, when a server has sent a call on or
//! is away, and now and then. Calls go by the map as it is known, and are sent on where it is old; only before the first
//! answer they wait for it.
//!
//! A slot that no server is known to have is `nobody`'s, who is a server like others to those who ask which ones are away.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Away, Scripts,
    away::Elsewhere,
    door::Door,
    node::{Node, Way},
    slots::{SLOTS, Slot, SlotMap, server},
};
use crate::{bounds::REDIS_STRANGERS_MAX, store_address::Server};

/// A cluster, as far as it is known.
#[derive(Debug)]
pub(super) struct Cluster {
    door: Arc<Door>,
    scripts: Arc<Scripts>,
    cores: usize,
    /// Those that the settings name. They may be replicas, or gone.
    seeds: Box<[Server]>,
    map: ArcSwap<Map>,
    nobody: Arc<Node>,
    /// Servers that calls were sent on to and that are not in the map, and whether they were named since it was learnt.
    strangers: Mutex<Vec<(Arc<Node>, bool)>>,
    /// Whom to ask first next time: not always the same.
    turn: AtomicUsize,
    wanted: Notify,
    /// The map was asked for.
    asked: Notify,
}

#[derive(Debug)]
struct Map {
    slots: SlotMap,
    /// In the order of the masters of `slots`.
    masters: Vec<Arc<Node>>,
    /// Why there are slots that nobody has; None: nobody was asked yet.
    missing: Option<Away>,
}

impl Cluster {
    /// Nobody is asked yet. The log calls it `name`.
    pub fn new(name: Box<str>, door: Arc<Door>, scripts: Arc<Scripts>, cores: usize) -> Self {
        let way = Way { door: Arc::clone(&door), scripts: Arc::clone(&scripts), server: None };
        Self {
            seeds: door.seeds().into(),
            nobody: Arc::new(Node::new(name, way, 0)),
            map: ArcSwap::from_pointee(Map { slots: SlotMap::unknown(), masters: Vec::new(), missing: None }),
            strangers: Mutex::default(),
            turn: AtomicUsize::new(0),
            wanted: Notify::new(),
            asked: Notify::new(),
            door,
            scripts,
            cores,
        }
    }

    /// Who has the keys of a slot, by the map.
    pub fn node_of(&self, slot: Slot) -> Arc<Node> {
        let map = self.map.load();
        let place = map.slots.master_of(slot);
        Arc::clone(place.and_then(|place| map.masters.get(place)).unwrap_or(&self.nobody))
    }

    /// The same, where it was nobody: waits until the map was asked for, and looks again.
    ///
    /// # Errors
    ///
    /// Why nobody has them.
    pub async fn somebody(&self, slot: Slot) -> Result<Arc<Node>, Away> {
        let asked = self.asked.notified();
        let missing = self.map.load().missing.clone();
        if missing.is_none() {
            asked.await;
        }
        let node = self.node_of(slot);
        if self.is_nobody(&node) { Err(self.missing()) } else { Ok(node) }
    }

    pub fn is_nobody(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(node, &self.nobody)
    }

    /// Why there are slots that nobody has.
    fn missing(&self) -> Away {
        self.map.load().missing.clone().unwrap_or(Away::Late)
    }

    /// The server that `node` has sent a call on to.
    ///
    /// # Errors
    ///
    /// There is no such server, or there were too many.
    pub fn sent_on(&self, node: &Node, to: &Elsewhere) -> Result<Arc<Node>, Away> {
        let asked = node.server().map_or("", |server| &server.host);
        let server = server(&to.host, to.port, asked).ok_or(Away::Garbled)?;
        if let Some(known) = self.map.load().masters.iter().find(|node| node.server() == Some(&server)) {
            return Ok(Arc::clone(known));
        }
        let mut strangers = self.strangers.lock();
        if let Some((stranger, named)) = strangers.iter_mut().find(|(node, _)| node.server() == Some(&server)) {
            *named = true;
            return Ok(Arc::clone(stranger));
        }
        if strangers.len() >= REDIS_STRANGERS_MAX {
            return Err(Away::Garbled);
        }
        let stranger = self.open(&server);
        strangers.push((Arc::clone(&stranger), true));
        Ok(stranger)
    }

    /// Whether every slot is somebody's.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn has_no_holes(&self) -> Result<(), Away> {
        if self.map.load().slots.has_holes() { Err(self.missing()) } else { Ok(()) }
    }

    /// What stands in the braces of a key that is this server's, another one each time; None where no key is.
    pub fn tag_of(&self, node: &Arc<Node>) -> Option<String> {
        let map = self.map.load();
        let place = map.masters.iter().position(|master| Arc::ptr_eq(master, node))?;
        let first = self.turn.fetch_add(1, Relaxed);
        // Of so many, one in a single slot is missed once in a million times.
        let tags = (0..14 * usize::from(SLOTS)).map(|nth| first.wrapping_add(nth).to_string());
        tags.into_iter().find(|tag| map.slots.master_of(Slot::of(tag.as_bytes())) == Some(place))
    }

    /// Every server that calls may be made to.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let strangers: Vec<_> = self.strangers.lock().iter().map(|(node, _)| Arc::clone(node)).collect();
        let map = self.map.load();
        [&self.nobody].into_iter().chain(&map.masters).chain(&strangers).map(Arc::clone).collect()
    }

    /// The map may be old.
    pub fn want_map(&self) {
        self.wanted.notify_one();
    }

    /// Waits until the map may be old.
    pub async fn map_is_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Asks for the map: the masters that are known, those that are away last, then the seeds. To be called by one task
    /// alone. Returns the servers that have no more part in it.
    pub async fn learn(&self) -> Vec<Arc<Node>> {
        let known = self.map.load_full();
        let gone = match self.ask(&known).await {
            Ok(slots) => self.go_by(slots, &known),
            Err(why) => {
                if known.masters.is_empty() {
                    let (slots, masters) = (SlotMap::unknown(), Vec::new());
                    self.map.store(Arc::new(Map { slots, masters, missing: Some(why) }));
                }
                Vec::new()
            }
        };
        self.asked.notify_waiters();
        gone
    }

    async fn ask(&self, known: &Map) -> Result<SlotMap, Away> {
        let mut masters = known.masters.clone();
        let turn = self.turn.fetch_add(1, Relaxed).checked_rem(masters.len());
        masters.rotate_left(turn.unwrap_or(0));
        masters.sort_by_key(|node| node.is_away());
        let is_unknown = |seed: &&Server| !masters.iter().any(|node| node.server() == Some(seed));
        let seeds: Vec<_> = self.seeds.iter().filter(is_unknown).map(|seed| self.open(seed)).collect();
        let mut why = Away::Lost;
        for node in masters.iter().chain(&seeds) {
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            let host = node.server().map_or("", |server| &server.host);
            match node.ask(command).await.and_then(|told| SlotMap::read(&told, host).ok_or(Away::Garbled)) {
                Ok(slots) => return Ok(slots),
                Err(away) => why = away,
            }
        }
        Err(why)
    }

    /// Replaces the map. Servers that stay keep their connections.
    fn go_by(&self, slots: SlotMap, known: &Map) -> Vec<Arc<Node>> {
        let mut strangers = self.strangers.lock();
        let met = || known.masters.iter().chain(strangers.iter().map(|(node, _)| node));
        let find = |server: &Server| met().find(|node| node.server() == Some(server)).map(Arc::clone);
        let masters: Vec<_> =
            slots.masters().iter().map(|server| find(server).unwrap_or_else(|| self.open(server))).collect();
        let is_master = |node: &Arc<Node>| masters.iter().any(|master| Arc::ptr_eq(master, node));
        // A stranger that takes a slot over may be named again and again, but has none until then.
        let stays = |(node, named): &(Arc<Node>, bool)| *named && !is_master(node);
        let gone = known.masters.iter().filter(|node| !is_master(node));
        let forgotten = strangers.iter().filter(|stranger| !stays(stranger) && !is_master(&stranger.0));
        let gone = gone.chain(forgotten.map(|(node, _)| node)).map(Arc::clone).collect();
        strangers.retain(|stranger| stays(stranger));
        strangers.iter_mut().for_each(|(_, named)| *named = false);
        let missing = Some(Away::Unable("CLUSTERDOWN".into()));
        self.map.store(Arc::new(Map { slots, masters, missing }));
        gone
    }

    fn open(&self, server: &Server) -> Arc<Node> {
        let (door, scripts) = (Arc::clone(&self.door), Arc::clone(&self.scripts));
        let way = Way { door, scripts, server: Some(server.clone()) };
        Arc::new(Node::new(server.to_string().into(), way, self.cores))
    }
}
