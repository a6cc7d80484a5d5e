//! Orders from the book to the decision.

use std::path::Path;

use super::{kept, standing::Kind, *};
use crate::{
    config::{Compiled, DomainDefaults, RuleFile, compile},
    decision::{decide, plan},
    live::{Live, RuleSet},
    request::{Descriptor, Request},
    rules::identity::HashKey,
    store::{
        Store,
        memory::{Memory, snapshot::Directory},
    },
    telemetry::{Telemetry, decisions::Decisions},
    units::{Nanos, Timestamp},
};
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HASH_KEY: HashKey = HashKey::Secret([9; 16]);
const HOUR: Nanos = Nanos::from_secs(3_600);

const RULES: &str = "
domain: shop
descriptors:
  - key: api_key
    name: per-key
    limits: [2/hour]
    descriptors:
      - {key: path, path: '/v1/orders/{id}', name: orders, limits: [3/hour]}
      - {key: login, name: login, limits: [1/minute], on_exceed: {block_for: 2h, block: api_key}}
  - {key: remote_address, name: address, limits: [2/hour]}
  - {key: watched, name: watched, limits: [1/hour], mode: shadow}
  - {key: free}
";

struct World {
    live: Arc<Live>,
    book: Book,
    store: Store,
}

impl World {
    fn new() -> Self {
        Self::with(RULES, None)
    }

    fn with(rules: &str, directory: Option<&Path>) -> Self {
        let live = Arc::new(Live::default());
        let directory = directory.map(|path| Directory::new(path.to_owned()).unwrap());
        let book = Book::open(Arc::clone(&live), HASH_KEY, directory, NOW);
        let world = Self { live, book, store: Store::Memory(Memory::new(10_000)) };
        world.load(rules);
        world
    }

    fn load(&self, rules: &str) {
        let file = RuleFile { name: "rules".into(), path: "rules.yaml".into(), text: rules.into() };
        let mut no_lists = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let compiled = compile(&[file], DomainDefaults::default(), &mut no_lists).unwrap();
        let decisions = Decisions::new(Telemetry::new(1), &compiled.rules);
        let (number, hash) = (1, String::new());
        let Compiled { rules, responses, usage_pages, .. } = compiled;
        self.book.go_live(Arc::new(RuleSet { number, hash, rules, responses, usage_pages, decisions, compat: None }));
    }

    /// Asks for one hit; None: let through, else the seconds to wait.
    fn ask(&self, now: Timestamp, entries: &[(&str, &str)]) -> Option<u64> {
        let generation = self.live.snapshot();
        let generation = generation.as_ref().unwrap();
        let about = about(entries, false);
        let mut request = Request { domain: b"shop", ..Request::default() };
        request.entries.extend(about.entries());
        let entry_count = u32::try_from(entries.len()).unwrap();
        request.descriptors.push(Descriptor { entry_count, ..Descriptor::default() });
        let domain = &generation.rules.domains[&b"shop"[..]];
        let found = [domain.find_under(generation.orders_of(b"shop"), now, &request.entries, None, &HASH_KEY)];
        let plan = plan(Some(domain), &request, &found);
        let memory = self.store.in_process();
        let verdicts = memory.charge(now, &plan.charges);
        self.book.note_started(now, &request, &found, &plan, &verdicts);
        let decision = decide(now, Some(domain), &found, &plan, &verdicts);
        decision.refused.then(|| decision.answer.and_then(|answer| answer.retry_after_secs).unwrap_or(0))
    }

    /// How many of so many requests are let through.
    fn passes(&self, now: Timestamp, entries: &[(&str, &str)], of: usize) -> usize {
        (0..of).filter(|_| self.ask(now, entries).is_none()).count()
    }

    fn instead(&self, entries: &[(&str, &str)], prefix: bool, limits: &str) -> Result<Done, Refusal> {
        let limits = format!("{{\"limits\": [{limits}]}}");
        self.put_override(about(entries, prefix), &limits, true)
    }

    fn put_override(&self, about: About, limits: &str, shared: bool) -> Result<Done, Refusal> {
        now_or_never(self.book.put_override(NOW, &self.store, about, limits, NOW.plus(HOUR), shared))
    }

    fn block(&self, about: About, length: Nanos) -> Result<Done, Refusal> {
        now_or_never(self.book.put_block(NOW, &self.store, about, NOW.plus(length)))
    }

    fn delete_override(&self, entries: &[(&str, &str)]) -> u32 {
        now_or_never(self.book.delete_override(NOW, &self.store, &about(entries, false))).unwrap().0
    }

    fn reset(&self, entries: &[(&str, &str)], prefix: bool) -> ResetDone {
        now_or_never(self.book.reset(NOW, &self.store, &about(entries, prefix), true)).unwrap()
    }

