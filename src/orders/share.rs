//! The same orders on all replicas: what one of them writes, the others learn by the store that they share.
//!
//! An order holds here at once, whether the store answers or not, and elsewhere when the others look: twice a second.
//! What the store has not (it was away when the order came, or has lost its memory) it is told again. After every call
//! that failed, and once a minute, all that there is is compared: nobody has to know what went wrong.

use super::{
    Book, entry,
    standing::{Merged, Order, Told as Known},
};
use crate::{
    bounds::{CLOCK_MOVED, EXCHANGE_ENTRIES_MAX, LOOKS_PER_COMPARISON, SHARED_PAGE_ENTRIES, SHARED_PAGE_MAX_BYTES},
    store::{
        Store,
        guard::Guard,
        redis::{Away, Entry, Exchange, Exchanged, Told as Telling},
    },
    units::Timestamp,
};

/// What was read of the orders that replicas share.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Of which book: the number of its first change.
    first: u64,
    /// The last change that was seen.
    since: u64,
    /// All that stands there was read: what is not among it is not there.
    complete: bool,
    /// Looks since.
    looks: u32,
}

/// What an exchange with the other replicas came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Orders that make no sense, or found no room here; another program may have written them.
    pub strange: usize,
    /// Orders of ours that found no room there.
    pub no_room: u64,
}

impl Book {
    /// Tells the other replicas what they lack, learns what they know, and puts it into force. None: there are none.
    ///
    /// # Errors
    ///
    /// Why nobody knows what they know. The next exchange compares all that there is.
    pub async fn exchange(&self, now: Timestamp, store: &Store) -> Option<Result<Told, Away>> {
        let guard = store.shared()?;
        let mut reading = self.reading.lock().await;
        let result = self.exchange_all(now, guard, &mut reading).await;
        if result.is_err() {
            *reading = Reading::default();
            self.state.lock().orders.grow_old();
        }
        Some(result)
    }

    async fn exchange_all(&self, now: Timestamp, guard: &Guard, reading: &mut Reading) -> Result<Told, Away> {
        reading.looks += 1;
        if reading.looks > LOOKS_PER_COMPARISON {
            *reading = Reading::default();
        }
        if reading.since == 0 {
            self.state.lock().orders.doubt();
        }
        let (mut told, mut moved) = (Told::default(), 0);
        while moved < EXCHANGE_ENTRIES_MAX {
            let asked = self.next_page(reading);
            let exchanged = guard.exchange(&asked).await?;
            let another = reading.since > 0 && exchanged.first != reading.first;
            if another || exchanged.before < reading.since {
                // The book was lost, and others may have begun a new one; or changes of it were lost, and none has come since.
                self.state.lock().orders.doubt();
                reading.complete = false;
            }
            told.no_room += exchanged.no_room;
            told.strange += self.take_in(now, guard, &asked, &exchanged);
            reading.first = exchanged.first;
            // Of another book not all that is in it came with this answer.
            reading.since = if another { 0 } else { exchanged.seen };
            reading.complete |= !(another || exchanged.more);
            if reading.complete && !exchanged.more && !self.has_news() {
                return Ok(told);
            }
            let entries = asked.told.len() + exchanged.entries.len();
            moved += if entries == 0 { SHARED_PAGE_ENTRIES } else { entries };
        }
        // Whatever this store says of its changes cannot be.
        Err(Away::Garbled)
    }

    /// What was written just now; and where all was read, what is not there.
    fn next_page(&self, reading: &Reading) -> Exchange {
        let mut state = self.state.lock();
        let mut asked = Exchange { since: reading.since, over: std::mem::take(&mut state.over), ..Exchange::default() };
        let let_go = state.let_go.len().min(SHARED_PAGE_ENTRIES);
        asked.told.extend(state.let_go.drain(..let_go).map(let_go_of));
        let mut bytes = 0;
        for (name, record) in state.orders.untold(reading.complete).take(SHARED_PAGE_ENTRIES - let_go) {
            let telling = Telling { entry: entry::encode(name, record), new: record.told == Known::New };
            bytes += telling.entry.bytes.len();
            if bytes > SHARED_PAGE_MAX_BYTES && !asked.told.is_empty() {
                break;
            }
            asked.told.push(telling);
        }
        asked
    }

    /// Merges what came back; how many orders of it make no sense.
    fn take_in(&self, now: Timestamp, guard: &Guard, asked: &Exchange, exchanged: &Exchanged) -> usize {
        let mut state = self.state.lock();
        for Telling { entry, .. } in &asked.told {
            state.orders.was_told(entry.name, entry.stamp);
        }
        let mut strange = exchanged.strange;
        for theirs in &exchanged.entries {
            let Some(record) = entry::decode(theirs, now) else {
                strange += 1;
                continue;
            };
            let order = record.order.clone();
            match state.orders.merge(record) {
                Merged::Changed => {
                    state.unsettled = true;
                    // What it lifts is no more to be listed here.
                    if let Order::Reset(reset) = order {
                        self.started.remove(|_, started| reset.about.begins(&started.about));
                    }
                }
                Merged::Unchanged => {}
                Merged::NoRoom => strange += 1,
            }
        }
        let ahead_ns = guard.ahead_ns();
        if state.ahead_ns.abs_diff(ahead_ns) > CLOCK_MOVED.0 {
            state.ahead_ns = ahead_ns;
            state.unsettled = true;
        }
        strange
    }

    fn has_news(&self) -> bool {
        let state = self.state.lock();
        !state.let_go.is_empty() || state.orders.untold(true).next().is_some()
    }

    /// Writes down what came from other replicas, and puts it into force. Blocks while the disk is written.
    pub fn settle(&self, now: Timestamp, store: &Store) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.unsettled) {
            self.changed(&mut state, now);
            if let Some(guard) = store.shared() {
                guard.forget_refusals();
            }
        }
    }

    /// Before something is written: learns what stands. Whether there is anybody to be told of it, and whether they can be.
    pub(super) async fn listen(&self, now: Timestamp, store: &Store) -> Option<bool> {
        let heard = self.exchange(now, store).await?.is_ok();
        self.settle(now, store);
        Some(heard)
    }

    /// Tells the others what was written, unless [`listen`](Self::listen) has found that they cannot be; whether all know.
    pub(super) async fn tell(&self, now: Timestamp, store: &Store, everybody: Option<bool>) -> Option<bool> {
        if !everybody? {
            self.state.lock().orders.grow_old();
            return Some(false);
        }
        let told = self.exchange(now, store).await?;
        self.settle(now, store);
        Some(told.is_ok_and(|told| told.no_room == 0))
    }
}

/// That a deletion need not be kept to its end: the script removes what has no end. Otherwise those that all replicas
/// have forgotten would fill the book for as long as the orders that they took back would have held.
fn let_go_of((name, stamp): (u128, u64)) -> Telling {
    Telling { entry: Entry { name, stamp, until: Timestamp::EPOCH, bytes: Box::default() }, new: false }
}
