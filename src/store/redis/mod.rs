//! Counters in Redis, shared by all replicas.
//!
//! | step | file |
//! |---|---|
//! | what a request asks, as the script reads it | `ask` |
//! | the script: decides and charges in one atomic step | `charge.lua`, sent by `script` |
//! | which keys it meets | `key` |
//! | the connection of each core | `link`, opened by `door` |
//! | what the script saw | `reply` |
//!
//! The script leaves the counters as [`settle`] would, and returns what they held before; `settle` then runs here over the
//! same counters and the same time, and tells what became of each charge. So there is one place that words verdicts.

mod ask;
mod away;
pub mod door;
mod key;
mod link;
mod reply;
mod script;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

pub(super) use ask::Seats;
pub use away::Away;
use door::Door;
use link::{Link, Open};
use redis::{Cmd, Value};
use reply::Seen;
use script::{Call, How, Runnable};
use smallvec::SmallVec;

use super::{Asking, memory::Emptied};
use crate::{
    bounds::{REDIS_CONNECT_DEADLINE, REDIS_COUNTERS_PER_REQUEST_MAX},
    charge::{Charges, CounterKey, Gate, Verdicts, gate_is_closed, settle},
    limit::Counter,
    units::Timestamp,
};

/// Counters in a Redis server.
#[derive(Debug)]
pub struct Redis {
    door: Arc<Door>,
    scripts: Arc<Scripts>,
    /// One a core, and the last for everybody else.
    links: Box<[Arc<Link>]>,
    deadline: Duration,
    time: Time,
    /// By how many nanoseconds the server's clock is ahead of ours.
    ahead_ns: AtomicI64,
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

#[derive(Debug)]
struct Scripts {
    charge: Runnable,
    reset: Runnable,
}

impl Redis {
    /// A store behind `door`, for so many cores; nothing is opened yet.
    pub fn new(door: Door, cores: usize, deadline: Duration, time: Time) -> Self {
        Self {
            door: Arc::new(door),
            scripts: Arc::new(Scripts { charge: Runnable::charge(), reset: Runnable::reset() }),
            links: (0..=cores).map(|_| Arc::default()).collect(),
            deadline,
            time,
            ahead_ns: AtomicI64::new(0),
        }
    }

    /// Decides all charges of one request in one atomic step.
    ///
    /// # Errors
    ///
    /// Why the server did not decide. It may have charged all the same: what is lost is only the answer.
    pub async fn charge(&self, asking: &Asking<'_, '_>) -> Result<Decided, Away> {
        self.charge_seated(asking, &Seats::of(asking.charges)).await
    }

    /// The same for charges whose `seats` are known.
    pub(super) async fn charge_seated(&self, asking: &Asking<'_, '_>, seats: &Seats) -> Result<Decided, Away> {
        let Asking { charges, now, domain, .. } = *asking;
        if seats.keys.is_empty() {
            return Ok(Decided { verdicts: settle(charges, &[], &mut [], now), before: SmallVec::new(), at: now });
        }
        if seats.keys.len() > REDIS_COUNTERS_PER_REQUEST_MAX {
            return Err(Away::TooMany);
        }
        let mut ask = Vec::with_capacity(16 + 40 * charges.list.len());
        ask::write(charges, seats, self.server_time(now), &mut ask);
        let call = Call { script: &self.scripts.charge, domain, seats, now, ask: &ask };
        let seen = self.run(asking.core, asking.within, call).await?;
        self.set_ahead(seen.now, now);
        let before = seen.counters(charges, &seats.of);
        let verdicts = settle(charges, &seats.of, &mut before.clone(), seen.now);
        Ok(Decided { verdicts, before, at: seen.now })
    }

    /// Sees whether the server lets us in and can be written to, on a connection that serves nothing else.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn greet(&self) -> Result<(), Away> {
        let mut command = redis::cmd("SET");
        command.arg("tallygate:{}:greeting").arg("").arg("PX").arg(1_000);
        self.ask_apart(&self.scripts.all(), &command, self.deadline).await.map(drop)
    }

