//! `settle` against a model that keeps the full history of every counter and decides by the book.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    charge::{CounterKey, Gate},
    limit::{Algorithm, Limit, Window},
    units::Nanos,
};

/// Windows of ten and of thirty seconds, so that several edges fall into a history.
const LENGTHS: [u64; 2] = [10, 30];

/// What flows into a token bucket in such a window: the same for all rows, or who looks would decide how fast it drains.
const FLOWS: [u64; 2] = [7, 11];

/// How the two windows of every counter count.
type Kinds = [Kind; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed,
    Sliding,
    Bucket,
}

/// One request as a test writes it: for each descriptor its counter, role, number, ask.
#[derive(Clone, Debug)]
struct Row {
    counter: usize,
    role: Role,
    /// The number of its limit in either window; the burst of a bucket.
    counts: [u64; 2],
    ask: Ask,
    /// Where it may be blocked, and for how many seconds it blocks itself there.
    gate: Option<(usize, Option<u64>)>,
}

/// Everything that was ever charged: (second, hits) for each counter and window, in order; and when the block at each
/// gate ends.
#[derive(Clone)]
struct History {
    kinds: Kinds,
    events: HashMap<(usize, usize), Vec<(u64, i128)>>,
    blocks: HashMap<usize, u64>,
}

impl History {
    fn new(kinds: Kinds) -> Self {
        Self { kinds, events: HashMap::new(), blocks: HashMap::new() }
    }

    /// The hits that count now, rounded up.
    fn used(&self, counter: (usize, usize), now: u64) -> u64 {
        let length = i128::from(LENGTHS[counter.1]);
        let used = match self.kinds[counter.1] {
            Kind::Fixed => self.window(counter, now, 0),
            Kind::Sliding => {
                let reach = length - i128::from(now % LENGTHS[counter.1]);
                let older = self.window(counter, now, 1) * reach;
                self.window(counter, now, 0) + (older + length - 1) / length
            }
            Kind::Bucket => (self.level(counter, now) + length - 1) / length,
        };
        u64::try_from(used.min(i128::from(u64::MAX))).expect("never below zero")
    }

    /// The hits of the window so many before the present one.
    fn window(&self, counter: (usize, usize), now: u64, back: u64) -> i128 {
        let window = now / LENGTHS[counter.1] - back;
        let in_window = |&&(at, _): &&(u64, i128)| at / LENGTHS[counter.1] == window;
        self.events.get(&counter).into_iter().flatten().filter(in_window).map(|(_, hits)| hits).sum()
    }

    /// The hits in a bucket, in units of 1/length, found by playing everything that happened to it.
    fn level(&self, counter: (usize, usize), now: u64) -> i128 {
        let (length, flow) = (i128::from(LENGTHS[counter.1]), i128::from(FLOWS[counter.1]));
        let (mut level, mut last) = (0, 0);
        for &(at, hits) in self.events.get(&counter).into_iter().flatten().chain([&(now, 0)]) {
            level = (level - i128::from(at - last) * flow).max(0) + hits * length;
            (level, last) = (level.max(0), at);
        }
        level
    }

    fn add(&mut self, counter: (usize, usize), now: u64, hits: i128) {
        let length = LENGTHS[counter.1];
        let most = i128::from(u64::MAX);
        let mut events = Vec::new();
        match self.kinds[counter.1] {
            Kind::Bucket => events.push((now, hits.min(most - self.level(counter, now) / i128::from(length)))),
            kind => {
                let used = self.window(counter, now, 0);
                events.push((now, hits.clamp(-used, most - used)));
                if kind == Kind::Sliding {
                    let older = self.window(counter, now, 1);
                    events.push((now - length, (hits + used).clamp(-older, 0)));
                }
            }
        }
        self.events.entry(counter).or_default().extend(events);
    }
}

impl Row {
    fn counters(&self) -> [(usize, usize); 2] {
        // Shadow limits have counters of their own.
        let own = if self.role == Role::Shadow { 10 } else { 0 };
        [(self.counter + own, 0), (self.counter + own, 1)]
    }