    fn lift(&self, entries: &[(&str, &str)], prefix: bool) -> u32 {
        now_or_never(self.book.lift(NOW, &self.store, &about(entries, prefix))).unwrap().0
    }
}

fn about(entries: &[(&str, &str)], prefix: bool) -> About {
    let entries = entries.iter().map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()));
    About { domain: "shop".into(), entries: entries.collect(), prefix }
}

/// The memory store never waits.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const ACME: [(&str, &str); 1] = [("api_key", "acme")];
const BETA: [(&str, &str); 1] = [("api_key", "beta")];
const ORDERS: [(&str, &str); 2] = [("api_key", "acme"), ("path", "/v1/orders/7")];
const LOGIN: [(&str, &str); 2] = [("api_key", "acme"), ("login", "x")];

#[test]
fn an_override_replaces_the_limits_of_one_descriptor_keeps_its_count_and_ends_by_itself() {
    let world = World::new();
    assert_eq!(world.passes(NOW, &ACME, 5), 2);
    world.instead(&ACME, false, "\"4/hour\"").unwrap();
    assert_eq!(world.passes(NOW, &ACME, 5), 2, "two were counted before");
    assert_eq!(world.passes(NOW, &BETA, 5), 2, "others have what they had");
    assert_eq!(world.passes(NOW, &ORDERS, 5), 3, "longer descriptors too");
    let later = NOW.plus(HOUR);
    assert_eq!(world.passes(later, &ACME, 5), 2, "the override is over");
    assert_eq!(world.book.overrides(later, None).len(), 0);
}

#[test]
fn the_longest_override_that_matches_wins() {
    let world = World::new();
    world.instead(&ACME, true, "\"5/hour\"").unwrap();
    assert_eq!((world.passes(NOW, &ACME, 9), world.passes(NOW, &ORDERS, 9)), (5, 5));
    world.instead(&ORDERS, false, "\"7/hour\"").unwrap();
    assert_eq!(world.passes(NOW, &ORDERS, 9), 2, "seven less the five that were counted");
    assert_eq!(world.delete_override(&ORDERS), 1);
    assert_eq!(world.passes(NOW, &ORDERS, 9), 0, "seven counted, five allowed");
}

#[test]
fn an_override_of_another_spelling_replaces_the_first() {
    let world = World::new();
    world.instead(&[("remote_address", "2001:db8::1")], false, "\"5/hour\"").unwrap();
    world.instead(&[("remote_address", "2001:DB8::2")], false, "\"6/hour\"").unwrap();
    assert_eq!(world.book.overrides(NOW, Some("shop")).len(), 1);
    assert_eq!(world.passes(NOW, &[("remote_address", "2001:db8::3")], 9), 6, "one network is one client");
}

#[test]
fn an_override_of_a_rule_that_only_watches_only_watches() {
    let world = World::new();
    world.instead(&[("watched", "x")], false, "\"1/hour\"").unwrap();
    assert_eq!(world.passes(NOW, &[("watched", "x")], 3), 3);
}

