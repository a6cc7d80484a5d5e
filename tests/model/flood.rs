//! A store that is much too small, and floods of clients that are seen once. It forgets, but only as `memory.md` says.

use std::collections::HashMap;

use proptest::prelude::*;
use tallygate::{
    request::Ask,
    units::{Nanos, Timestamp},
};

use crate::{
    START,
    book::{Algorithm, Book, RuleSpec, Rules},
    enforcing_rules,
    real::Real,
    takes, wait,
};

/// One counter a shard or two: with fewer, shards of none would hold one all the same.
const COUNTERS: usize = 2_048;

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Somebody who comes again and again.
    Request(Vec<(usize, usize, Ask)>),
    /// So many new clients of one key, each of which tries so often: from twice on, they may be refused and blocked.
    Flood {
        key: usize,
        clients: usize,
        tries: usize,
    },
    /// The store drops everything that has expired.
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => wait().prop_map(Step::Wait),
        12 => takes().prop_map(Step::Request),
        3 => (0usize..3, 1usize..2 * COUNTERS, 1usize..4)
            .prop_map(|(key, clients, tries)| Step::Flood { key, clients, tries }),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn who_is_refused_stays_refused_and_only_what_was_evicted_is_forgiven(
        rules in enforcing_rules(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let (real, mut now) = (Real::new(&rules, COUNTERS), START);
        let (mut book, mut refusals, mut strangers) = (Book::default(), Refusals::default(), 3..);
        // Requests that the full history would have refused.
        let mut excess = 0;
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Wait(nanos) => now = now.plus(Nanos(*nanos)),
                Step::Sweep => real.sweep(now),
                Step::Flood { key, clients, tries } => {
                    for stranger in strangers.by_ref().take(*clients) {
                        (0..*tries).for_each(|_| _ = real.decide(now, &[(*key, stranger, Ask::Take(1))]));
                    }
                }
                Step::Request(asks) => {
                    let unplaced = real.memory().fill().unplaced;
                    let decided = real.decide(now, asks);
                    prop_assert!(decided.refused || !refusals.hold(now, asks), "step {}: {:?} forgiven", number, asks);
                    if decided.refused {
                        // A block that finds no place is not kept.
                        let kept = real.memory().fill().unplaced == unplaced;
                        refusals.note(now, asks, decided.retry_after_secs.filter(|_| kept));
                    } else {
                        excess += u64::from(book.clone().decide(&rules, now, asks).refused);
                        book.admit(&rules, now, asks);
                    }
                }
            }
        }
        let fill = real.memory().fill();
        prop_assert!(fill.counters <= COUNTERS && fill.sketches <= 8, "{:?}", fill);
        let forgotten = fill.evicted + fill.unplaced;
        prop_assert!(excess == 0 || forgotten > 0, "{} passed that should not, and nothing was evicted", excess);
        if all_rules(&rules).flat_map(|rule| &rule.limits).all(|limit| matches!(limit.algorithm, Algorithm::Fixed)) {
            prop_assert!(excess <= forgotten * FORGIVEN_MAX, "{} passed that should not: {:?}", excess, fill);
        }
    }
}

/// What goes with one eviction: a counter with room left holds less than its limit, which is eight at most.
const FORGIVEN_MAX: u64 = 7;

fn all_rules(rules: &Rules) -> impl Iterator<Item = &RuleSpec> {
    rules.for_all.iter().chain(rules.for_v1.iter().map(|(_, rule)| rule))
}

/// Who was refused a single hit, and until when at least.
#[derive(Default)]
struct Refusals {
    until: HashMap<(usize, usize), Timestamp>,
}

impl Refusals {
    /// A refusal of one descriptor that asked for the least there is.
    fn note(&mut self, now: Timestamp, asks: &[(usize, usize, Ask)], retry_after_secs: Option<u64>) {
        if let (&[(key, value, Ask::Look | Ask::Take(1))], Some(secs)) = (asks, retry_after_secs) {
            // `Retry-After` is rounded up.
            let until = now.plus(Nanos::from_secs(secs.saturating_sub(1)));
            let known = self.until.entry((key, value)).or_default();
            *known = until.max(*known);
        }
    }

    fn hold(&self, now: Timestamp, asks: &[(usize, usize, Ask)]) -> bool {
        asks.iter().any(|&(key, value, _)| self.until.get(&(key, value)).is_some_and(|until| now < *until))
    }
}
