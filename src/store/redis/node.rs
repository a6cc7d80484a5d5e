//! One server: the connections of all cores to it, and whether calls are made to it.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Duration,
};

use redis::{Cmd, Value};
use tokio::time::timeout;

use super::{
    Away, Scripts,
    connection::Connection,
    door::Door,
    link::{Link, Open},
    script::How,
    server_clock::ServerClock,
};
use crate::{
    bounds::REDIS_CONNECT_DEADLINE,
    store::breaker::{Admitted, Breaker},
    store_address::Server,
    units::{Nanos, Timestamp},
};

/// A server that counts: the only one, or one of a cluster.
#[derive(Debug)]
pub struct Node {
    /// What the log calls it.
    name: Box<str>,
    way: Arc<Way>,
    /// One a core, and the last for everybody else.
    links: Box<[Arc<Link>]>,
    breaker: Breaker,
    clock: ServerClock,
    /// Whether its settings were looked at.
    inspected: AtomicBool,
    probed: AtomicBool,
}

/// The way to a server.
#[derive(Debug)]
pub(super) struct Way {
    pub door: Arc<Door>,
    pub scripts: Arc<Scripts>,
    /// None: to whom the door leads.
    pub server: Option<Server>,
}

impl Way {
    /// Opens a connection, on the runtime that this is called on.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn open(&self) -> Result<Connection, Away> {
        match &self.server {
            Some(server) => self.door.open_to(server, &self.scripts.all()).await,
            None => self.door.open(&self.scripts.all()).await,
        }
    }
}

impl Node {
    /// Nothing is opened yet.
    pub(super) fn new(name: Box<str>, way: Way, cores: usize) -> Self {
        Self {
            name,
            way: Arc::new(way),
            links: (0..=cores).map(|_| Arc::default()).collect(),
            breaker: Breaker::default(),
            clock: ServerClock::new(),
            inspected: AtomicBool::new(false),
            probed: AtomicBool::new(false),
        }
    }

    /// What the log calls it. Neither user nor password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is said to listen; None: where the door leads.
    pub(super) fn server(&self) -> Option<&Server> {
        self.way.server.as_ref()
    }

    /// Whether no calls are made to it until a probe succeeds.
    pub fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// A probe of it succeeded at `now`, or nobody needs it any more: how long it was away, where it was.
    pub fn is_back(&self, now: Timestamp) -> Option<Nanos> {
        self.breaker.probe_succeeded(now)
    }

    /// Whether it is in use for the first time, which is said once.
    pub fn is_new(&self) -> bool {
        !self.inspected.swap(true, Relaxed)
    }

    /// The turn of a probe, unless another has it.
    pub fn probe(self: &Arc<Self>) -> Option<Probe> {
        (!self.probed.swap(true, AcqRel)).then(|| Probe(Arc::clone(self)))
    }

    /// Gives up the connection that is no core's.
    pub(super) fn hang_up_alone(&self) {
        self.link(None).close();
    }

    /// Gives all connections up: whoever asks next opens another.
    pub fn hang_up(&self) {
        for link in &self.links {
            link.close();
        }
        self.clock.forget();
    }

    /// Gives all connections up where they lead to one who is the master no more; those too that are being opened.
    pub(super) async fn follow_master(&self) {
        if !self.is_away() && self.way.door.has_moved().await {
            for link in &self.links {
                link.leave();
            }
            self.clock.forget();
        }
    }

    /// What its clock shows.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Runs a script, on the connection of `core`. `asking`: for keys that are on their way here.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it ran; where another server was named, it did not.
    pub(super) async fn run(
        &self,
        command: &impl Fn(How, &Self) -> Cmd,
        core: Option<usize>,
        asking: bool,
    ) -> Result<Value, Away> {
        let link = self.link(core);
        let mut open = link.open(&self.way).await?;
        match self.send(link, &mut open, command(How::Hash, self), asking).await {
            // Nothing ran, so it may be sent again.
            Err(Away::NoScript) => self.send(link, &mut open, command(How::Text, self), asking).await,
            answer => answer,
        }
    }

    /// Sends `command`, on the connection that is no core's.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn ask(&self, command: Cmd) -> Result<Value, Away> {
        let link = self.link(None);
        let answer = async {
            let mut open = link.open(&self.way).await?;
            self.send(link, &mut open, command, false).await
        };
        timeout(REDIS_CONNECT_DEADLINE, answer).await.unwrap_or_else(|_| {
            // It may be dead, and no call of a core would find out.
            self.hang_up_alone();
            Err(Away::Late)
        })
    }

    /// Sends `command` on a connection that serves nothing else, and waits for the answer no longer than `deadline`.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn ask_apart(&self, command: &Cmd, deadline: Duration) -> Result<Value, Away> {
        let mut connection = self.way.open().await?;
        timeout(deadline, connection.ask(command)).await.unwrap_or(Err(Away::Late))
    }

    async fn send(&self, link: &Link, open: &mut Open, command: Cmd, asking: bool) -> Result<Value, Away> {
        let answer =
            if asking { open.connection.ask_ahead(&command).await } else { open.connection.ask(&command).await };
        if answer.as_ref().is_err_and(Away::ends_connection) {
            link.broke(open);
            self.clock.forget();
        }
        answer
    }

    fn link(&self, core: Option<usize>) -> &Arc<Link> {
        &self.links[core.map_or(self.links.len() - 1, |core| core % (self.links.len() - 1).max(1))]
    }
}

/// The turn to probe a server, given back when dropped.
#[derive(Debug)]
pub struct Probe(Arc<Node>);

impl Probe {
    pub fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probed.store(false, Relaxed);
    }
}

/// Where a call stands: at a server that lets calls be made, or at one whose breaker nobody looks at.
#[derive(Clone, Debug)]
pub struct Hop {
    node: Arc<Node>,
    admitted: Option<Admitted>,
}

impl Hop {
    /// A call at `node`, if it is there.
    ///
    /// # Errors
    ///
    /// It is away, as is known.
    pub(super) fn to(node: Arc<Node>) -> Result<Self, Away> {
        let admitted = node.breaker.admits().ok_or(Away::HeldBack)?;
        Ok(Self { node, admitted: Some(admitted) })
    }

    /// The same, whether it is there or not; what becomes of it is told nobody.
    pub(super) fn anyway(node: Arc<Node>) -> Self {
        Self { node, admitted: None }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The server where it stood has answered, and sent it on to `node`.
    ///
    /// # Errors
    ///
    /// That one is away, as is known.
    pub(super) fn move_on(&mut self, node: Arc<Node>) -> Result<(), Away> {
        self.succeeded();
        *self = if self.admitted.is_some() { Self::to(node)? } else { Self::anyway(node) };
        Ok(())
    }

    pub(super) fn succeeded(&self) {
        if let Some(admitted) = self.admitted {
            self.node.breaker.succeeded(admitted);
        }
    }

    /// The call failed at `now` because of `why`; whether that is how the server was found to be away.
    pub fn failed(&self, why: &Away, now: Timestamp) -> bool {
        let breaker = &self.node.breaker;
        self.admitted.is_some_and(|admitted| match why {
            Away::Hurried => breaker.failed_in_a_hurry(admitted, now),
            _ => breaker.failed(admitted, now),
        })
    }
}
