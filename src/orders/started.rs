//! The blocks that refusals started, by name, for people: the store knows them only as hashes.

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::about::About;
use crate::{
    bounds::STARTED_BLOCKS_LISTED_MAX,
    charge::{CounterKey, GateVerdict, Verdicts},
    decision::Plan,
    request::{Ask, Request},
    rules::{find::Found, orders::Reach},
    units::{Nanos, Timestamp},
};

/// One block that a refusal started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub about: About,
    /// The rule that started it.
    pub rule: Box<str>,
    pub until: Timestamp,
}

/// Those that still last, as far as there is room to remember them.
#[derive(Debug, Default)]
pub(super) struct Register(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    by_key: HashMap<CounterKey, Started>,
    /// Started when there was no room, and when the last of them ends.
    unlisted: u64,
    unlisted_until: Timestamp,
    changed: bool,
    /// When what is over was last forgotten.
    swept: Timestamp,
}

/// How often a full list is looked through for room at the most: each look takes the lock for all of it, from cores that
/// decide.
const SWEPT_APART: Nanos = Nanos::SECOND;

impl Register {
    /// Notes the blocks that a refused request started. Takes a lock and allocates, which only they cost.
    pub(super) fn note(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        found: &[Found<'_>],
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) {
        let Ok(domain) = std::str::from_utf8(request.domain) else { return };
        for (index, (descriptor, found)) in request.descriptors.iter().zip(found).enumerate() {
            // Refunds meet no gate.
            if matches!(request.ask_of(descriptor), Ask::GiveBack(_)) {
                continue;
            }
            for (gate, (_, verdict)) in found.gates.iter().zip(plan.gates_of(verdicts, index)) {
                let (GateVerdict::Started(rest), Some(matched)) = (verdict, &found.matched) else { continue };
                let entries = request.entries_of(descriptor);
                let (entries, prefix) = match gate.reach {
                    Reach::Whole => (entries, false),
                    Reach::Beginning(depth) => (&entries[..depth], true),
                };
                let entries = entries.iter().map(|entry| (entry.key.into(), entry.value.into())).collect();
                let about = About { domain: domain.into(), entries, prefix };
                let started = Started { about, rule: matched.rule.name.as_str().into(), until: now.plus(rest) };
                self.add(CounterKey(gate.key), started, now);
            }
        }
    }

    pub(super) fn add(&self, key: CounterKey, started: Started, now: Timestamp) {
        let mut listed = self.0.lock();
        listed.changed = true;
        let is_known = listed.by_key.contains_key(&key);
        let is_full = |listed: &Listed| listed.by_key.len() >= STARTED_BLOCKS_LISTED_MAX && !is_known;
        // Also where the clock was set back.
        if is_full(&listed) && listed.swept.0.abs_diff(now.0) >= SWEPT_APART.0 {
            listed.forget(now);
        }
        if is_full(&listed) {
            listed.unlisted += 1;
            listed.unlisted_until = listed.unlisted_until.max(started.until);
        } else {
            listed.by_key.insert(key, started);
        }
    }

    /// The names in the store of those that `which` tells.
    pub(super) fn names(&self, which: impl Fn(CounterKey, &Started) -> bool) -> Vec<CounterKey> {
        let listed = self.0.lock();
        listed.by_key.iter().filter(|(key, it)| which(**key, it)).map(|(key, _)| *key).collect()
    }

    /// Removes those that `which` tells, and returns their names in the store.
    pub(super) fn remove(&self, which: impl Fn(CounterKey, &Started) -> bool) -> Vec<CounterKey> {
        let mut listed = self.0.lock();
        let gone: Vec<_> = listed.by_key.iter().filter(|(key, it)| which(**key, it)).map(|(key, _)| *key).collect();
        for key in &gone {
            listed.by_key.remove(key);
        }
        listed.changed |= !gone.is_empty();
        gone
    }

    /// Those that last at `now`, the first to end first; and how many more there were at the most.
    pub(super) fn list(&self, now: Timestamp) -> (Vec<(CounterKey, Started)>, u64) {
        let mut listed = self.0.lock();
        listed.forget(now);
        let mut list: Vec<_> = listed.by_key.iter().map(|(key, it)| (*key, it.clone())).collect();
        let unlisted = listed.unlisted;
        // Cores that decide wait for the copy, not for its order.
        drop(listed);
        list.sort_by_key(|(key, it)| (it.until, *key));
        (list, unlisted)
    }

    /// How many of those that last at `now` are listed.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let mut listed = self.0.lock();
        listed.forget(now);
        listed.by_key.len()
    }

    /// Whether anything changed since this was last asked.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.0.lock().changed)
    }
}

impl Listed {
    /// Forgets what is over.
    fn forget(&mut self, now: Timestamp) {
        self.swept = now;
        self.by_key.retain(|_, started| now < started.until);
        if self.unlisted_until <= now {
            self.unlisted = 0;
        }
    }
}