    fn fits(&self, history: &History, now: u64) -> bool {
        (0..2).all(|window| self.fits_in(window, history, now))
    }

    fn fits_in(&self, window: usize, history: &History, now: u64) -> bool {
        let left = self.counts[window].saturating_sub(history.used(self.counters()[window], now));
        left >= self.asked()
    }

    /// The room it needs.
    fn asked(&self) -> u64 {
        match (self.ask, self.role) {
            (Ask::GiveBack(_), _) => 0,
            (Ask::Look, _) | (Ask::Take(_), Role::Overdraw) => 1,
            (Ask::Take(hits), _) => hits,
        }
    }

    /// Refunds meet no gate.
    fn gate(&self) -> Option<(usize, Option<u64>)> {
        self.gate.filter(|_| !matches!(self.ask, Ask::GiveBack(_)))
    }

    fn blocked(&self, history: &History, now: u64) -> bool {
        self.gate().is_some_and(|(gate, _)| history.blocks.get(&gate).is_some_and(|&end| now < end))
    }

    fn charge(&self, history: &mut History, now: u64) {
        let hits = match self.ask {
            Ask::Take(hits) => i128::from(hits),
            Ask::GiveBack(hits) => -i128::from(hits),
            Ask::Look => 0,
        };
        for counter in self.counters() {
            history.add(counter, now, hits);
        }
    }

    /// Whether each window in which it finds no room is large enough for it and what the same request asked before.
    fn can_ever_fit(&self, history: &History, demand: &HashMap<(usize, usize), u64>, now: u64) -> bool {
        self.counters().into_iter().enumerate().all(|(window, counter)| {
            let whole = demand.get(&counter).copied().unwrap_or(0).saturating_add(self.asked());
            self.fits_in(window, history, now) || whole <= self.counts[window]
        })
    }

    fn add_demand(&self, history: &History, demand: &mut HashMap<(usize, usize), u64>, now: u64) {
        let Ask::Take(hits) = self.ask else { return };
        // A quota descriptor without room takes nothing the next time either.
        if self.role == Role::Quota && !self.fits(history, now) {
            return;
        }
        for counter in self.counters() {
            let demand = demand.entry(counter).or_default();
            *demand = demand.saturating_add(hits);
        }
    }

    fn stays(&self) -> bool {
        self.role == Role::Overdraw || matches!(self.ask, Ask::GiveBack(_))
    }
}

/// `rules.md`, "Deciding", 2 to 5, word for word.
fn by_the_book(rows: &[Row], history: &mut History, now: u64) -> bool {
    let mut trial = history.clone();
    let (mut refused, mut quota_seen, mut quota_room) = (false, false, false);
    let mut without_room = Vec::new();
    let mut demand: HashMap<(usize, usize), u64> = HashMap::new();
    refused |= rows.iter().any(|row| row.blocked(history, now));
    for row in rows.iter().filter(|row| row.role != Role::Shadow) {
        let (fits, blocked) = (row.fits(&trial, now), row.blocked(history, now));
        match row.role {
            Role::Quota => (quota_seen, quota_room) = (true, quota_room || fits),
            _ => refused |= !fits,
        }
        if !fits && !blocked && row.can_ever_fit(&trial, &demand, now) {
            without_room.push(row);
        }
        row.add_demand(&trial, &mut demand, now);
        if (fits && !blocked) || row.stays() {
            row.charge(&mut trial, now);
        }
    }
    refused |= quota_seen && !quota_room;
    if refused {
        for row in without_room.into_iter().filter(|row| row.role != Role::Quota || !quota_room) {
            if let Some((gate, Some(secs))) = row.gate() {
                let end = history.blocks.entry(gate).or_default();
                *end = (now + secs).max(*end);
            }
        }
        for row in rows.iter().filter(|row| row.stays()) {
            row.charge(history, now);
        }
        return true;
    }
    *history = trial;
    for row in rows.iter().filter(|row| row.role == Role::Shadow) {
        if row.fits(history, now) || row.stays() {
            row.charge(history, now);
        }
    }
    false
}

