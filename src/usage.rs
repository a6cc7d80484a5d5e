//! How the windows of one descriptor stand: the one way to look at counters without charging them. Usage pages, the
//! admin API and the command line all answer from here.

use smallvec::SmallVec;
use thiserror::Error;

use crate::{
    decision::{Figure, Plan, plan},
    live::Generation,
    request::{Entry, Request},
    rules::{Domain, OnStoreError, Rule, find::Found, identity::HashKey},
    store::{Asking, Charged, Keyspace, Store},
    units::Timestamp,
};

/// How one descriptor stands.
#[derive(Clone, Debug)]
pub struct Usage<'g> {
    /// The rule that it matches.
    pub rule: &'g Rule,
    /// An order put other windows in the place of its own.
    pub overridden: bool,
    /// Its windows in the order of the file, those that clients may know of first; never empty.
    pub windows: Vec<WindowUsage>,
    /// Seconds for which it is blocked from now on, rounded up. Its windows say how they stand all the same.
    pub blocked_secs: Option<u64>,
}

/// How one window stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowUsage {
    /// Unique in its rule.
    pub name: Box<str>,
    /// What may be there at once: the count, or the burst of a token bucket.
    pub limit: u64,
    /// What was used of it; may lie above the limit, where it was lowered or overdrawn.
    pub current: u64,
    /// What is left: with 0 a request would be refused now.
    pub remaining: u64,
    /// Seconds, rounded up: until the counter is as good as untouched; where nothing is left, until one hit would fit.
    pub reset_secs: u64,
    /// It refuses nobody and is shown to no client.
    pub shadow: bool,
}

/// Why there is nothing to see.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unknown {
    #[error("no rule file names this domain")]
    Domain,
    #[error("no rule limits this descriptor")]
    Limit,
}

/// Looks at all windows of the descriptor `entries` of `domain`, which is charged nothing and starts no block.
///
/// # Errors
///
/// The domain is unknown; or no rule matches, or one without limits.
pub async fn look<'g>(
    generation: &'g Generation,
    store: &Store,
    hash_key: &HashKey,
    now: Timestamp,
    domain: &str,
    entries: &[Entry<'_>],
) -> Result<Usage<'g>, Unknown> {
    let orders = generation.orders_of(domain.as_bytes());
    let domain = generation.rules.domains.get(domain.as_bytes()).ok_or(Unknown::Domain)?;
    let request = Request::look(entries);
    let found = [domain.find_under(orders, now, entries, None, hash_key)];
    let matched = found[0].matched.as_ref().ok_or(Unknown::Limit)?;
    let (rule, overridden) = (matched.rule, matched.overridden);
    let plan = plan(Some(domain), &request, &found);
    if plan.limits.is_empty() {
        return Err(Unknown::Limit);
    }
    let seen = Seen::at(store, now, Some(domain), &found, plan).await;
    Ok(Usage { rule, overridden, windows: seen.windows(0), blocked_secs: seen.blocked_secs(0) })
}

/// Counters as one request would find them, which charges nothing.
#[derive(Debug)]
pub struct Seen<'p> {
    pub plan: Plan<'p>,
    pub charged: Charged,
}

