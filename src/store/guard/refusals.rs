//! Refusals of the last second, so that a client who goes on is refused without a call.
//!
//! Kept is not the answer but the counters it was given for, as the store held them. [`settle`] decides over them again,
//! at the time it is now and under the limits as they are now: wherever it still refuses, so would the store, unless
//! somebody gave back, reset or lifted there within [`REFUSAL_KEPT`]. Counters otherwise only rise until their windows
//! end. Only requests that charge nothing when they are refused are kept, as repeating them changes nothing.
//!
//! **The store's clock** may differ from ours. A kept refusal has the store's time of its decision, and is decided over
//! again at that time and as much later as our clock has moved since the request came, which was before: this never
//! lags behind the store's clock, so that no refusal outlasts its window.
//!
//! **Memory**: [`REFUSALS_MAX`] places, found by hash, of which a refusal takes the one it falls into, whoever had it.
//! A place takes 160 bytes, more where there are above four counters; none is there before it is needed.

use std::{
    fmt,
    hash::Hasher as _,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use parking_lot::Mutex;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use smallvec::SmallVec;

use crate::{
    bounds::{REFUSAL_COUNTERS_MAX, REFUSAL_KEPT, REFUSALS_MAX},
    charge::{Charges, GateVerdict, Role, Verdicts, Way, settle},
    limit::Counter,
    request::Ask,
    units::Timestamp,
};

/// Each under a lock of its own, held for the copy of a few counters.
const SHARDS: usize = 64;
const PLACES_PER_SHARD: usize = REFUSALS_MAX / SHARDS;

/// Refusals that may be repeated without a call.
pub struct Refusals {
    shards: Box<[Mutex<Shard>]>,
    /// What questions are hashed with: who could predict places could aim at other clients'.
    key: [u8; 16],
    /// How often all were forgotten.
    clears: AtomicU64,
}

/// Empty until the first refusal falls into it.
type Shard = Box<[Option<Refusal>]>;

/// Counters that a request was refused for.
#[derive(Clone)]
struct Refusal {
    asked: Asked,
    /// By the store's clock.
    decided_at: Timestamp,
    counters: SmallVec<[Counter; 4]>,
}

/// A request that has to be decided by the store; what it decides may be [remembered](Refusals::remember).
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The hash of what it asks of which counters; None: its refusal could not be repeated.
    question: Option<u128>,
    /// When it came, by our clock.
    at: Timestamp,
    /// How often all had been forgotten by then: what the store decided before a reset must not outlive it.
    clears: u64,
}

impl Refusals {
    /// None yet; `key` should be random.
    pub fn new(key: [u8; 16]) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, key, clears: AtomicU64::new(0) }
    }

    /// Refuses `charges` at `now` if what is known of their counters does, and charges nothing.
    ///
    /// `slot_of` is that of [`settle`], numbered the same way each time (in the order of first mention, or of keys).
    ///
    /// # Errors
    /// What has to be asked.
    pub fn refuse(&self, charges: &Charges<'_>, slot_of: &[u32], now: Timestamp) -> Result<Verdicts, Asked> {
        let question = can_be_repeated(charges).then(|| self.hash(charges));
        let asked = Asked { question, at: now, clears: self.clears.load(Acquire) };
        let mut refusal = self.find(&asked).ok_or(asked)?;
        let then = refusal.decided_at.plus(now.since(refusal.asked.at));
        let verdicts = settle(charges, slot_of, &mut refusal.counters, then);
        if charges_nothing(&verdicts) { Ok(verdicts) } else { Err(asked) }
    }

    /// Keeps what the store refused without charging anything: `counters` as they were when it decided at `decided_at` (by
    /// its own clock), and in the order of `slot_of` that was given to [`refuse`](Self::refuse).
    pub fn remember(&self, asked: Asked, counters: &[Counter], verdicts: &Verdicts, decided_at: Timestamp) {
        let Some((shard, place)) = asked.question.map(place_of) else { return };
        if counters.len() > REFUSAL_COUNTERS_MAX || !charges_nothing(verdicts) {
            return;
        }
        let refusal = Refusal { asked, decided_at, counters: SmallVec::from_slice(counters) };
        let mut shard = self.shards[shard].lock();
        if shard.is_empty() {
            *shard = vec![None; PLACES_PER_SHARD].into_boxed_slice();
        }
        shard[place] = Some(refusal);
    }

    /// Forgets all, those too that the store is being asked about. To be called when a reset or the like has been made
    /// here, so that it shows at once.
    pub fn clear(&self) {
        self.clears.fetch_add(1, Release);
    }

    /// The refusal of the same question, if it may still be repeated.
    fn find(&self, asked: &Asked) -> Option<Refusal> {
        let (shard, place) = place_of(asked.question?);
        let mut shard = self.shards[shard].lock();
        let kept = shard.get_mut(place)?;
        let refusal = kept.as_ref().filter(|refusal| refusal.asked.question == asked.question)?;
        if refusal.holds_for(asked) {
            return Some(refusal.clone());
        }
        // Dropped, or one from before the clock was set back would be fresh a second time.
        *kept = None;
        None
    }

    /// Says all that decides which counters a request meets and what it asks of them. Numbers of limits are no part of
    /// it: they are looked at each time.
    fn hash(&self, charges: &Charges<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_usize(charges.list.len());
        for charge in &charges.list {
            let (ask, hits) = match charge.ask {
                Ask::Look => (0, 0),
                Ask::Take(hits) => (1, hits),
                Ask::GiveBack(hits) => (2, hits),
            };
            hasher.write_u128(charge.key.0);
            hasher.write_u64(hits);
            hasher.write_u64(u64::from(charge.descriptor) << 32 | role_tag(charge.role) << 8 | ask);
        }
        for gate in &charges.gates {
            hasher.write_u128(gate.key.0);
            hasher.write_u32(gate.descriptor);
        }
        hasher.finish128().as_u128()
    }
}

impl Refusal {
    fn holds_for(&self, asked: &Asked) -> bool {
        let age = asked.at.0.checked_sub(self.asked.at.0);
        self.asked.clears == asked.clears && age.is_some_and(|age| age < REFUSAL_KEPT.0)
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("clears", &self.clears.load(Relaxed)).finish_non_exhaustive()
    }
}

/// Whether nothing is charged where the request is refused. One that is denied needs no counter to be refused.
fn can_be_repeated(charges: &Charges<'_>) -> bool {
    let charges_nothing = |(role, ask)| role != Role::Overdraw && !matches!(ask, Ask::GiveBack(_));
    charges.way == Way::AllOrNone
        && !charges.denied
        && charges.list.iter().map(|charge| (charge.role, charge.ask)).all(charges_nothing)
}

/// Whether `verdicts` on such a request left all counters and gates as they were.
fn charges_nothing(verdicts: &Verdicts) -> bool {
    verdicts.refused && !verdicts.gates.iter().any(|gate| matches!(gate, GateVerdict::Started(_)))
}

/// The shard and the place in it.
fn place_of(question: u128) -> (usize, usize) {
    // Either takes bits of its own; they are few enough for any usize.
    let place = (question % REFUSALS_MAX as u128) as usize;
    (place / PLACES_PER_SHARD, place % PLACES_PER_SHARD)
}

const fn role_tag(role: Role) -> u64 {
    match role {
        Role::Enforced => 0,
        Role::Quota => 1,
        Role::Overdraw => 2,
        Role::Shadow => 3,
    }
}

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;