/// envoyproxy/ratelimit: charge, then compare; quota and shadow as ever.
fn each_by_the_book(rows: &[Row], history: &mut History, now: u64) -> bool {
    let (mut refused, mut quota_seen, mut quota_room) = (false, false, false);
    for row in rows {
        row.charge(history, now);
        let within = |(window, counter)| history.used(counter, now) <= row.counts[window];
        let fits = matches!(row.ask, Ask::GiveBack(_)) || row.counters().into_iter().enumerate().all(within);
        match row.role {
            Role::Shadow => {}
            Role::Quota => (quota_seen, quota_room) = (true, quota_room || fits),
            Role::Enforced | Role::Overdraw => refused |= !fits,
        }
    }
    refused || (quota_seen && !quota_room)
}

/// The limits of all rows, so that charges can borrow them.
fn limits(rows: &[Row], kinds: Kinds) -> Vec<[Limit; 2]> {
    let limit = |row: &Row, window: usize| {
        let (count, length) = (row.counts[window], Window::Length(Nanos::from_secs(LENGTHS[window])));
        match kinds[window] {
            Kind::Fixed => Limit { count, window: length, algorithm: Algorithm::FixedWindow },
            Kind::Sliding => Limit { count, window: length, algorithm: Algorithm::SlidingWindow },
            Kind::Bucket => {
                Limit { count: FLOWS[window], window: length, algorithm: Algorithm::TokenBucket { burst: count } }
            }
        }
    };
    rows.iter().map(|row| [limit(row, 0), limit(row, 1)]).collect()
}

fn charges<'p>(rows: &[Row], limits: &'p [[Limit; 2]], way: Way) -> (Charges<'p>, Vec<u32>) {
    let (mut charges, mut slot_of) = (Charges { way, ..Charges::default() }, Vec::new());
    for ((descriptor, row), pair) in (0..).zip(rows).zip(limits) {
        for ((counter, window), limit) in row.counters().into_iter().zip(pair) {
            let slot = u32::try_from(counter * 2 + window).expect("few counters");
            charges.list.push(Charge {
                key: CounterKey(u128::from(slot)),
                limit,
                ask: row.ask,
                role: row.role,
                descriptor,
                group: 0,
            });
            slot_of.push(slot);
        }
    }
    for (descriptor, row) in (0..).zip(rows) {
        if let (Some((gate, starts)), Way::AllOrNone) = (row.gate(), way) {
            let slot = u32::try_from(FIRST_GATE + gate).expect("few gates");
            let starts = starts.map(Nanos::from_secs);
            charges.gates.push(Gate {
                key: CounterKey(u128::from(slot)),
                descriptor,
                starts,
                ordered_until: Timestamp::EPOCH,
            });
            slot_of.push(slot);
        }
    }
    (charges, slot_of)
}

/// The counters of two windows, those of shadow limits from the tenth on; then the gates.
const FIRST_GATE: usize = 26;
const GATES: usize = 3;

fn row() -> impl Strategy<Value = Row> {
    let role = prop::sample::select(vec![
        Role::Enforced,
        Role::Enforced,
        Role::Enforced,
        Role::Quota,
        Role::Overdraw,
        Role::Shadow,
    ]);
    let ask = prop_oneof![
        5 => (1u64..5).prop_map(Ask::Take),
        1 => Just(Ask::Look),
        1 => (0u64..4).prop_map(Ask::GiveBack),
        1 => prop::sample::select(vec![Ask::Take(u64::MAX), Ask::GiveBack(u64::MAX), Ask::Take(7)]),
    ];
    let gate = prop::option::of((0..GATES, prop::option::of(1u64..50)));
    (0usize..3, role, [0u64..9, 0u64..15], ask, gate).prop_map(|(counter, role, counts, ask, gate)| Row {
        counter,
        role,
        counts,
        ask,
        gate,
    })
}

