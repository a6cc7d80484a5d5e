//! The model: `rules.md`'s "Deciding" word for word, over the full history of every counter.

use std::collections::HashMap;

use tallygate::{request::Ask, units::Timestamp};

/// A rule set as a test writes it: one rule a key, and perhaps one for the value `v1` of a key.
#[derive(Clone, Debug)]
pub struct Rules {
    pub for_all: [RuleSpec; 3],
    pub for_v1: Option<(usize, RuleSpec)>,
}

#[derive(Clone, Debug)]
pub struct RuleSpec {
    pub mode: Mode,
    pub limits: Vec<LimitSpec>,
    /// `on_exceed: {block_for}`, of a rule that counts.
    pub block_secs: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Quota,
    Shadow,
    Overdraw,
    Exempt,
    Deny,
}

#[derive(Clone, Copy, Debug)]
pub struct LimitSpec {
    pub algorithm: Algorithm,
    pub secs: u64,
    pub count: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    Fixed,
    Sliding,
    Bucket { burst: u64 },
}

impl Rules {
    pub fn rule(&self, key: usize, value: usize) -> &RuleSpec {
        match &self.for_v1 {
            Some((of, rule)) if *of == key && value == 1 => rule,
            _ => &self.for_all[key],
        }
    }
}

impl RuleSpec {
    /// Whether it has limits at all.
    pub fn counts(&self) -> bool {
        !matches!(self.mode, Mode::Exempt | Mode::Deny)
    }

    /// How long a block is that its refusal starts; None: no block means anything to it.
    pub fn blocks_for(&self) -> Option<u64> {
        self.block_secs.filter(|_| self.counts())
    }
}

impl LimitSpec {
    /// The most that it can hold.
    fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::Bucket { burst } if self.count > 0 => burst,
            _ => self.count,
        }
    }
}

impl Algorithm {
    /// What of it names a counter: the burst does not.
    pub fn kind(self) -> u8 {
        match self {
            Self::Fixed => 0,
            Self::Sliding => 1,
            Self::Bucket { .. } => 2,
        }
    }
}

/// What names a counter: key, value, algorithm, length, shadow.
type Name = (usize, usize, u8, u64, bool);

/// One charge or refund, and the count of the limit at the time.
#[derive(Clone, Copy, Debug)]
struct Event {
    nanos: u64,
    ask: Ask,
    limit: LimitSpec,
}

/// Everything that was ever charged and given back.
#[derive(Clone, Debug, Default)]
pub struct Book {
    histories: HashMap<Name, Vec<Event>>,
    /// The end in nanoseconds of the block on a key's value.
    blocks: HashMap<(usize, usize), u64>,
    /// The end of the block that was ordered on one.
    ordered: HashMap<(usize, usize), u64>,
    /// The limits that were ordered in the place of a rule's.
    overrides: HashMap<(usize, usize), Vec<LimitSpec>>,
}

/// The book's decision.
#[derive(Debug, Default)]
pub struct ByTheBook {
    pub refused: bool,
    pub statuses: Vec<bool>,
}