impl<'p> Seen<'p> {
    /// Looks at what `plan` asks for, which is that of a request that only looks and found `found` in `domain`.
    pub async fn at(
        store: &Store,
        now: Timestamp,
        domain: Option<&Domain>,
        found: &[Found<'_>],
        mut plan: Plan<'p>,
    ) -> Self {
        for gate in &mut plan.charges.gates {
            // A look that finds no room is nobody's excess.
            gate.starts = None;
        }
        let policy = |found: &Found<'_>| found.matched.as_ref().map(|it| it.rule.on_store_error).unwrap_or_default();
        let on_store_error: SmallVec<[OnStoreError; 4]> = found.iter().map(policy).collect();
        let asking = Asking {
            now,
            keyspace: domain.map(Keyspace::from).unwrap_or_default(),
            charges: &plan.charges,
            on_store_error: &on_store_error,
            core: None,
            within: None,
        };
        let charged = store.charge(&asking).await;
        Self { plan, charged }
    }

    /// How the windows of one descriptor stand: in the order of the file, those that clients may know of first.
    pub fn windows(&self, descriptor: usize) -> Vec<WindowUsage> {
        let Self { plan, charged } = self;
        let places = plan.of_descriptor.get(descriptor).map_or(0..0, |range| range.start as usize..range.end as usize);
        let figure =
            |at: usize| Figure::of(plan.limits[at], &charged.verdicts.list[at], plan.charges.way, charged.now).into();
        places.map(figure).collect()
    }

    /// Seconds for which one descriptor is blocked from now on, rounded up.
    pub fn blocked_secs(&self, descriptor: usize) -> Option<u64> {
        self.plan.blocked(&self.charged.verdicts, descriptor).map(|blocked| blocked.rest.ceil_secs())
    }
}

impl From<Figure<'_>> for WindowUsage {
    fn from(figure: Figure<'_>) -> Self {
        Self {
            // Its own: a limit may live only as long as what granted it.
            name: (*figure.limit.name).into(),
            limit: figure.limit.limit.capacity(),
            current: figure.used,
            remaining: figure.remaining,
            reset_secs: figure.reset_secs,
            shadow: figure.limit.shadow,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path, pin::pin, sync::Arc, task};

    use super::*;
    use crate::{
        config::{Compiled, DomainDefaults, RuleFile, compile},
        live::RuleSet,
        request::Descriptor,
        store::memory::Memory,
        telemetry::{Telemetry, decisions::Decisions},
        units::Nanos,
    };
    use hashbrown::HashMap;

    const KEY: HashKey = HashKey::Secret([5; 16]);
    const START: Timestamp = Timestamp::from_secs(1_000_000_020);

    const RULES: &str = "
domain: shop
descriptors:
  - {key: ip, name: per-address, limits: [3/minute, 5/day, {rate: 1/hour, mode: shadow}]}
  - {key: user, limits: [{rate: 60/minute, algorithm: token_bucket, burst: 10}, {rate: 9/h, algorithm: sliding_window}]}
  - {key: login, limits: [2/minute], on_exceed: {block_for: 15m}}
  - {key: never, limits: [0/minute]}
  - {key: spent, overdraw: true, limits: [10/day]}
  - {key: free, exempt: true}
  - {key: gone, deny: true}
  - {key: open, rate_limit: {unlimited: true}}
  - key: parent
    descriptors: [{key: child, limits: [1/s]}]
";

    /// Rules, counters and a clock that stands still unless it is told.
    struct World {
        generation: Generation,
        store: Store,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            let file = RuleFile { name: "f".into(), path: "/f".into(), text: RULES.into() };
            let mut no_lists = |_: &Path| Err(io::ErrorKind::NotFound.into());
            let compiled = compile(&[file], DomainDefaults::default(), &mut no_lists).unwrap();
            let decisions = Decisions::new(Telemetry::new(1), &compiled.rules);
            let Compiled { rules, responses, usage_pages, .. } = compiled;
            let set =
                RuleSet { number: 1, hash: String::new(), rules, responses, usage_pages, decisions, compat: None };
            let generation = Generation { set: Arc::new(set), orders: HashMap::new() };
            Self { generation, store: Store::Memory(Memory::new(100_000)), now: START }
        }

        fn charge(&self, key: &str, hits: u64) {
            let entries = entry(key);
            let descriptor = Descriptor { entry_count: 1, hits: Some(hits), ..Descriptor::default() };
            let request = Request { descriptors: SmallVec::from_iter([descriptor]), ..Request::look(&entries) };
            let domain = &self.generation.rules.domains[b"shop".as_slice()];
            let found = [domain.find(&entries, None, &KEY)];
            let plan = plan(Some(domain), &request, &found);
            let (now, charges) = (self.now, &plan.charges);
            let asking =
                Asking { now, keyspace: Keyspace::default(), charges, on_store_error: &[], core: None, within: None };
            now_or_never(self.store.charge(&asking));
        }

        fn look(&self, key: &str) -> Result<Usage<'_>, Unknown> {
            now_or_never(look(&self.generation, &self.store, &KEY, self.now, "shop", &entry(key)))
        }

