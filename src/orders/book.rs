//! The orders, and what changes them. Every change is written down before it is confirmed, and in force when it is.
//!
//! People's times, and those of requests, are by our clock. The book's are by the store's: they are converted here.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::{
    About, BlockOrder, OverrideOrder, Refusal, Started, force,
    kept::{self, Unreadable},
    share::Reading,
    standing::{Kind, Order, Standing},
    started::Register,
};
use crate::{
    bounds::{ORDERS_MAX, SHARED_OVER_MAX},
    charge::{CounterKey, GateVerdict, Verdicts},
    config::override_limits,
    decision::Plan,
    live::{Generation, Live, RuleSet},
    request::Request,
    rules::{Action, Counted, Domain, find::Found, identity::HashKey},
    store::{Keyspace, Store, memory::snapshot::Directory},
    units::Timestamp,
};

/// Keeps the orders, and puts them into force together with the rules.
#[derive(Debug)]
pub struct Book {
    pub(super) live: Arc<Live>,
    pub(super) hash_key: HashKey,
    pub(super) state: Mutex<State>,
    /// Beside the state: cores that decide write to it, and never wait for a disk.
    pub(super) started: Register,
    /// What was read of the orders of other replicas. One exchange with them at a time.
    pub(super) reading: tokio::sync::Mutex<Reading>,
    /// Where orders are kept; None: a restart forgets them.
    directory: Option<Directory>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub orders: Standing,
    /// By how much the store's clock is ahead of ours, as orders in force have it.
    pub ahead_ns: i64,
    /// Names of orders that ended, which the store may forget.
    pub over: Vec<u128>,
    /// Names and stamps of deletions that it need not keep to their end.
    pub let_go: Vec<(u128, u64)>,
    /// Orders came from other replicas, and are neither written down nor in force yet.
    pub unsettled: bool,
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
    /// All replicas know of it, or will within a second. False: the store that they share did not answer, and they will
    /// when it does. None: there is only this one.
    pub everywhere: Option<bool>,
}

impl Book {
    /// A book with what `directory` kept of an earlier one.
    pub fn open(live: Arc<Live>, hash_key: HashKey, directory: Option<Directory>, now: Timestamp) -> Self {
        let (state, started, reading) = (Mutex::default(), Register::default(), tokio::sync::Mutex::default());
        let mut book = Self { live, hash_key, state, started, reading, directory: None };
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
    pub async fn put_override(
        &self,
        now: Timestamp,
        store: &Store,
        about: About,
        limits: &str,
        until: Timestamp,
        shared: bool,
    ) -> Result<Done, Refusal> {
        let everybody = self.listen(now, store).await;
        let kept = self.write_override(now, about, limits, until, shared)?;
        Ok(Done { kept, everywhere: self.tell(now, store, everybody).await })
    }

    fn write_override(
        &self,
        now: Timestamp,
        about: About,
        limits: &str,
        until: Timestamp,
        shared: bool,
    ) -> Result<bool, Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let domain = domain_of(&set, &about)?;
        limited(domain, &about, shared)?;
        let compiled = override_limits(limits).map_err(Refusal::Limits)?;
        compiled.suit(&set.rules, domain).map_err(|unsuited| Refusal::Limits(unsuited.to_string()))?;
        let order = OverrideOrder { about, limits: limits.into(), until: state.by_the_store(until) };
        self.put(&mut state, domain, now, Order::Override(order))?;
        Ok(self.changed(&mut state, now))
    }