impl Book {
    pub fn decide(&mut self, rules: &Rules, now: Timestamp, asks: &[(usize, usize, Ask)]) -> ByTheBook {
        let in_force: Vec<RuleSpec> = asks.iter().map(|&(key, value, _)| self.in_force(rules, key, value)).collect();
        let matched: Vec<Asked<'_>> =
            asks.iter().zip(&in_force).map(|(&(key, value, ask), rule)| Asked { rule, key, value, ask }).collect();
        let blocked: Vec<bool> = matched.iter().map(|asked| self.is_blocked(asked, now)).collect();
        if matched.iter().any(|asked| asked.rule.mode == Mode::Exempt) {
            return ByTheBook { refused: blocked.contains(&true), statuses: blocked };
        }
        for asked in &matched {
            self.forget_empty_buckets(asked.rule, asked.key, asked.value, now);
        }
        let mut trial = self.clone();
        let mut no_room = blocked.contains(&true) || matched.iter().any(|asked| asked.rule.mode == Mode::Deny);
        let (mut quota_seen, mut quota_room) = (false, false);
        let mut fitting = vec![true; asks.len()];
        for (index, asked) in matched.iter().enumerate().filter(|(_, asked)| asked.rule.counts()) {
            if asked.rule.mode == Mode::Shadow {
                continue;
            }
            let fits = trial.fits(asked, now);
            fitting[index] = fits;
            if asked.rule.mode == Mode::Quota {
                (quota_seen, quota_room) = (true, quota_room || fits);
            } else {
                no_room |= !fits;
            }
            if (fits && !blocked[index]) || asked.stays() {
                trial.charge(asked, now);
            }
        }
        let refused = no_room || (quota_seen && !quota_room);
        if refused {
            matched.iter().filter(|asked| asked.stays()).for_each(|asked| self.charge(asked, now));
            let spared = |index: usize| quota_room && matched[index].rule.mode == Mode::Quota;
            let refusing = |index: usize| !fitting[index] && !spared(index);
            for index in (0..asks.len()).filter(|&index| refusing(index) && !blocked[index]) {
                if !asks_too_much(&matched, &fitting, index) {
                    self.block(&matched[index], now);
                }
            }
        } else {
            *self = trial;
            for asked in matched.iter().filter(|asked| asked.rule.mode == Mode::Shadow) {
                if self.fits(asked, now) || asked.stays() {
                    self.charge(asked, now);
                }
            }
        }
        let over =
            |(index, asked): (usize, &Asked<'_>)| blocked[index] || !fitting[index] || asked.rule.mode == Mode::Deny;
        ByTheBook { refused, statuses: matched.iter().enumerate().map(over).collect() }
    }

    /// Charges what somebody else let through.
    pub fn admit(&mut self, rules: &Rules, now: Timestamp, asks: &[(usize, usize, Ask)]) {
        for &(key, value, ask) in asks {
            self.charge(&Asked { rule: rules.rule(key, value), key, value, ask }, now);
        }
    }

    /// The operator lifts what stands on a key's value.
    pub fn lift(&mut self, key: usize, value: usize) {
        self.blocks.remove(&(key, value));
    }

    /// The operator refuses a key's value until then.
    pub fn order_block(&mut self, key: usize, value: usize, until: Timestamp) {
        self.ordered.insert((key, value), until.0);
    }

    /// The operator gives a key's value other limits, or those of its rule again.
    pub fn override_limits(&mut self, key: usize, value: usize, limits: Option<Vec<LimitSpec>>) {
        self.overrides.remove(&(key, value));
        self.overrides.extend(limits.map(|limits| ((key, value), limits)));
    }

    /// The operator empties the counters of a key's value that count now, or all that ever did.
    pub fn reset(&mut self, rules: &Rules, key: usize, value: usize, all: bool) {
        let rule = self.in_force(rules, key, value);
        let counting: Vec<Name> = rule.limits.iter().map(|limit| name(&rule, limit, key, value)).collect();
        let counts = rule.counts();
        let gone = |it: &Name| (it.0, it.1) == (key, value) && (all || (counts && counting.contains(it)));
        self.histories.retain(|it, _| !gone(it));
        if all || rule.blocks_for().is_some() {
            self.lift(key, value);
        }
    }

    fn in_force(&self, rules: &Rules, key: usize, value: usize) -> RuleSpec {
        let mut rule = rules.rule(key, value).clone();
        if let Some(limits) = self.overrides.get(&(key, value)).filter(|_| rule.counts()) {
            rule.limits.clone_from(limits);
        }
        rule
    }

    /// A block means something to a descriptor whose rule starts blocks itself, but not to a refund.
    fn is_blocked(&self, asked: &Asked<'_>, now: Timestamp) -> bool {
        let end = |blocks: &HashMap<_, u64>| blocks.get(&(asked.key, asked.value)).copied().unwrap_or(0);
        let started = asked.rule.blocks_for().is_some() && now.0 < end(&self.blocks);
        (started || now.0 < end(&self.ordered)) && !matches!(asked.ask, Ask::GiveBack(_))
    }

    fn block(&mut self, asked: &Asked<'_>, now: Timestamp) {
        let Some(secs) = asked.rule.blocks_for() else { return };
        // Its end is told in whole milliseconds.
        let end = (now.0 + secs * 1_000_000_000) / 1_000_000 * 1_000_000;
        self.blocks.insert((asked.key, asked.value), end);
    }

    /// A bucket that is seen empty is a new one, whatever the next rule's rate.
    fn forget_empty_buckets(&mut self, rule: &RuleSpec, key: usize, value: usize, now: Timestamp) {
        let buckets = rule.limits.iter().filter(|limit| matches!(limit.algorithm, Algorithm::Bucket { .. }));
        for limit in buckets.filter(|_| rule.counts()) {
            if let Some(history) = self.histories.get_mut(&name(rule, limit, key, value))
                && level(history, *limit, now.0) == 0
            {
                history.clear();
            }
        }
    }

    fn fits(&self, asked: &Asked<'_>, now: Timestamp) -> bool {
        let hits = asked.room();
        asked.rule.limits.iter().all(|limit| {
            let history = self.histories.get(&asked.counter(limit));
            hits == 0 || has_room(history.map(Vec::as_slice).unwrap_or_default(), *limit, now.0, hits)
        })
    }

    fn charge(&mut self, asked: &Asked<'_>, now: Timestamp) {
        if !asked.rule.counts() || asked.ask == Ask::Look {
            return;
        }
        for limit in &asked.rule.limits {
            let history = self.histories.entry(asked.counter(limit)).or_default();
            history.push(Event { nanos: now.0, ask: asked.ask, limit: *limit });
        }
    }
}

/// One descriptor and its rule.
#[derive(Clone, Copy, Debug)]
struct Asked<'r> {
    rule: &'r RuleSpec,
    key: usize,
    value: usize,
    ask: Ask,
}

