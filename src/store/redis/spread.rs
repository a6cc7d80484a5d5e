//! A request over the counters of a domain that is spread over a cluster (`slots: spread`): one part for the counters of each
//! descriptor, which stand in a slot of their own.
//!
//! Each part is decided where its counters are, all at the same time. Where all have room the request has passed, and
//! nothing more is asked. Where some refuse, those that had room are told to give back what they took: once, and only in
//! the window in which it was taken.
//!
//! **Never more is admitted than the limits say**, whatever is lost on the way. A request passes only when every part has
//! charged it; and nothing is given back that was not taken, since it is known from the answer what was: a take whose answer
//! was lost stays. The price is that others may meet a hit that is about to be given back, or was lost, and be refused. (So
//! no refusal may start a block here.)
//!
//! **Buckets**: hits that lie in one beside others' are as much more as it would hold without them, less what it would have
//! drained while it was empty then; that is at most what has drained since. So much less is given back: what drains in a
//! round trip.

use smallvec::SmallVec;

use super::{
    Decided, Seats,
    key::{DescriptorTag, Group},
};
use crate::{
    charge::{Charges, Gate, GateVerdict, Verdict, Verdicts, Way, settle},
    limit::{Algorithm, Counter, Limit},
    units::Timestamp,
};

/// What one slot is asked.
#[derive(Debug)]
pub(super) struct Part<'p> {
    tag: DescriptorTag,
    pub charges: Charges<'p>,
    pub seats: Seats,
    /// The place of each of its charges among those of the request.
    charge_places: SmallVec<[usize; 4]>,
    /// Likewise of its gates.
    gate_places: SmallVec<[usize; 2]>,
}

/// Hits of a request that was refused elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub seat: u32,
    pub hits: u64,
    pub of: TakenOf,
}

/// By what is known whether they are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenOf {
    /// They are for as long as the window that ends then.
    Window { end: Timestamp },
    /// What has drained since may have been theirs: so much in a length.
    Bucket { at: Timestamp, length_us: u64, count: u64 },
}

/// The tag that all counters and blocks of `charges` have, if it is the same: then there is nothing to be split.
pub(super) fn only_tag(charges: &Charges<'_>) -> Option<DescriptorTag> {
    let mut tags = tags(charges);
    let first = tags.next()?;
    tags.all(|tag| tag == first).then_some(first)
}

/// Of each charge, and then of each gate.
fn tags(charges: &Charges<'_>) -> impl Iterator<Item = DescriptorTag> {
    let of_charges = charges.list.iter().map(|charge| DescriptorTag::of(charge.key));
    of_charges.chain(charges.gates.iter().map(|gate| tag_of_gate(charges, gate)))
}

/// That of its descriptor. A block by order is named by a beginning, and nothing is kept under its name: it may stand
/// anywhere.
pub(super) fn tag_of_gate(charges: &Charges<'_>, gate: &Gate) -> DescriptorTag {
    let own = charges.list[charges.of_descriptor(gate.descriptor)].first();
    DescriptorTag::of(own.map_or(gate.key, |charge| charge.key))
}

