//! Counting from nothing again.
//!
//! Of a whole descriptor the counters are known, and emptied. Of a beginning they are not: the store knows hashes. It
//! gets a mark, which gives everything below it other names, and what was counted before is met by nobody any more.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    About, Book, Refusal,
    book::{Done, State, domain_of, limited},
    standing::{Kind, Order, ResetOrder},
};
use crate::{
    bounds::{ORDERS_MAX, RESET_KEPT},
    decision::plan,
    limit::Counter,
    request::{Entry, Request, RequestLimit},
    rules::{
        Domain, Orders, Rule,
        find::{Found, LimitNumbers, Limits},
        identity::HashKey,
    },
    store::{Store, memory::Emptied},
    units::{Nanos, Timestamp},
};

/// What a reset did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetDone {
    /// Counters that held something; None of a beginning, of which nobody knows how many there were.
    pub counters: Option<u32>,
    pub blocks: u32,
    pub done: Done,
}

impl Book {
    /// Counts whatever `about` means from nothing again, and lifts what blocks it; overrides stay.
    ///
    /// # Errors
    ///
    /// Nothing limits it, or its counter is shared and that was not said.
    pub async fn reset(
        &self,
        now: Timestamp,
        store: &Store,
        about: &About,
        shared: bool,
    ) -> Result<ResetDone, Refusal> {
        let everybody = self.listen(now, store).await;
        let (counters, blocks, kept) = if about.prefix {
            self.reset_beginning(now, store, about, shared)?
        } else {
            self.reset_whole(now, store, about, shared).await?
        };
        let done = Done { kept, everywhere: self.tell(now, store, everybody).await };
        Ok(ResetDone { counters, blocks, done })
    }

    async fn reset_whole(
        &self,
        now: Timestamp,
        store: &Store,
        about: &About,
        shared: bool,
    ) -> Result<(Option<u32>, u32, bool), Refusal> {
        let generation = self.live.snapshot().clone().ok_or(Refusal::NotReady)?;
        let domain = domain_of(&generation, about)?;
        limited(domain, about, shared)?;
        let (entries, orders) = (about.entries(), generation.orders_of(about.domain.as_bytes()));
        let request = Request::look(&entries);
        let mut all = Emptied::default();
        for found in all_ways(domain, orders, now, &entries, &self.hash_key) {
            let found = [found];
            let plan = plan(Some(domain), &request, &found);
            let emptied = store.reset(now, domain.into(), &plan.charges).await.map_err(Refusal::StoreAway)?;
            all.counters += emptied.counters;
            all.blocks += emptied.blocks;
            self.started.remove(|key, _| plan.charges.gates.iter().any(|gate| gate.key == key));
        }
        // Whatever stands on these entries is in the way, also as a beginning.
        let [whole, beginning] = [false, true].map(|prefix| self.same_as(domain, &About { prefix, ..about.clone() }));
        let mut state = self.state.lock();
        let lifted = state.delete(now, Kind::Block, |order| whole(order) || beginning(order));
        let kept = self.changed_if(lifted > 0, &mut state, now);
        Ok((Some(all.counters), all.blocks + lifted, kept))
    }

    fn reset_beginning(
        &self,
        now: Timestamp,
        store: &Store,
        about: &About,
        shared: bool,
    ) -> Result<(Option<u32>, u32, bool), Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let domain = domain_of(&set, about)?;
        limited(domain, about, shared)?;
        // Where others share the store, nobody knows whether their requests still meet a mark.
        if store.shared().is_none() && state.orders.count(Kind::Reset, state.by_the_store(now)) >= ORDERS_MAX {
            make_room(&mut state, domain, now);
        }
        let order = ResetOrder {
            about: about.clone(),
            mark: fresh_mark(domain.order_name(&about.entries(), &self.hash_key), now),
            until: state.by_the_store(now.plus(RESET_KEPT)),
            last_met_secs: Arc::new(AtomicU64::new(now.0 / Nanos::SECOND.0)),
        };
        self.put(&mut state, domain, now, Order::Reset(order))?;
        let mut blocks = state.delete(now, Kind::Block, |order| about.begins(order));
        let started = self.started.remove(|_, started| about.begins(&started.about));
        blocks = blocks.saturating_add(u32::try_from(started.len()).unwrap_or(u32::MAX));
        Ok((None, blocks, self.changed(&mut state, now)))
    }
}

/// Every way in which one descriptor is counted: as it is now, by its rule without orders, and by limits that requests
/// may bring, one for each unit that they can name.
fn all_ways<'r>(
    domain: &'r Domain,
    orders: Option<&'r Orders>,
    now: Timestamp,
    entries: &[Entry<'_>],
    hash_key: &HashKey,
) -> Vec<Found<'r>> {
    /// The numbers of `envoy.type.v3.RateLimitUnit`, and of the week that envoyproxy/ratelimit adds.
    const UNITS: std::ops::RangeInclusive<i32> = 1..=7;
    let now_counted = domain.find_under(orders, now, entries, None, hash_key);
    let mut by_rule = now_counted.clone();
    if let Some(matched) = &mut by_rule.matched {
        matched.limits = Limits::Rule(matched.rule.limits());
        matched.numbers = LimitNumbers::of(matched.rule);
    }
    let brought = |unit| {
        let limit = RequestLimit { requests_per_unit: 1, unit, unit_multiplier: None };
        let mut found = domain.find_under(orders, now, entries, Some(limit), hash_key);
        found.gates.clear();
        found
    };
    [now_counted, by_rule].into_iter().chain(UNITS.map(brought)).collect()
}

/// A mark unlike all others.
fn fresh_mark(name: u128, now: Timestamp) -> u128 {
    let mut mark = [0; 16];
    // Without random numbers the time and a keyed hash tell marks apart, too.
    if getrandom::fill(&mut mark).is_err() {
        return name ^ u128::from(now.0);
    }
    u128::from_be_bytes(mark)
}

/// Takes back the reset that was met least lately, if nothing would be lost with it: neither what was counted before it
/// nor since still counts.
fn make_room(state: &mut State, domain: &Domain, now: Timestamp) {
    let the_stores = state.by_the_store(now);
    let resets = state.orders.of_kind(Kind::Reset, the_stores).filter_map(|order| match order {
        Order::Reset(order) => Some((order.last_met_secs.load(Relaxed), &order.about)),
        _ => None,
    });
    let Some((last_met, about)) = resets.min_by_key(|(last_met, _)| *last_met) else { return };
    let unmet = now.since(Timestamp::from_secs(last_met));
    if *about.domain == *domain.name && unmet > longest_memory(domain, now) {
        let about = about.clone();
        state.delete(now, Kind::Reset, |order| *order == about);
    }
}

/// How long any counter or block of a domain may matter.
fn longest_memory(domain: &Domain, now: Timestamp) -> Nanos {
    let full = Counter { used: u64::MAX, rest: 0, time: now };
    let limits = domain.rules.iter().flat_map(Rule::limits);
    let counters = limits.map(|limit| limit.limit.forgotten_at(limit.limit.take(full, now, 0)).since(now));
    let blocks = domain.rules.iter().filter_map(|rule| rule.on_exceed).map(|block| block.length);
    counters.chain(blocks).max().unwrap_or(Nanos::ZERO)
}
