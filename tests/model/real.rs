//! The real thing, from YAML to the decision, in the terms that the book knows.

use std::{fmt::Write as _, path::Path, sync::Arc};

use tallygate::{
    charge::CounterKey,
    config::{Compiled, DomainDefaults, RuleFile, compile, override_limits},
    decision::{decide, plan},
    request::{Ask, Descriptor, Entry, Request},
    rules::{
        Orders,
        identity::HashKey,
        orders::{Order, Override, Reach, Reset},
    },
    store::memory::Memory,
    units::Timestamp,
};

use crate::{
    book::{Algorithm, LimitSpec, Mode, RuleSpec, Rules},
    on_redis::OnRedis,
};

const HASH_KEY: HashKey = HashKey::Secret([3; 16]);
pub const KEYS: [&str; 3] = ["account", "address", "tokens"];

fn yaml(rules: &Rules) -> String {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for (key, rule) in KEYS.iter().zip(&rules.for_all) {
        write_rule(&mut text, &format!("key: {key}"), rule);
    }
    if let Some((key, rule)) = &rules.for_v1 {
        write_rule(&mut text, &format!("key: {}, value: v1", KEYS[*key]), rule);
    }
    text
}

fn write_rule(text: &mut String, matcher: &str, rule: &RuleSpec) {
    let mode = match rule.mode {
        Mode::Enforce => "",
        Mode::Quota => ", mode: quota",
        Mode::Shadow => ", mode: shadow",
        Mode::Overdraw => ", overdraw: true",
        Mode::Exempt => ", exempt: true",
        Mode::Deny => ", deny: true",
    };
    let block = rule.blocks_for().map(|secs| format!(", on_exceed: {{block_for: {secs}s}}")).unwrap_or_default();
    let limits = if rule.counts() { format!(", limits: [{}]", list(&rule.limits)) } else { String::new() };
    writeln!(text, "  - {{{matcher}{mode}{limits}{block}}}").expect("a String can be written to");
}

fn list(limits: &[LimitSpec]) -> String {
    let limits = limits.iter().map(|limit| {
        let (algorithm, burst) = match limit.algorithm {
            Algorithm::Fixed => ("fixed_window", String::new()),
            Algorithm::Sliding => ("sliding_window", String::new()),
            Algorithm::Bucket { burst } => ("token_bucket", format!(", burst: {burst}")),
        };
        format!(
            "{{rate: {}/{}s, algorithm: {algorithm}{burst}, name: {algorithm}-{}}}",
            limit.count, limit.secs, limit.secs
        )
    });
    limits.collect::<Vec<String>>().join(", ")
}

pub fn load(rules: &Rules) -> Compiled {
    let text = yaml(rules);
    let file = RuleFile { name: "model".into(), path: "model.yaml".into(), text: text.clone().into() };
    let no_lists = &mut |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    compile(&[file], DomainDefaults::default(), no_lists).unwrap_or_else(|errors| panic!("{errors:?} in\n{text}"))
}

/// What was decided, in the terms that the book knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Decided {
    pub refused: bool,
    pub statuses: Vec<bool>,
    pub retry_after_secs: Option<u64>,
    pub never: bool,
}

/// Where counters live.
pub enum Counters {
    Memory(Memory),
    Redis(Arc<OnRedis>),
}

/// The real thing: the store, and the rules that are in force.
pub struct Real {
    pub counters: Counters,
    pub compiled: Compiled,
    orders: Orders,
    marks: u128,
}

impl Real {
    pub fn new(rules: &Rules, max_counters: usize) -> Self {
        Self::over(Counters::Memory(Memory::new(max_counters)), rules)
    }

    pub fn over(counters: Counters, rules: &Rules) -> Self {
        Self { counters, compiled: load(rules), orders: Orders::default(), marks: 0 }
    }

    /// The store, where it is in memory.
    pub fn memory(&self) -> &Memory {
        match &self.counters {
            Counters::Memory(memory) => memory,
            Counters::Redis(_) => panic!("counters are in Redis"),
        }
    }

