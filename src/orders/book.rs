//! The orders, and what changes them. Every change is written down before it is confirmed, and in force when it is.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use parking_lot::Mutex;

use super::{
    About, Refusal, Started, force,
    kept::{self, Unreadable},
    started::Register,
};
use crate::{
    bounds::ORDERS_MAX,
    charge::{CounterKey, GateVerdict, Verdicts},
    config::override_limits,
    decision::Plan,
    live::{Generation, Live, RuleSet},
    request::Request,
    rules::{Action, Counted, Domain, find::Found, identity::HashKey},
    store::{Store, memory::snapshot::Directory},
    units::Timestamp,
};

/// The orders that stand.
#[derive(Debug, Default)]
pub struct Standing {
    pub overrides: Vec<OverrideOrder>,
    pub blocks: Vec<BlockOrder>,
    pub resets: Vec<ResetOrder>,
}

/// Other limits, for a while.
#[derive(Clone, Debug)]
pub struct OverrideOrder {
    pub about: About,
    /// `{"limits": [...]}`, as it was given and checked.
    pub limits: Box<str>,
    pub until: Timestamp,
}

/// Refused, for a while.
#[derive(Clone, Debug)]
pub struct BlockOrder {
    pub about: About,
    pub until: Timestamp,
}

/// A beginning that is counted from nothing again.
#[derive(Clone, Debug)]
pub struct ResetOrder {
    pub about: About,
    pub mark: u128,
    pub last_met_secs: Arc<AtomicU64>,
}

/// Keeps the orders, and puts them into force together with the rules.
#[derive(Debug)]
pub struct Book {
    pub(super) live: Arc<Live>,
    pub(super) hash_key: HashKey,
    pub(super) state: Mutex<State>,
    /// Beside the state: cores that decide write to it, and never wait for a disk.
    pub(super) started: Register,
    /// Where orders are kept; None: a restart forgets them.
    directory: Option<Directory>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub orders: Standing,
    /// The rules in force; None until some were loaded.
    set: Option<Arc<RuleSet>>,
    /// Generations that requests may still be decided by: dropped here, not on a core that serves.
    retired: Vec<Arc<Generation>>,
}

/// What became of an order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// A restart will know of it. False: there is no state directory, or it cannot be written.
    pub kept: bool,
}

impl Book {
    /// A book with what `directory` kept of an earlier one.
    pub fn open(live: Arc<Live>, hash_key: HashKey, directory: Option<Directory>, now: Timestamp) -> Self {
        let mut book = Self { live, hash_key, state: Mutex::default(), started: Register::default(), directory: None };
        let Some(directory) = directory else { return book };
        match kept::load(&directory, now) {
            Ok(found) => {
                for (key, started) in found.started {
                    book.started.add(key, started, now);
                }
                book.state.get_mut().orders = found.orders;
            }
            Err(error @ Unreadable::Damaged(_)) => tracing::error!(%error, "starting without orders"),
            Err(error) => {
                // What cannot be read must not be written over.
                tracing::error!(%error, "starting without orders; none are kept over a restart");
                return book;
            }
        }
        book.directory = Some(directory);
        book
    }

    /// Makes `set` the rules in force, under the orders that stand.
    pub fn go_live(&self, set: Arc<RuleSet>) {
        let mut state = self.state.lock();
        state.set = Some(set);
        self.put_into_force(&mut state);
    }

    /// Notes the blocks that a refused request started, for people to list.
    pub fn note_started(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        found: &[Found<'_>],
        plan: &Plan<'_>,
        verdicts: &Verdicts,
    ) {
        if verdicts.gates.iter().any(|gate| matches!(gate, GateVerdict::Started(_))) {
            self.started.note(now, request, found, plan, verdicts);
        }
    }

    /// Puts other limits in the place of those of whatever rule matches; replaces an earlier override of the same.
    ///
    /// `limits` is `{"limits": [...]}`. Blocks while the disk is written.
    ///
    /// # Errors
    ///
    /// Nothing matches, the counter is shared and that was not said, or the limits are wrong.
    pub fn put_override(
        &self,
        now: Timestamp,
        about: About,
        limits: &str,
        until: Timestamp,
        shared: bool,
    ) -> Result<Done, Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let domain = domain_of(&set, &about)?;
        limited(domain, &about, shared)?;
        let compiled = override_limits(limits).map_err(Refusal::Limits)?;
        compiled.suit(&set.rules, domain).map_err(|unsuited| Refusal::Limits(unsuited.to_string()))?;
        let same = self.same_as(domain, &about);
        let overrides = &mut state.orders.overrides;
        overrides.retain(|order| now < order.until);
        let place = overrides.iter().position(|order| same(&order.about));
        put(overrides, place, OverrideOrder { about, limits: limits.into(), until })?;
        Ok(self.changed(&mut state, now))
    }