#[test]
fn orders_that_make_no_sense_change_nothing_and_say_why() {
    let world = World::new();
    let refused = |entries: &[(&str, &str)], limits: &str, shared: bool| {
        world.put_override(about(entries, false), limits, shared).unwrap_err()
    };
    let good = r#"{"limits": ["5/hour"]}"#;
    assert_eq!(refused(&[("nothing", "x")], good, true), Refusal::NoLimit);
    assert_eq!(refused(&[("free", "x")], good, true), Refusal::NoLimit);
    assert_eq!(refused(&ORDERS, good, false), Refusal::Shared { rule: "orders".into() });
    assert!(matches!(refused(&ACME, r#"{"limits": ["5"]}"#, false), Refusal::Limits(_)));
    let mut elsewhere = about(&ACME, false);
    elsewhere.domain = "nowhere".into();
    let refusal = world.put_override(elsewhere.clone(), good, false).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownDomain("nowhere".into()));
    assert_eq!(world.block(elsewhere, HOUR).unwrap_err(), refusal);
    assert!(world.book.overrides(NOW, None).is_empty() && world.book.blocks(NOW, None).0.is_empty());
}

#[test]
fn an_ordered_block_refuses_until_its_end_whatever_the_limits_say_and_charges_nothing() {
    let world = World::new();
    world.block(about(&ACME, false), HOUR).unwrap();
    assert_eq!(world.ask(NOW, &ACME), Some(3_600));
    assert_eq!(world.ask(NOW, &ORDERS), None, "only exactly this descriptor");
    assert_eq!(world.ask(Timestamp(NOW.plus(HOUR).0 - 1), &ACME), Some(1));
    assert_eq!(world.passes(NOW.plus(HOUR), &ACME, 5), 2);
    world.block(about(&BETA, true), HOUR).unwrap();
    let longer = [("api_key", "beta"), ("unheard", "of")];
    assert_eq!((world.ask(NOW, &BETA), world.ask(NOW, &longer)), (Some(3_600), Some(3_600)), "rule or no rule");
    assert_eq!((world.lift(&BETA, true), world.ask(NOW, &longer)), (1, None));
}

#[test]
fn a_block_that_a_refusal_started_is_listed_by_name_and_lifted() {
    let world = World::new();
    assert_eq!(world.passes(NOW, &LOGIN, 2), 1);
    let (ordered, started, unlisted) = world.book.blocks(NOW, Some("shop"));
    assert!(ordered.is_empty() && unlisted == 0);
    let [started] = started.as_slice() else { panic!("{started:?}") };
    assert_eq!((&started.about, &*started.rule), (&about(&ACME, true), "login"));
    assert_eq!(world.ask(NOW, &ACME), Some(7_200), "every descriptor that begins so");
    assert_eq!(world.lift(&ACME, true), 1);
    assert_eq!((world.ask(NOW, &ACME), world.book.blocks(NOW, None).1.len()), (None, 0));
    assert_eq!(world.lift(&ACME, true), 0);
}

#[test]
fn a_reset_empties_every_counter_of_one_descriptor_lifts_its_blocks_and_leaves_overrides() {
    let world = World::new();
    assert_eq!(world.passes(NOW, &ACME, 5), 2);
    assert_eq!(world.passes(NOW, &BETA, 5), 2);
    world.instead(&ACME, false, "\"3/minute\"").unwrap();
    assert_eq!(world.passes(NOW, &ACME, 5), 3);
    let done = world.reset(&ACME, false);
    assert_eq!((done.counters, done.blocks), (Some(2), 0), "the hour's and the minute's");
    assert_eq!((world.passes(NOW, &ACME, 5), world.passes(NOW, &BETA, 5)), (3, 0));
    world.delete_override(&ACME);
    assert_eq!(world.passes(NOW, &ACME, 5), 2, "the hour was reset, too");

    assert_eq!(world.passes(NOW, &LOGIN, 2), 1);
    let done = world.reset(&LOGIN, false);
    assert_eq!((done.counters, done.blocks), (Some(1), 1));
    assert_eq!(world.passes(NOW, &LOGIN, 2), 1);
}

#[test]
fn a_reset_lifts_what_blocks_another_spelling_and_a_beginning_of_the_same() {
    let world = World::new();
    let spelled = |path| [("api_key", "acme"), ("path", path)];
    for prefix in [false, true] {
        world.block(about(&spelled("/v1/orders/7"), prefix), HOUR).unwrap();
        assert!(world.ask(NOW, &spelled("/v1/orders/8")).is_some());
        assert_eq!(world.reset(&spelled("/v1/orders/8"), false).blocks, 1);
        assert_eq!(world.ask(NOW, &spelled("/v1/orders/7")), None);
    }
}

#[test]
fn a_reset_of_a_beginning_empties_everything_below_it_and_later_counts_go_on() {
    let world = World::new();
    assert_eq!((world.passes(NOW, &ACME, 5), world.passes(NOW, &ORDERS, 5)), (2, 3));
    assert_eq!((world.passes(NOW, &BETA, 5), world.passes(NOW, &LOGIN, 2)), (2, 1));
    let done = world.reset(&ACME, true);
    assert_eq!((done.counters, done.blocks), (None, 1));
    assert_eq!((world.passes(NOW, &ACME, 5), world.passes(NOW, &ORDERS, 5), world.passes(NOW, &BETA, 5)), (2, 3, 0));
    world.load(RULES);
    assert_eq!((world.passes(NOW, &ACME, 5), world.passes(NOW, &ORDERS, 5)), (0, 0), "counted once more");
    world.reset(&ACME, true);
    assert_eq!(world.passes(NOW, &ACME, 5), 2);
    assert_eq!(world.passes(NOW, &LOGIN, 1), 1);
}

#[test]
fn orders_outlive_the_process_and_rules_that_come_and_go() {
    let state = tempfile::tempdir().unwrap();
    let world = World::with(RULES, Some(state.path()));
    assert!(world.instead(&ACME, false, "\"4/hour\"").unwrap().kept);
    assert!(world.block(about(&BETA, true), HOUR).unwrap().kept);
    world.reset(&ORDERS, true);
    assert_eq!(world.passes(NOW, &LOGIN, 2), 1);
    world.book.tidy(NOW);

    let again = World::with("domain: other", Some(state.path()));
    assert_eq!(again.book.overrides(NOW, Some("shop")).len(), 1);
    again.load(RULES);
    assert_eq!((again.passes(NOW, &ACME, 9), again.ask(NOW, &BETA)), (4, Some(3_600)));
    let (_, started, _) = again.book.blocks(NOW, None);
    assert_eq!(started, world.book.blocks(NOW, None).1);
    assert_eq!(started.len(), 1);
}

#[test]
fn a_file_that_is_damaged_anywhere_is_set_aside_and_nothing_of_it_is_believed() {
    let state = tempfile::tempdir().unwrap();
    let world = World::with(RULES, Some(state.path()));
    world.instead(&ACME, false, "\"4/hour\"").unwrap();
    let file = state.path().join("orders.json");
    let good = std::fs::read(&file).unwrap();
    let directory = Directory::new(state.path().to_owned()).unwrap();
    for place in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        for bad in [bad, good[..place].to_vec()] {
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(kept::load(&directory, NOW), Err(kept::Unreadable::Damaged(_))), "at {place}");
            assert!(!file.exists() && state.path().join("orders.json.damaged").exists());
        }
    }
    std::fs::write(&file, good).unwrap();
    assert_eq!(kept::load(&directory, NOW).unwrap().orders.count(Kind::Override, NOW), 1);
}

