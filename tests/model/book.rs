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
}

/// The book's decision.
#[derive(Debug, Default)]
pub struct ByTheBook {
    pub refused: bool,
    pub statuses: Vec<bool>,
}

impl Book {
    pub fn decide(&mut self, rules: &Rules, now: Timestamp, asks: &[(usize, usize, Ask)]) -> ByTheBook {
        let matched: Vec<(&RuleSpec, usize, usize, Ask)> =
            asks.iter().map(|&(key, value, ask)| (rules.rule(key, value), key, value, ask)).collect();
        if matched.iter().any(|(rule, ..)| rule.mode == Mode::Exempt) {
            return ByTheBook { refused: false, statuses: vec![false; asks.len()] };
        }
        for &(rule, key, value, _) in &matched {
            self.forget_empty_buckets(rule, key, value, now);
        }
        let denied = matched.iter().any(|(rule, ..)| rule.mode == Mode::Deny);
        let mut trial = self.clone();
        let (mut no_room, mut quota_seen, mut quota_room) = (denied, false, false);
        let mut statuses = vec![false; asks.len()];
        for (index, &(rule, key, value, ask)) in matched.iter().enumerate() {
            match rule.mode {
                Mode::Deny => statuses[index] = true,
                Mode::Exempt | Mode::Shadow => {}
                Mode::Enforce | Mode::Quota | Mode::Overdraw => {
                    let fits = trial.fits(rule, key, value, ask, now);
                    statuses[index] = !fits;
                    if rule.mode == Mode::Quota {
                        (quota_seen, quota_room) = (true, quota_room || fits);
                    } else {
                        no_room |= !fits;
                    }
                    if fits || stays(rule, ask) {
                        trial.charge(rule, key, value, ask, now);
                    }
                }
            }
        }
        let refused = no_room || (quota_seen && !quota_room);
        if refused {
            for &(rule, key, value, ask) in matched.iter().filter(|(rule, _, _, ask)| stays(rule, *ask)) {
                self.charge(rule, key, value, ask, now);
            }
        } else {
            *self = trial;
            for &(rule, key, value, ask) in matched.iter().filter(|(rule, ..)| rule.mode == Mode::Shadow) {
                if self.fits(rule, key, value, ask, now) || stays(rule, ask) {
                    self.charge(rule, key, value, ask, now);
                }
            }
        }
        ByTheBook { refused, statuses }
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

    fn fits(&self, rule: &RuleSpec, key: usize, value: usize, ask: Ask, now: Timestamp) -> bool {
        let asked = match (ask, rule.mode) {
            (Ask::GiveBack(_), _) => return true,
            (Ask::Look, _) | (Ask::Take(_), Mode::Overdraw) => 1,
            (Ask::Take(hits), _) => hits,
        };
        rule.limits.iter().all(|limit| {
            let history = self.histories.get(&name(rule, limit, key, value));
            has_room(history.map(Vec::as_slice).unwrap_or_default(), *limit, now.0, asked)
        })
    }

    fn charge(&mut self, rule: &RuleSpec, key: usize, value: usize, ask: Ask, now: Timestamp) {
        if !rule.counts() || ask == Ask::Look {
            return;
        }
        for limit in &rule.limits {
            let history = self.histories.entry(name(rule, limit, key, value)).or_default();
            history.push(Event { nanos: now.0, ask, limit: *limit });
        }
    }
}

/// Charged whether the request passes or not.
fn stays(rule: &RuleSpec, ask: Ask) -> bool {
    rule.mode == Mode::Overdraw || matches!(ask, Ask::GiveBack(_))
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