    pub fn decide(&self, now: Timestamp, asks: &[(usize, usize, Ask)]) -> Decided {
        let values: Vec<String> = asks.iter().map(|(_, value, _)| format!("v{value}")).collect();
        let request = request(asks, &values);
        let domain = &self.compiled.rules.domains[&b"d"[..]];
        let find = |descriptor: &Descriptor| {
            domain.find_under(Some(&self.orders), now, request.entries_of(descriptor), None, &HASH_KEY)
        };
        let found: Vec<_> = request.descriptors.iter().map(find).collect();
        let plan = plan(Some(domain), &request, &found);
        let verdicts = match &self.counters {
            Counters::Memory(memory) => memory.charge(now, &plan.charges),
            Counters::Redis(redis) => redis.charge(now, &plan.charges),
        };
        let decision = decide(now, Some(domain), &found, &plan, &verdicts);
        Decided {
            refused: decision.refused,
            statuses: decision.statuses.iter().map(|status| status.refused).collect(),
            retry_after_secs: decision.answer.as_ref().and_then(|answer| answer.retry_after_secs),
            never: decision.answer.as_ref().is_some_and(|answer| answer.never),
        }
    }

    /// Drops everything that has expired.
    pub fn sweep(&self, now: Timestamp) {
        // Each call looks at one shard of the 1,024.
        (0..1_024).for_each(|_| self.memory().expire_some(now));
    }

    /// Lifts the block on a key's value, if its rule knows of blocks; says whether it does.
    pub fn lift(&self, now: Timestamp, key: usize, value: usize) -> bool {
        let value = format!("v{value}");
        let entries = [Entry { key: KEYS[key].as_bytes(), value: value.as_bytes() }];
        let domain = &self.compiled.rules.domains[&b"d"[..]];
        let gates = domain.find_under(Some(&self.orders), now, &entries, None, &HASH_KEY).gates;
        let mut started = gates.iter().filter(|gate| gate.ordered_until == Timestamp::EPOCH).peekable();
        let any = started.peek().is_some();
        started.for_each(|gate| match &self.counters {
            Counters::Memory(memory) => _ = memory.lift(CounterKey(gate.key), now),
            Counters::Redis(redis) => redis.lift(now, CounterKey(gate.key)),
        });
        any
    }

    /// Empties the counters of a key's value: those that count now, or all that ever did.
    pub fn reset(&mut self, now: Timestamp, key: usize, value: usize, all: bool) {
        if all {
            self.marks += 1;
            // Unlike each other in all bits, as random ones are.
            let mark = self.marks.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            self.order(key, value, Reach::Beginning(1)).reset = Some(Reset { mark, last_met_secs: Arc::default() });
            return;
        }
        let values = [format!("v{value}")];
        let request = request(&[(key, value, Ask::Look)], &values);
        let domain = &self.compiled.rules.domains[&b"d"[..]];
        let found = [domain.find_under(Some(&self.orders), now, &request.entries, None, &HASH_KEY)];
        let charges = plan(Some(domain), &request, &found).charges;
        match &self.counters {
            Counters::Memory(memory) => _ = memory.reset(now, &charges),
            Counters::Redis(redis) => redis.reset(now, &charges),
        }
    }

    pub fn order_block(&mut self, key: usize, value: usize, until: Timestamp) {
        self.order(key, value, Reach::Whole).blocked_until = until;
    }

    pub fn override_limits(&mut self, key: usize, value: usize, limits: Option<&[LimitSpec]>) {
        let limits = limits.map(|limits| {
            let text = format!("{{limits: [{}]}}", list(limits));
            Arc::new(override_limits(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
        });
        let instead = limits.map(|limits| Override { until: Timestamp::MAX, limits });
        self.order(key, value, Reach::Whole).instead = instead;
    }

    fn order(&mut self, key: usize, value: usize, reach: Reach) -> &mut Order {
        let value = format!("v{value}");
        let entries = [Entry { key: KEYS[key].as_bytes(), value: value.as_bytes() }];
        let name = self.compiled.rules.domains[&b"d"[..]].order_name(&entries, &HASH_KEY);
        self.orders.at(name, reach)
    }
}

fn request<'v>(asks: &[(usize, usize, Ask)], values: &'v [String]) -> Request<'v> {
    let mut request = Request { domain: b"d", ..Request::default() };
    for (&(key, _, ask), value) in asks.iter().zip(values) {
        let (hits, gives_back) = match ask {
            Ask::Take(hits) => (hits, false),
            Ask::Look => (0, false),
            Ask::GiveBack(hits) => (hits, true),
        };
        request.descriptors.push(Descriptor {
            first_entry: u32::try_from(request.entries.len()).expect("few"),
            entry_count: 1,
            limit: None,
            hits: Some(hits),
            gives_back,
        });
        request.entries.push(Entry { key: KEYS[key].as_bytes(), value: value.as_bytes() });
    }
    request
}