impl Asked<'_> {
    /// Charged whether the request passes or not.
    fn stays(&self) -> bool {
        self.rule.mode == Mode::Overdraw || matches!(self.ask, Ask::GiveBack(_))
    }

    /// The room that it needs to fit.
    fn room(&self) -> u64 {
        match (self.ask, self.rule.mode) {
            (Ask::GiveBack(_), _) => 0,
            (Ask::Look, _) | (Ask::Take(_), Mode::Overdraw) => 1,
            (Ask::Take(hits), _) => hits,
        }
    }

    fn counter(&self, limit: &LimitSpec) -> Name {
        name(self.rule, limit, self.key, self.value)
    }
}

/// Whether the descriptor at `index` could never fit into a window that has no room for it: what it asks, together with
/// what the request's earlier descriptors take from the same counter, is more than the window can hold.
fn asks_too_much(matched: &[Asked<'_>], fitting: &[bool], index: usize) -> bool {
    let asked = &matched[index];
    asked.rule.limits.iter().any(|limit| {
        let earlier = matched[..index].iter().zip(fitting).filter(|(other, fits)| {
            let meets =
                other.rule.counts() && other.rule.limits.iter().any(|own| other.counter(own) == asked.counter(limit));
            meets && (**fits || other.rule.mode != Mode::Quota)
        });
        let ahead = earlier.map(|(other, _)| if let Ask::Take(hits) = other.ask { hits } else { 0 });
        ahead.fold(asked.room(), u64::saturating_add) > limit.capacity()
    })
}

fn name(rule: &RuleSpec, limit: &LimitSpec, key: usize, value: usize) -> Name {
    (key, value, limit.algorithm.kind(), limit.secs, rule.mode == Mode::Shadow)
}

fn has_room(history: &[Event], limit: LimitSpec, now: u64, asked: u64) -> bool {
    let length = limit.secs * 1_000_000_000;
    let (asked, count) = (u128::from(asked), u128::from(limit.count));
    match limit.algorithm {
        Algorithm::Fixed => {
            let (_, used) = windows(history, now / length, length);
            u128::from(used) + asked <= count
        }
        Algorithm::Sliding => {
            let (last, used) = windows(history, now / length, length);
            let reach = u128::from(length - now % length);
            // used + last × reach / length + asked ≤ count, multiplied out.
            u128::from(used) + asked <= count
                && u128::from(last) * reach <= (count - u128::from(used) - asked) * u128::from(length)
        }
        Algorithm::Bucket { burst } => {
            let level = level(history, limit, now);
            count > 0 && level + asked * u128::from(length) <= u128::from(burst) * u128::from(length)
        }
    }
}

/// The hits of window `number` and of the one before it. A refund goes to its own window, what is more to the one
/// before; neither falls below zero.
fn windows(history: &[Event], number: u64, length: u64) -> (u64, u64) {
    let mut hits: HashMap<u64, u64> = HashMap::new();
    for event in history {
        let window = event.nanos / length;
        let own = hits.get(&window).copied().unwrap_or(0);
        match event.ask {
            Ask::Take(taken) => _ = hits.insert(window, own.saturating_add(taken)),
            Ask::GiveBack(given) => {
                hits.insert(window, own.saturating_sub(given));
                if let Some(last) = hits.get_mut(&(window - 1)) {
                    *last = last.saturating_sub(given.saturating_sub(own));
                }
            }
            Ask::Look => {}
        }
    }
    let of = |window: u64| hits.get(&window).copied().unwrap_or(0);
    (of(number - 1), of(number))
}

/// What is in the bucket, in units of 1/length of a hit: it drains by `count` of them a nanosecond.
fn level(history: &[Event], limit: LimitSpec, now: u64) -> u128 {
    let length = u128::from(limit.secs) * 1_000_000_000;
    let (mut level, mut last) = (0u128, 0u64);
    let drained = |level: u128, nanos: u64, count: u64| level.saturating_sub(u128::from(nanos) * u128::from(count));
    for event in history {
        // A changed rate holds for all the time since the bucket was last touched.
        level = drained(level, event.nanos - last, event.limit.count);
        level = match event.ask {
            // A counter holds at most 2⁶⁴ − 1 whole hits.
            Ask::Take(hits) => (level + u128::from(hits) * length).min(u128::from(u64::MAX) * length + level % length),
            Ask::GiveBack(hits) => level.saturating_sub(u128::from(hits) * length),
            Ask::Look => level,
        };
        last = event.nanos;
    }
    drained(level, now - last, limit.count)
}
