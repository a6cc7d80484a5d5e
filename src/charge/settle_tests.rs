//! `settle` against a model that keeps the full history of every counter and decides by the book.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    charge::CounterKey,
    limit::{Algorithm, Limit, Window},
    units::Nanos,
};

/// Windows of ten and of thirty seconds, so that several edges fall into a history.
const LENGTHS: [u64; 2] = [10, 30];

/// One request as a test writes it: for each descriptor its counter, role, number, ask.
#[derive(Clone, Debug)]
struct Row {
    counter: usize,
    role: Role,
    /// The number of its limit in either window.
    counts: [u64; 2],
    ask: Ask,
}

/// Everything that was ever charged: (second, hits) for each counter and window, in order.
#[derive(Default, Clone)]
struct History(HashMap<(usize, usize), Vec<(u64, i128)>>);

impl History {
    fn used(&self, counter: (usize, usize), now: u64) -> u64 {
        let window = now / LENGTHS[counter.1];
        let in_window = |&&(at, _): &&(u64, i128)| at / LENGTHS[counter.1] == window;
        let sum = self.0.get(&counter).into_iter().flatten().filter(in_window).map(|(_, hits)| hits).sum::<i128>();
        u64::try_from(sum.min(i128::from(u64::MAX))).expect("never below zero")
    }

    fn add(&mut self, counter: (usize, usize), now: u64, hits: i128) {
        let used = i128::from(self.used(counter, now));
        let hits = hits.clamp(-used, i128::from(u64::MAX) - used);
        self.0.entry(counter).or_default().push((now, hits));
    }
}

impl Row {
    fn counters(&self) -> [(usize, usize); 2] {
        // Shadow limits have counters of their own.
        let own = if self.role == Role::Shadow { 10 } else { 0 };
        [(self.counter + own, 0), (self.counter + own, 1)]
    }

    fn fits(&self, history: &History, now: u64) -> bool {
        let room = |(window, counter): (usize, (usize, usize))| {
            let left = self.counts[window].saturating_sub(history.used(counter, now));
            match (self.ask, self.role) {
                (Ask::GiveBack(_), _) => true,
                (Ask::Look, _) | (Ask::Take(_), Role::Overdraw) => left >= 1,
                (Ask::Take(hits), _) => left >= hits,
            }
        };
        self.counters().into_iter().enumerate().all(room)
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

    fn stays(&self) -> bool {
        self.role == Role::Overdraw || matches!(self.ask, Ask::GiveBack(_))
    }
}

/// `rules.md`, "Deciding", 2 to 5, word for word.
fn by_the_book(rows: &[Row], history: &mut History, now: u64) -> bool {
    let mut trial = history.clone();
    let (mut refused, mut quota_seen, mut quota_room) = (false, false, false);
    for row in rows.iter().filter(|row| row.role != Role::Shadow) {
        let fits = row.fits(&trial, now);
        match row.role {
            Role::Quota => (quota_seen, quota_room) = (true, quota_room || fits),
            _ => refused |= !fits,
        }
        if fits || row.stays() {
            row.charge(&mut trial, now);
        }
    }
    refused |= quota_seen && !quota_room;
    if refused {
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
fn limits(rows: &[Row]) -> Vec<[Limit; 2]> {
    let limit = |count, length| Limit {
        count,
        window: Window::Length(Nanos::from_secs(length)),
        algorithm: Algorithm::FixedWindow,
    };
    rows.iter().map(|row| [limit(row.counts[0], LENGTHS[0]), limit(row.counts[1], LENGTHS[1])]).collect()
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
    (charges, slot_of)
}

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
    (0usize..3, role, [0u64..9, 0u64..15], ask).prop_map(|(counter, role, counts, ask)| Row {
        counter,
        role,
        counts,
        ask,
    })
}

fn trace() -> impl Strategy<Value = Vec<(u64, Vec<Row>)>> {
    prop::collection::vec((0u64..8, prop::collection::vec(row(), 0..4)), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn decisions_and_counters_are_those_of_a_model_with_full_histories(
        trace in trace(), way in prop::sample::select(vec![Way::AllOrNone, Way::EachAlone]),
    ) {
        let (mut now, mut history, mut counters) = (1_000, History::default(), [Counter::default(); 26]);
        for (step, rows) in trace {
            now += step;
            let limits = limits(&rows);
            let (charges, slot_of) = charges(&rows, &limits, way);
            let verdicts = settle(&charges, &slot_of, &mut counters, Timestamp::from_secs(now));
            let expected = match way {
                Way::AllOrNone => by_the_book(&rows, &mut history, now),
                Way::EachAlone => each_by_the_book(&rows, &mut history, now),
            };
            prop_assert_eq!(verdicts.refused, expected, "at {} s: {:?}", now, rows);
            for (charge, slot) in charges.list.iter().zip(slot_of) {
                let counter = charge.limit.at(counters[slot as usize], Timestamp::from_secs(now));
                let (number, window) = (slot as usize / 2, slot as usize % 2);
                prop_assert_eq!(counter.used, history.used((number, window), now), "at {} s: {:?}", now, rows);
            }
        }
    }

    /// Refusals charge nothing, so the same request can be tried again at any later time.
    #[test]
    fn a_refused_request_passes_when_it_was_told_to_and_not_a_tick_earlier(
        trace in trace(), early in 1u64..30_000_000_000,
    ) {
        let (mut now, mut counters) = (1_000, [Counter::default(); 26]);
        for (step, mut rows) in trace {
            now += step;
            rows.retain(|row| matches!(row.role, Role::Enforced) && !matches!(row.ask, Ask::GiveBack(_)));
            let limits = limits(&rows);
            let (charges, slot_of) = charges(&rows, &limits, Way::AllOrNone);
            let at = Timestamp::from_secs(now);
            let verdicts = settle(&charges, &slot_of, &mut counters, at);
            if !verdicts.refused {
                continue;
            }
            let refused_at = |then: Timestamp| settle(&charges, &slot_of, &mut counters.clone(), then).refused;
            match verdicts.list.iter().map(|verdict| verdict.wait).max() {
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