/// Splits what a request asks.
pub(super) fn parts<'p>(charges: &Charges<'p>) -> SmallVec<[Part<'p>; 4]> {
    let mut parts: SmallVec<[Part<'p>; 4]> = SmallVec::new();
    let count = charges.list.len();
    for (place, tag) in tags(charges).enumerate() {
        let found = parts.iter().position(|part| part.tag == tag);
        let found = found.unwrap_or_else(|| {
            parts.push(Part::empty(tag, charges));
            parts.len() - 1
        });
        let part = &mut parts[found];
        if let Some(charge) = charges.list.get(place) {
            part.charges.list.push(*charge);
            part.charge_places.push(place);
        } else {
            part.charges.gates.push(charges.gates[place - count]);
            part.gate_places.push(place - count);
        }
    }
    parts.iter_mut().for_each(|part| part.seats = Seats::of(&part.charges));
    parts
}

impl<'p> Part<'p> {
    fn empty(tag: DescriptorTag, charges: &Charges<'p>) -> Self {
        Self {
            tag,
            charges: Charges { way: charges.way, denied: charges.denied, ..Charges::default() },
            seats: Seats::default(),
            charge_places: SmallVec::new(),
            gate_places: SmallVec::new(),
        }
    }

    /// Where its counters stand.
    pub fn group<'d>(&self, domain: &'d str) -> Group<'d> {
        Group { domain, descriptor: Some(self.tag) }
    }

    /// Turns what was `decided`, which is that everything fits, into what is true where another part has refused; and
    /// returns what has to be given back.
    fn is_refused_elsewhere(&self, decided: &mut Decided) -> SmallVec<[Taken; 4]> {
        let (mut charged, mut kept) = (decided.before.clone(), decided.before.clone());
        settle(&self.charges, &self.seats.of, &mut charged, decided.at);
        let refused = Charges { denied: true, ..self.charges.clone() };
        decided.verdicts = settle(&refused, &self.seats.of, &mut kept, decided.at);
        let mut taken: SmallVec<[Taken; 4]> = SmallVec::new();
        for (charge, &seat) in self.charges.list.iter().zip(&self.seats.of) {
            if taken.iter().any(|taken| taken.seat == seat) {
                continue;
            }
            // Both levels of a bucket as they are at the same time.
            let [charged, kept] = [charged[seat as usize], kept[seat as usize]]
                .map(|counter| charge.limit.give_back(counter, decided.at, 0));
            let of = TakenOf::new(charge.limit, charged.time, decided.at);
            let fraction = matches!(of, TakenOf::Bucket { .. }) && charged.rest < kept.rest;
            let hits = charged.used.saturating_sub(kept.used).saturating_sub(u64::from(fraction));
            if hits > 0 {
                taken.push(Taken { seat, hits, of });
            }
        }
        taken
    }
}

impl TakenOf {
    fn new(limit: &Limit, end: Timestamp, at: Timestamp) -> Self {
        match limit.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => Self::Window { end },
            Algorithm::TokenBucket { .. } => {
                Self::Bucket { at, length_us: limit.window.longest().0 / 1_000, count: limit.count }
            }
        }
    }
}

/// What has to be given back, where some parts have refused: by those that had room, which are told that they refuse, too.
pub(super) fn in_vain<'d, 'p>(
    charges: &Charges<'_>,
    decided: &mut [(&'d Part<'p>, Decided)],
) -> Vec<(&'d Part<'p>, SmallVec<[Taken; 4]>)> {
    let is_refused = decided.iter().any(|(_, decided)| decided.verdicts.refused);
    if charges.way == Way::EachAlone || !is_refused {
        return Vec::new();
    }
    let had_room = decided.iter_mut().filter(|(_, decided)| !decided.verdicts.refused);
    let taken = had_room.map(|(part, decided)| (*part, part.is_refused_elsewhere(decided)));
    taken.filter(|(_, taken)| !taken.is_empty()).collect()
}

/// Puts together what the parts of a request decided.
pub(super) fn join(charges: &Charges<'_>, seats: &Seats, decided: &[(&Part<'_>, Decided)]) -> Decided {
    let mut joined = Decided {
        verdicts: Verdicts {
            refused: decided.iter().any(|(_, decided)| decided.verdicts.refused),
            list: SmallVec::from_elem(Verdict::default(), charges.list.len()),
            gates: SmallVec::from_elem(GateVerdict::default(), charges.gates.len()),
        },
        before: SmallVec::from_elem(Counter::default(), seats.keys.len()),
        at: Timestamp::EPOCH,
    };
    for (part, decided) in decided {
        // Clocks of servers differ: by the latest, nothing that is kept of a refusal outlasts its window.
        joined.at = joined.at.max(decided.at);
        let (of_charges, of_gates) = part.seats.of.split_at(part.charges.list.len());
        for ((&place, verdict), &seat) in part.charge_places.iter().zip(&decided.verdicts.list).zip(of_charges) {
            joined.verdicts.list[place] = *verdict;
            joined.before[seats.of[place] as usize] = decided.before[seat as usize];
        }
        for ((&place, verdict), &seat) in part.gate_places.iter().zip(&decided.verdicts.gates).zip(of_gates) {
            joined.verdicts.gates[place] = *verdict;
            joined.before[seats.of[charges.list.len() + place] as usize] = decided.before[seat as usize];
        }
    }
    joined
}

#[cfg(test)]
#[path = "spread_tests.rs"]
mod tests;
