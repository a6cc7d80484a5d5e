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
    book::{Done, ResetOrder, domain_of, limited, put, remove},
};
use crate::{
    bounds::ORDERS_MAX,
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
        if about.prefix {
            self.reset_beginning(now, about, shared)
        } else {
            self.reset_whole(now, store, about, shared).await
        }
    }

    async fn reset_whole(
        &self,
        now: Timestamp,
        store: &Store,
        about: &About,
        shared: bool,
    ) -> Result<ResetDone, Refusal> {
        let generation = self.live.snapshot().clone().ok_or(Refusal::NotReady)?;
        let domain = domain_of(&generation, about)?;
        limited(domain, about, shared)?;
        let (entries, orders) = (about.entries(), generation.orders_of(about.domain.as_bytes()));
        let request = Request::look(&entries);
        let mut all = Emptied::default();
        for found in all_ways(domain, orders, now, &entries, &self.hash_key) {
            let found = [found];
            let plan = plan(Some(domain), &request, &found);
            let emptied = store.reset(now, &about.domain, &plan.charges).await.map_err(Refusal::StoreAway)?;
            all.counters += emptied.counters;
            all.blocks += emptied.blocks;
            self.started.remove(|key, _| plan.charges.gates.iter().any(|gate| gate.key == key));
        }
        let mut state = self.state.lock();
        let same = |order: &About| order.domain == about.domain && order.entries == about.entries;
        let lifted = remove(&mut state.orders.blocks, |order| same(&order.about));
        all.blocks += lifted;
        let done = self.changed_if(lifted > 0, &mut state, now);
        Ok(ResetDone { counters: Some(all.counters), blocks: all.blocks, done })
    }

    fn reset_beginning(&self, now: Timestamp, about: &About, shared: bool) -> Result<ResetDone, Refusal> {
        let mut state = self.state.lock();
        let set = state.rules()?;
        let domain = domain_of(&set, about)?;
        limited(domain, about, shared)?;
        let same = self.same_as(domain, about);
        let mut place = state.orders.resets.iter().position(|order| same(&order.about));
        if place.is_none() && state.orders.resets.len() >= ORDERS_MAX {
            place = forgettable(&state.orders.resets, domain, now);
        }
        let last_met_secs = Arc::new(AtomicU64::new(now.0 / Nanos::SECOND.0));
        let mark = fresh_mark(domain.order_name(&about.entries(), &self.hash_key), now);
        put(&mut state.orders.resets, place, ResetOrder { about: about.clone(), mark, last_met_secs })?;
        let mut blocks = remove(&mut state.orders.blocks, |order| about.begins(&order.about));
        let started = self.started.remove(|_, started| about.begins(&started.about));
        blocks = blocks.saturating_add(u32::try_from(started.len()).unwrap_or(u32::MAX));
        let done = self.changed(&mut state, now);
        Ok(ResetDone { counters: None, blocks, done })
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

/// The reset that was met least lately, if nothing would be lost with it: neither what was counted before it nor since
/// still counts.
fn forgettable(resets: &[ResetOrder], domain: &Domain, now: Timestamp) -> Option<usize> {
    let last_met = |order: &ResetOrder| order.last_met_secs.load(Relaxed);
    let (place, least) = resets.iter().enumerate().min_by_key(|(_, order)| last_met(order))?;
    let unmet = now.since(Timestamp::from_secs(last_met(least)));
    (*least.about.domain == *domain.name && unmet > longest_memory(domain, now)).then_some(place)
}

/// How long any counter or block of a domain may matter.
fn longest_memory(domain: &Domain, now: Timestamp) -> Nanos {
    let full = Counter { used: u64::MAX, rest: 0, time: now };
    let limits = domain.rules.iter().flat_map(Rule::limits);
    let counters = limits.map(|limit| limit.limit.forgotten_at(limit.limit.take(full, now, 0)).since(now));
    let blocks = domain.rules.iter().filter_map(|rule| rule.on_exceed).map(|block| block.length);
    counters.chain(blocks).max().unwrap_or(Nanos::ZERO)
}