    /// Refuses whatever `about` means, until then; replaces an earlier order to block the same.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub async fn put_block(
        &self,
        now: Timestamp,
        store: &Store,
        about: About,
        until: Timestamp,
    ) -> Result<Done, Refusal> {
        let everybody = self.listen(now, store).await;
        let kept = self.write_block(now, about, until)?;
        Ok(Done { kept, everywhere: self.tell(now, store, everybody).await })
    }

    fn write_block(&self, now: Timestamp, about: About, until: Timestamp) -> Result<bool, Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let domain = domain_of(&set, &about)?;
        let order = BlockOrder { about, until: state.by_the_store(until) };
        self.put(&mut state, domain, now, Order::Block(order))?;
        Ok(self.changed(&mut state, now))
    }

    /// Writes an order in the place of those about the same.
    pub(super) fn put(&self, state: &mut State, domain: &Domain, now: Timestamp, order: Order) -> Result<(), Refusal> {
        let (kind, now) = (order.kind(), state.by_the_store(now));
        {
            let same = self.same_as(domain, order.about());
            let others = state.orders.of_kind(kind, now).filter(|other| !same(other.about())).count();
            if others >= ORDERS_MAX {
                return Err(Refusal::TooMany);
            }
            // Those of another spelling; that of the same is replaced.
            state.orders.delete(now, kind, |other| other != order.about() && same(other));
        }
        state.orders.write(now, order);
        Ok(())
    }

    /// Takes an override back; how many there were.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub async fn delete_override(&self, now: Timestamp, store: &Store, about: &About) -> Result<(u32, Done), Refusal> {
        let everybody = self.listen(now, store).await;
        let (gone, kept) = {
            let mut state = self.state.lock();
            let set = state.rules()?;
            let gone = state.delete(now, Kind::Override, self.same_as(domain_of(&set, about)?, about));
            (gone, self.changed_if(gone > 0, &mut state, now))
        };
        Ok((gone, Done { kept, everywhere: self.tell(now, store, everybody).await }))
    }

    /// Lifts what blocks exactly `about`, ordered or started by a refusal; how many blocks there were.
    ///
    /// # Errors
    ///
    /// There is no such domain.
    pub async fn lift(&self, now: Timestamp, store: &Store, about: &About) -> Result<(u32, Done), Refusal> {
        let everybody = self.listen(now, store).await;
        let (mut lifted, mut keys, slots, kept) = {
            let mut state = self.state.lock();
            let set = state.rules()?;
            let domain = domain_of(&set, about)?;
            let lifted = state.delete(now, Kind::Block, self.same_as(domain, about));
            let kept = self.changed_if(lifted > 0, &mut state, now);
            let generation = self.live.snapshot();
            let orders = generation.as_ref().and_then(|generation| generation.orders_of(about.domain.as_bytes()));
            let found = domain.find_under(orders, now, &about.entries(), None, &self.hash_key);
            let own = found.gates.iter().filter(|gate| gate.reach == about.reach());
            (lifted, own.map(|gate| CounterKey(gate.key)).collect::<Vec<_>>(), domain.slots, kept)
        };
        let everywhere = self.tell(now, store, everybody).await;
        // A rule that has gone since started its blocks under names that only the register knows.
        keys.extend(self.started.names(|key, started| keys.contains(&key) || started.about == *about));
        keys.sort_unstable();
        keys.dedup();
        let keyspace = Keyspace { domain: &about.domain, slots };
        for key in keys {
            lifted += u32::from(store.lift(now, keyspace, key).await.map_err(Refusal::StoreAway)?);
            // Not before: whoever tries again after a failure needs its name.
            self.started.remove(|listed, _| listed == key);
        }
        Ok((lifted, Done { kept, everywhere }))
    }

    /// The overrides in force, of one domain or all.
    pub fn overrides(&self, now: Timestamp, domain: Option<&str>) -> Vec<OverrideOrder> {
        let of = |about: &About| domain.is_none_or(|domain| *about.domain == *domain);
        let state = self.state.lock();
        let orders = state.orders.of_kind(Kind::Override, state.by_the_store(now)).filter(|order| of(order.about()));
        let ours = |order: &Order| match order {
            Order::Override(order) => Some(OverrideOrder { until: state.by_us(order.until), ..order.clone() }),
            _ => None,
        };
        orders.filter_map(ours).collect()
    }

    /// The blocks in force, of one domain or all: those that were ordered, those that refusals started, and how many
    /// more of these there may be that nobody could note.
    pub fn blocks(&self, now: Timestamp, domain: Option<&str>) -> (Vec<BlockOrder>, Vec<Started>, u64) {
        let of = |about: &About| domain.is_none_or(|domain| *about.domain == *domain);
        let state = self.state.lock();
        let ordered = state.orders.of_kind(Kind::Block, state.by_the_store(now)).filter(|order| of(order.about()));
        let ours = |order: &Order| match order {
            Order::Block(order) => Some(BlockOrder { until: state.by_us(order.until), ..order.clone() }),
            _ => None,
        };
        let (started, unlisted) = self.started.list(now);
        let started = started.into_iter().map(|(_, started)| started).filter(|started| of(&started.about));
        (ordered.filter_map(ours).collect(), started.collect(), unlisted)
    }

    /// How many orders of each kind hold, by the word for it.
    pub fn counts(&self, now: Timestamp) -> [(&'static str, usize); 4] {
        let state = self.state.lock();
        let count = |kind| state.orders.count(kind, state.by_the_store(now));
        let [overrides, blocks, resets] = [Kind::Override, Kind::Block, Kind::Reset].map(count);
        [("override", overrides), ("block", blocks), ("reset", resets), ("started", self.started.count(now))]
    }

    /// Forgets what is over, and writes down what blocks were started. Whoever calls this once a second loses no more of
    /// them in a crash than of the counters.
    pub fn tidy(&self, now: Timestamp) {
        let mut state = self.state.lock();
        state.retired.retain(|generation| Arc::strong_count(generation) > 1);
        let the_stores = state.by_the_store(now);
        let forgotten = state.orders.forget(the_stores);
        // Those beyond are found again when all is compared.
        let room = SHARED_OVER_MAX.saturating_sub(state.over.len());
        state.over.extend(forgotten.over.into_iter().take(room));
        let room = SHARED_OVER_MAX.saturating_sub(state.let_go.len());
        state.let_go.extend(forgotten.let_go.into_iter().take(room));
        if forgotten.orders {
            self.changed(&mut state, now);
        } else if self.started.take_changed()
            && let Err(error) = self.save(&state, now)
        {
            tracing::warn!(%error, "blocks that were started cannot be written down: a restart lists none of them");
        }
    }

    /// Writes down and puts into force; whether a restart will know of it.
    pub(super) fn changed(&self, state: &mut State, now: Timestamp) -> bool {
        self.changed_if(true, state, now)
    }

    /// Writes down, for the list of started blocks may be shorter in any case; puts orders into force only where one of
    /// them changed: that compiles them all.
    pub(super) fn changed_if(&self, orders_changed: bool, state: &mut State, now: Timestamp) -> bool {
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
        kept
    }

    fn save(&self, state: &State, now: Timestamp) -> io::Result<bool> {
        let Some(directory) = &self.directory else { return Ok(false) };
        let (started, _) = self.started.list(now);
        kept::save(directory, &state.orders, &started).map(|()| true)
    }

    fn put_into_force(&self, state: &mut State) {
        let Some(set) = &state.set else { return };
        let next = force::generation(Arc::clone(set), &state.orders, state.ahead_ns, &self.hash_key);
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

    /// What the store's clock shows when ours shows `time`.
    pub(super) fn by_the_store(&self, time: Timestamp) -> Timestamp {
        time.shifted(self.ahead_ns)
    }

    /// What ours shows when the store's clock shows `time`.
    pub(super) fn by_us(&self, time: Timestamp) -> Timestamp {
        time.shifted(self.ahead_ns.saturating_neg())
    }

    /// Takes back the orders of a kind that `gone` tells; how many stood.
    pub(super) fn delete(&mut self, now: Timestamp, kind: Kind, gone: impl Fn(&About) -> bool) -> u32 {
        let now = self.by_the_store(now);
        self.orders.delete(now, kind, gone)
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