    /// What the server does when it is full (`maxmemory-policy`), unless it forgets nothing then; None also where it does
    /// not say.
    pub async fn forgets(&self) -> Option<String> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let told = self.ask_apart(&[], &command, REDIS_CONNECT_DEADLINE).await.ok()?;
        let told: String = redis::from_redis_value(told).ok()?;
        let policy = told.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?.trim();
        (policy != "noeviction").then(|| policy.to_owned())
    }

    /// Sends `command` on a connection of its own, and waits for the answer no longer than `deadline`.
    async fn ask_apart(&self, scripts: &[&Runnable], command: &Cmd, deadline: Duration) -> Result<Value, Away> {
        let mut connection = self.door.open(scripts).await?;
        let answer = tokio::time::timeout(deadline, connection.send_packed_command(command));
        let answer = answer.await.map_err(|_| Away::Late)?;
        answer.and_then(Value::extract_error).map_err(|error| Away::of(&error))
    }

    /// Gives all connections up: whoever asks next opens another.
    pub fn hang_up(&self) {
        for link in &self.links {
            link.close();
        }
    }

    /// Empties every counter that `charges` meet, and lifts every block that stands in their way, whatever they ask.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it was done.
    pub async fn reset(&self, now: Timestamp, domain: &str, charges: &Charges<'_>) -> Result<Emptied, Away> {
        let seats = Seats::of(charges);
        if seats.keys.is_empty() {
            return Ok(Emptied::default());
        }
        let call = Call { script: &self.scripts.reset, domain, seats: &seats, now, ask: &[] };
        let seen = self.run(None, None, call).await?;
        let counters = seen.counters(charges, &seats.of);
        let (of_charges, of_gates) = seats.of.split_at(charges.list.len());
        let mut emptied = Emptied::default();
        let mut told = vec![false; counters.len()];
        for (charge, &seat) in charges.list.iter().zip(of_charges) {
            let counter = charge.limit.at(counters[seat as usize], seen.now);
            let held = charge.limit.standing(counter, seen.now).used > 0;
            emptied.counters += u32::from(held && !std::mem::replace(&mut told[seat as usize], true));
        }
        for &seat in of_gates {
            let stood = gate_is_closed(counters[seat as usize], seen.now);
            emptied.blocks += u32::from(stood && !std::mem::replace(&mut told[seat as usize], true));
        }
        Ok(emptied)
    }

    /// Lifts a block; whether there was one.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether it was done.
    pub async fn lift(&self, now: Timestamp, domain: &str, key: CounterKey) -> Result<bool, Away> {
        let gate = Gate { key, descriptor: 0, starts: None, ordered_until: Timestamp::EPOCH };
        let charges = Charges { gates: [gate].into_iter().collect(), ..Charges::default() };
        Ok(self.reset(now, domain, &charges).await?.blocks > 0)
    }

    /// What the server's clock shows when ours shows `now`, as far as is known.
    fn server_time(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.ahead_ns.load(Relaxed)))
    }

    fn set_ahead(&self, theirs: Timestamp, ours: Timestamp) {
        self.ahead_ns.store(theirs.0.cast_signed().saturating_sub(ours.0.cast_signed()), Relaxed);
    }

    async fn run(&self, core: Option<usize>, within: Option<Duration>, call: Call<'_>) -> Result<Seen, Away> {
        let deadline = within.map_or(self.deadline, |within| within.min(self.deadline));
        let link = &self.links[core.map_or(self.links.len() - 1, |core| core % (self.links.len() - 1).max(1))];
        let answer = tokio::time::timeout(deadline, async {
            let mut open = link.open(&self.door, &self.scripts).await?;
            match send(link, &mut open, call.command(How::Hash, self.time)).await {
                // Nothing ran, so it may be sent again.
                Err(Away::NoScript) => send(link, &mut open, call.command(How::Text, self.time)).await,
                answer => answer,
            }
        });
        let answer = answer.await.unwrap_or(Err(Away::Late))?;
        Seen::read(answer, call.seats.keys.len()).ok_or(Away::Garbled)
    }
}

async fn send(link: &Link, open: &mut Open, command: Cmd) -> Result<Value, Away> {
    let answer = open.connection.send_packed_command(&command).await;
    answer.and_then(Value::extract_error).map_err(|error| {
        let away = Away::of(&error);
        if away == Away::Lost {
            link.broke(open);
        }
        away
    })
}

impl Scripts {
    fn all(&self) -> [&Runnable; 2] {
        [&self.charge, &self.reset]
    }
}