fn kinds() -> impl Strategy<Value = Kinds> {
    let kind = || prop::sample::select(vec![Kind::Fixed, Kind::Sliding, Kind::Bucket]);
    [kind(), kind()]
}

fn trace() -> impl Strategy<Value = Vec<(u64, Vec<Row>)>> {
    prop::collection::vec((0u64..8, prop::collection::vec(row(), 0..4)), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn decisions_and_counters_are_those_of_a_model_with_full_histories(
        trace in trace(), kinds in kinds(), way in prop::sample::select(vec![Way::AllOrNone, Way::EachAlone]),
    ) {
        let kinds = if way == Way::EachAlone { [Kind::Fixed; 2] } else { kinds };
        let mut counters = [Counter::default(); FIRST_GATE + GATES];
        let (mut now, mut history) = (1_000, History::new(kinds));
        for (step, rows) in trace {
            now += step;
            let limits = limits(&rows, kinds);
            let (charges, slot_of) = charges(&rows, &limits, way);
            let verdicts = settle(&charges, &slot_of, &mut counters, Timestamp::from_secs(now));
            let expected = match way {
                Way::AllOrNone => by_the_book(&rows, &mut history, now),
                Way::EachAlone => each_by_the_book(&rows, &mut history, now),
            };
            prop_assert_eq!(verdicts.refused, expected, "at {} s: {:?}", now, rows);
            for (charge, slot) in charges.list.iter().zip(slot_of) {
                let at = Timestamp::from_secs(now);
                let used = charge.limit.standing(charge.limit.at(counters[slot as usize], at), at).used;
                let (number, window) = (slot as usize / 2, slot as usize % 2);
                prop_assert_eq!(used, history.used((number, window), now), "at {} s: {:?}", now, rows);
            }
            for gate in 0..GATES {
                let end = history.blocks.get(&gate).copied().unwrap_or(0);
                let block = gate::at(counters[FIRST_GATE + gate], Timestamp::from_secs(now));
                prop_assert_eq!(block.time, Timestamp::from_secs(if now < end { end } else { 0 }), "gate {}", gate);
            }
        }
    }

    /// Refusals charge nothing, so the same request can be tried again at any later time.
    #[test]
    fn a_refused_request_passes_when_it_was_told_to_and_not_a_tick_earlier(
        trace in trace(), kinds in kinds(), early in prop_oneof![Just(1), 1u64..30_000_000_000],
    ) {
        let (mut now, mut counters) = (1_000, [Counter::default(); FIRST_GATE + GATES]);
        for (step, mut rows) in trace {
            now += step;
            rows.retain(|row| matches!(row.role, Role::Enforced) && !matches!(row.ask, Ask::GiveBack(_)));
            let limits = limits(&rows, kinds);
            let (charges, slot_of) = charges(&rows, &limits, Way::AllOrNone);
            let at = Timestamp::from_secs(now);
            let verdicts = settle(&charges, &slot_of, &mut counters, at);
            if !verdicts.refused {
                continue;
            }
            let refused_at = |then: Timestamp| settle(&charges, &slot_of, &mut counters.clone(), then).refused;
            let blocks = verdicts.gates.iter().map(|gate| gate.rest()).filter(|rest| *rest > Nanos::ZERO);
            let waits = verdicts.list.iter().map(|verdict| verdict.wait).chain(blocks.map(Wait::For));
            match waits.max() {
                Some(Wait::For(wait)) => {
                    prop_assert!(!refused_at(at.plus(wait)), "told to wait {:?}: {:?}", wait, rows);
                    let earlier = Timestamp((at.0 + wait.0).saturating_sub(early).max(at.0));
                    prop_assert!(refused_at(earlier), "could have come {} ns earlier: {:?}", early, rows);
                }
                Some(Wait::Never) => prop_assert!(refused_at(at.plus(Nanos::from_secs(3_600))), "{:?}", rows),
                other => prop_assert!(false, "refused without a wait: {:?}, {:?}", other, rows),
            }
        }
    }
}
