//! Sentinels say which server is the master now; each connection asks them anew.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use redis::{RedisConnectionInfo, Value};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::{
    Away,
    connection::Connection,
    door::Door,
    place::{Place, Stream},
    script::Runnable,
    slots,
    tls::Tls,
};
use crate::{bounds::REDIS_CONNECT_DEADLINE, store_address::Server};

/// Of the time that opening a connection may take, half is for asking sentinels, and half for the server they name: one
/// that is gone, and does not even say so, must leave time to find the next one within the second.
const PATIENCE: Duration = REDIS_CONNECT_DEADLINE.checked_div(2).expect("two is not zero");

/// Those who know the master.
#[derive(Debug)]
pub(super) struct Sentinels {
    places: Box<[Place]>,
    /// What they call it.
    master: Box<str>,
    /// Which of them led to it last: it is asked first, so that others who are gone cost nothing.
    first: AtomicUsize,
    /// Where that was.
    found: Mutex<Option<Place>>,
    /// A connection was opened elsewhere than the one before: others may still lead there.
    moved: AtomicBool,
}

impl Sentinels {
    pub fn new(servers: Vec<Server>, master: Box<str>) -> Self {
        Self {
            places: servers.into_iter().map(Place::Tcp).collect(),
            master,
            first: AtomicUsize::new(0),
            found: Mutex::default(),
            moved: AtomicBool::new(false),
        }
    }

    /// Opens a connection to the master.
    ///
    /// A sentinel that was cut off from the others goes on naming a server that has become a replica: so the server is
    /// asked as well, and the next sentinel after it.
    ///
    /// # Errors
    ///
    /// What is wrong with the server that was named, or that none was.
    pub async fn open_master(&self, door: &Door, scripts: &[&Runnable]) -> Result<Connection, Away> {
        let patience = PATIENCE / u32::try_from(self.places.len()).unwrap_or(u32::MAX).max(1);
        let first = self.first.load(Relaxed);
        let mut tried = SmallVec::<[Place; 2]>::new();
        let (mut unnamed, mut unfit) = (None, None);
        for nth in (first..self.places.len()).chain(0..first) {
            let sentinel = &self.places[nth];
            let place = match self.ask(sentinel, door.tls(), patience).await {
                Ok(Some(place)) if tried.contains(&place) => continue,
                Ok(Some(place)) => place,
                Ok(None) => {
                    unnamed = Some(format!("sentinel {sentinel} knows none of the name `{}`", self.master));
                    continue;
                }
                Err(why) => {
                    unnamed = Some(format!("sentinel {sentinel}: {why}"));
                    continue;
                }
            };
            match timeout(PATIENCE, open_if_master(door, &place, scripts)).await.unwrap_or(Err(Away::Late)) {
                Ok(connection) => {
                    self.first.store(nth, Relaxed);
                    let before = self.found.lock().replace(place.clone());
                    if before.is_some_and(|before| before != place) {
                        self.moved.store(true, Relaxed);
                    }
                    return Ok(connection);
                }
                Err(why) => unfit = Some(why),
            }
            tried.push(place);
        }
        // What a master says is for people to mend; that some sentinel is gone may be an old story.
        Err(unfit.unwrap_or_else(|| Away::NoMaster(unnamed.unwrap_or_default().into())))
    }

    /// Whether there is a master elsewhere than where connections may lead: one that was given up, and lives, is not told so
    /// by its sentinels for some ten seconds, and goes on counting. Believed is the first sentinel that answers.
    pub async fn name_another(&self, door: &Door) -> bool {
        if self.moved.swap(false, Relaxed) {
            return true;
        }
        let Some(found) = self.found.lock().clone() else { return false };
        let patience = PATIENCE / u32::try_from(self.places.len()).unwrap_or(u32::MAX).max(1);
        let first = self.first.load(Relaxed);
        for nth in (first..self.places.len()).chain(0..first) {
            if let Ok(named) = self.ask(&self.places[nth], door.tls(), patience).await {
                let Some(place) = named.filter(|place| *place != found) else { return false };
                return matches!(timeout(PATIENCE, open_if_master(door, &place, &[])).await, Ok(Ok(_)));
            }
        }
        false
    }

    /// Asks one of them, and waits so long; None if it knows of no such master.
    async fn ask(&self, sentinel: &Place, tls: Option<&Tls>, patience: Duration) -> Result<Option<Place>, Away> {
        // A second address must be left time.
        let answer = async { self.ask_on(sentinel.connect(tls, patience / 3).await?).await };
        timeout(patience, answer).await.unwrap_or(Err(Away::Late))
    }

    /// The user and the password of the store are none of its business.
    async fn ask_on(&self, stream: Box<dyn Stream>) -> Result<Option<Place>, Away> {
        let nobody = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut connection = Connection::begin(stream, &nobody).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.master);
        let answer = connection.ask(&question).await?;
        let named: Option<(String, String)> = redis::from_redis_value(answer).map_err(|_| Away::Garbled)?;
        let Some((host, port)) = named else { return Ok(None) };
        // Not by `redis`, to which 99999 is the port 34463.
        let port = port.parse().map_err(|_| Away::Garbled)?;
        let server = slots::server(&host, port, "").filter(|server| !server.host.is_empty());
        Ok(Some(Place::Tcp(server.ok_or(Away::Garbled)?)))
    }
}

async fn open_if_master(door: &Door, place: &Place, scripts: &[&Runnable]) -> Result<Connection, Away> {
    let mut connection = door.open_at(place, scripts).await?;
    match connection.ask(&redis::cmd("ROLE")).await? {
        Value::Array(role) if role.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(connection),
        _ => Err(Away::NoMaster(format!("{place} was named, and is a replica").into())),
    }
}