    /// Refuses whatever `about` means, until then; replaces an earlier order to block the same.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub fn put_block(&self, now: Timestamp, about: About, until: Timestamp) -> Result<Done, Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let same = self.same_as(domain_of(&set, &about)?, &about);
        let blocks = &mut state.orders.blocks;
        blocks.retain(|order| now < order.until);
        let place = blocks.iter().position(|order| same(&order.about));
        put(blocks, place, BlockOrder { about, until })?;
        Ok(self.changed(&mut state, now))
    }

    /// Takes an override back; how many there were.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub fn delete_override(&self, now: Timestamp, about: &About) -> Result<(u32, Done), Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let same = self.same_as(domain_of(&set, about)?, about);
        let gone = remove(&mut state.orders.overrides, |order| same(&order.about));
        Ok((gone, self.changed_if(gone > 0, &mut state, now)))
    }

    /// Lifts what blocks exactly `about`, ordered or started by a refusal; how many blocks there were.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub async fn lift(&self, now: Timestamp, store: &Store, about: &About) -> Result<(u32, Done), Refusal> {
        let (mut lifted, mut keys, done) = {
            let mut state = self.state.lock();
            let set = state.rules()?;
            let domain = domain_of(&set, about)?;
            let lifted = {
                let same = self.same_as(domain, about);
                remove(&mut state.orders.blocks, |order| same(&order.about))
            };
            let done = self.changed_if(lifted > 0, &mut state, now);
            let generation = self.live.snapshot();
            let orders = generation.as_ref().and_then(|generation| generation.orders_of(about.domain.as_bytes()));
            let found = domain.find_under(orders, now, &about.entries(), None, &self.hash_key);
            let own = found.gates.iter().filter(|gate| gate.reach == about.reach());
            (lifted, own.map(|gate| CounterKey(gate.key)).collect::<Vec<_>>(), done)
        };
        // A rule that has gone since started its blocks under names that only the register knows.
        keys.extend(self.started.remove(|key, started| keys.contains(&key) || started.about == *about));
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            lifted += u32::from(store.lift(now, &about.domain, key).await.map_err(Refusal::StoreAway)?);
        }
        Ok((lifted, done))
    }

    /// The overrides in force, of one domain or all.
    pub fn overrides(&self, now: Timestamp, domain: Option<&str>) -> Vec<OverrideOrder> {
        let of = |about: &About| domain.is_none_or(|domain| *about.domain == *domain);
        let state = self.state.lock();
        state.orders.overrides.iter().filter(|order| now < order.until && of(&order.about)).cloned().collect()
    }

    /// The blocks in force, of one domain or all: those that were ordered, those that refusals started, and how many
    /// more of these there may be that nobody could note.
    pub fn blocks(&self, now: Timestamp, domain: Option<&str>) -> (Vec<BlockOrder>, Vec<Started>, u64) {
        let of = |about: &About| domain.is_none_or(|domain| *about.domain == *domain);
        let state = self.state.lock();
        let ordered = state.orders.blocks.iter().filter(|order| now < order.until && of(&order.about));
        let (started, unlisted) = self.started.list(now);
        let started = started.into_iter().map(|(_, started)| started).filter(|started| of(&started.about));
        (ordered.cloned().collect(), started.collect(), unlisted)
    }

    /// How many orders of each kind hold, by the word for it.
    pub fn counts(&self, now: Timestamp) -> [(&'static str, usize); 4] {
        let state = self.state.lock();
        let Standing { overrides, blocks, resets } = &state.orders;
        let started = self.started.count(now);
        [("override", overrides.len()), ("block", blocks.len()), ("reset", resets.len()), ("started", started)]
    }

    /// Forgets what is over, and writes down what blocks were started. Whoever calls this once a second loses no more of
    /// them in a crash than of the counters.
    pub fn tidy(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.retired.retain(|generation| Arc::strong_count(generation) > 1);
        let count = |orders: &Standing| orders.overrides.len() + orders.blocks.len();
        let before = count(&state.orders);
        state.orders.overrides.retain(|order| now < order.until);
        state.orders.blocks.retain(|order| now < order.until);
        if count(&state.orders) < before {
            self.changed(&mut state, now);
        } else if self.started.take_changed()
            && let Err(error) = self.save(&state, now)
        {
            tracing::warn!(%error, "blocks that were started cannot be written down: a restart lists none of them");
        }
    }

    /// Writes down and puts into force.
    pub(super) fn changed(&self, state: &mut State, now: Timestamp) -> Done {
        self.changed_if(true, state, now)
    }

    /// Writes down, for the list of started blocks may be shorter in any case; puts orders into force only where one of
    /// them changed: that compiles them all.
    pub(super) fn changed_if(&self, orders_changed: bool, state: &mut State, now: Timestamp) -> Done {
        let kept = match self.save(state, now) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "orders cannot be written down: they hold until the next restart");
                false
            }
        };
        if orders_changed {
            self.put_into_force(state);
        }
        Done { kept }
    }

    fn save(&self, state: &State, now: Timestamp) -> io::Result<bool> {
        let Some(directory) = &self.directory else { return Ok(false) };
        let (started, _) = self.started.list(now);
        kept::save(directory, &state.orders, &started).map(|()| true)
    }

    fn put_into_force(&self, state: &mut State) {
        let Some(set) = &state.set else { return };
        let next = force::generation(Arc::clone(set), &state.orders, &self.hash_key);
        state.retired.retain(|generation| Arc::strong_count(generation) > 1);
        let before = self.live.replace(Arc::new(next));
        state.retired.extend(before);
    }

    /// Tells orders about the same as `about`: however it is spelled, what counts as the same is the same.
    pub(super) fn same_as<'b>(&'b self, domain: &'b Domain, about: &About) -> impl Fn(&About) -> bool + use<'b> {
        let name_of = |other: &About| domain.order_name(&other.entries(), &self.hash_key);
        let name = name_of(about);
        let (domain_name, reach) = (about.domain.clone(), about.reach());
        move |other| other.domain == domain_name && other.reach() == reach && name_of(other) == name
    }
}