#[test]
fn an_ordered_block_wakes_none_of_a_rule_that_asks_for_no_blocks_any_more() {
    let world = World::with(
        "domain: shop\ndescriptors: [{key: api_key, limits: [1/minute], on_exceed: {block_for: 2h}}]",
        None,
    );
    assert_eq!(world.passes(NOW, &ACME, 2), 1);
    world.load("domain: shop\ndescriptors: [{key: api_key, limits: [9/minute]}]");
    world.block(about(&ACME, false), Nanos::from_secs(60)).unwrap();
    assert_eq!(world.ask(NOW, &ACME), Some(60));
}

#[test]
fn an_order_ends_when_the_clock_of_the_store_shows_its_end() {
    let world = World::new();
    // It is a minute ahead of ours.
    let minute = Nanos::from_secs(60);
    world.book.state.lock().ahead_ns = minute.0.cast_signed();
    world.block(about(&ACME, true), HOUR).unwrap();
    world.instead(&BETA, false, "\"4/hour\"").unwrap();
    {
        let state = world.book.state.lock();
        let ends: Vec<_> = state.orders.records().iter().map(|record| record.order.until().unwrap()).collect();
        assert_eq!(ends, [NOW.plus(HOUR).plus(minute); 2], "as all replicas are told");
    }
    assert_eq!(world.book.blocks(NOW, None).0[0].until, NOW.plus(HOUR), "as people here are told");
    assert_eq!(world.ask(Timestamp(NOW.plus(HOUR).0 - 1), &ACME), Some(1));
    assert_eq!(world.ask(NOW.plus(HOUR), &ACME), None);
    world.book.tidy(NOW.plus(HOUR));
    assert!(world.book.state.lock().orders.records().is_empty());
}

#[test]
fn what_is_kept_over_a_restart_is_as_old_as_before_and_so_is_what_was_taken_back() {
    let state = tempfile::tempdir().unwrap();
    let world = World::with(RULES, Some(state.path()));
    world.instead(&ACME, false, "\"4/hour\"").unwrap();
    world.block(about(&BETA, true), HOUR).unwrap();
    world.reset(&ORDERS, true);
    world.delete_override(&ACME);
    let told = |world: &World| {
        let state = world.book.state.lock();
        let lines = state.orders.records().into_iter().map(|it| (it.stamp, it.kept_until, entry::bytes_of(&it.order)));
        lines.collect::<Vec<_>>()
    };
    let again = World::with(RULES, Some(state.path()));
    assert_eq!((told(&again), told(&again).len()), (told(&world), 3));
    // A file from before there were stamps.
    let file = state.path().join("orders.json");
    let about = r#""about":{"domain":"shop","descriptor":[["api_key","beta"]],"prefix":true}"#;
    let until = NOW.plus(HOUR).0;
    let json = format!(
        r#"{{"version":1,"overrides":[],"blocks":[{{{about},"until_ns":{until}}}],"resets":[{{{about},"mark":"7"}}],"started":[]}}"#
    );
    std::fs::write(&file, format!("{:08x}\n{json}", crc32fast::hash(json.as_bytes()))).unwrap();
    let before = World::with(RULES, Some(state.path()));
    assert_eq!(before.book.blocks(NOW, None).0.len(), 1);
    assert_eq!(before.book.state.lock().orders.count(Kind::Reset, NOW), 1);
}