        /// Each window as `name current/limit remaining reset`.
        fn says(&self, key: &str) -> String {
            let usage = self.look(key).unwrap();
            let windows = usage.windows.iter().map(|window| {
                let WindowUsage { name, limit, current, remaining, reset_secs, shadow } = window;
                format!("{name} {current}/{limit} {remaining} {reset_secs}{}", if *shadow { " shadow" } else { "" })
            });
            windows.collect::<Vec<_>>().join(", ")
        }

        fn counters(&self) -> usize {
            let memory = self.store.in_process();
            memory.fill().counters
        }
    }

    fn entry(key: &str) -> [Entry<'_>; 1] {
        [Entry { key: key.as_bytes(), value: b"a" }]
    }

    /// The memory store never waits.
    fn now_or_never<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop())) {
            task::Poll::Ready(value) => value,
            task::Poll::Pending => panic!("the store waits"),
        }
    }

    #[test]
    fn every_window_says_how_it_stands() {
        let mut world = World::new();
        world.charge("ip", 2);
        assert_eq!(world.says("ip"), "minute 2/3 1 60, day 2/5 3 79980, hour 0/1 1 780 shadow");
        assert_eq!(&*world.look("ip").unwrap().rule.name, "per-address");
        world.charge("ip", 1);
        assert_eq!(world.says("ip"), "minute 3/3 0 60, day 3/5 2 79980, hour 1/1 0 780 shadow");
        world.now = START.plus(Nanos::from_secs(60));
        assert_eq!(world.says("ip"), "minute 0/3 3 60, day 3/5 2 79920, hour 1/1 0 720 shadow");
    }

    #[test]
    fn every_algorithm_speaks_in_its_own_figures() {
        let world = World::new();
        world.charge("user", 9);
        assert_eq!(world.says("user"), "minute 9/10 1 9, hour 9/9 0 1180");
    }

    #[test]
    fn a_limit_of_0_has_nothing_left_and_an_overdrawn_one_says_what_was_really_used() {
        let world = World::new();
        assert_eq!(world.says("never"), "minute 0/0 0 60");
        world.charge("spent", 25);
        assert_eq!(world.says("spent"), "day 25/10 0 79980");
    }

    #[test]
    fn looking_charges_nothing_keeps_nothing_and_starts_no_block() {
        let world = World::new();
        for _ in 0..100 {
            assert_eq!(world.says("login"), "minute 0/2 2 60");
        }
        assert_eq!(world.counters(), 0);
        world.charge("login", 2);
        for _ in 0..100 {
            assert_eq!(world.says("login"), "minute 2/2 0 60");
            assert_eq!(world.look("login").unwrap().blocked_secs, None);
        }
        assert_eq!(world.counters(), 1);
    }

    #[test]
    fn who_is_blocked_is_told_for_how_long_and_how_the_windows_stand() {
        let mut world = World::new();
        world.charge("login", 2);
        world.charge("login", 1);
        assert_eq!(world.look("login").unwrap().blocked_secs, Some(900));
        world.now = START.plus(Nanos::from_secs(60));
        assert_eq!(world.look("login").unwrap().blocked_secs, Some(840));
        assert_eq!(world.says("login"), "minute 0/2 2 60");
        world.now = START.plus(Nanos::from_secs(900));
        assert_eq!(world.look("login").unwrap().blocked_secs, None);
    }

    #[test]
    fn what_nothing_limits_is_unknown() {
        let world = World::new();
        for key in ["nobody", "free", "gone", "open", "parent", "child"] {
            assert_eq!(world.look(key).unwrap_err(), Unknown::Limit, "{key}");
        }
        let elsewhere = now_or_never(look(&world.generation, &world.store, &KEY, START, "elsewhere", &entry("ip")));
        assert_eq!(elsewhere.unwrap_err(), Unknown::Domain);
    }
}