impl State {
    /// The rules in force.
    pub(super) fn rules(&self) -> Result<Arc<RuleSet>, Refusal> {
        self.set.clone().ok_or(Refusal::NotReady)
    }
}

pub(super) fn domain_of<'s>(set: &'s RuleSet, about: &About) -> Result<&'s Domain, Refusal> {
    let domain = set.rules.domains.get(about.domain.as_bytes());
    domain.ok_or_else(|| Refusal::UnknownDomain(about.domain.clone()))
}

/// Refuses what no rule limits, and what is counted together with others unless that is meant.
pub(super) fn limited(domain: &Domain, about: &About, shared: bool) -> Result<(), Refusal> {
    let rule = domain.rule_of(&about.entries()).ok_or(Refusal::NoLimit)?;
    let below = about.prefix && !rule.children.is_empty();
    if rule.action != Action::Limits && !below {
        return Err(Refusal::NoLimit);
    }
    let is_shared = rule.counted().iter().any(|counted| matches!(counted, Counted::Shared(_)));
    if is_shared && !shared {
        return Err(Refusal::Shared { rule: rule.name.as_str().into() });
    }
    Ok(())
}

/// Puts an order in the place of an earlier one, or beside the others.
pub(super) fn put<T>(orders: &mut Vec<T>, place: Option<usize>, order: T) -> Result<(), Refusal> {
    match place {
        Some(place) => orders[place] = order,
        None if orders.len() >= ORDERS_MAX => return Err(Refusal::TooMany),
        None => orders.push(order),
    }
    Ok(())
}

/// Removes those that `gone` tells; how many they were.
pub(super) fn remove<T>(orders: &mut Vec<T>, gone: impl Fn(&T) -> bool) -> u32 {
    let before = orders.len();
    orders.retain(|order| !gone(order));
    u32::try_from(before - orders.len()).unwrap_or(u32::MAX)
}
