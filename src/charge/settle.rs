//! Decides the charges of one request over the counters they meet.

use smallvec::SmallVec;

use super::{Charge, Charges, Gate, GateVerdict, Role, Verdict, Verdicts, Way, gate};
use crate::{
    limit::{Counter, Wait},
    request::Ask,
    units::{Nanos, Timestamp},
};

/// Decides `charges` at `now` and leaves `counters` as they stand afterwards.
///
/// `slot_of` names, for each charge and then for each gate, the place of its counter in `counters`: charges that meet on
/// one counter name the same place, and see what the earlier ones took or gave back.
pub fn settle(charges: &Charges<'_>, slot_of: &[u32], counters: &mut [Counter], now: Timestamp) -> Verdicts {
    debug_assert_eq!(charges.list.len() + charges.gates.len(), slot_of.len());
    let (slot_of, gate_slots) = slot_of.split_at(charges.list.len());
    for (charge, &slot) in charges.list.iter().zip(slot_of) {
        let counter = &mut counters[slot as usize];
        *counter = charge.limit.at(*counter, now);
    }
    for &slot in gate_slots {
        let counter = &mut counters[slot as usize];
        *counter = gate::at(*counter, now);
    }
    let mut table = Table { charges, slot_of, gate_slots, counters, now };
    match charges.way {
        Way::AllOrNone => table.all_or_none(),
        Way::EachAlone => table.each_alone(),
    }
}

/// The charges laid beside their counters.
struct Table<'t, 'p> {
    charges: &'t Charges<'p>,
    slot_of: &'t [u32],
    gate_slots: &'t [u32],
    counters: &'t mut [Counter],
    now: Timestamp,
}

/// Whether a request passes, as its descriptors are looked at one by one.
#[derive(Default)]
struct Tally {
    no_room: bool,
    quota_seen: bool,
    quota_room: bool,
}

impl Tally {
    fn count(&mut self, role: Role, fits: bool) {
        match role {
            Role::Enforced | Role::Overdraw => self.no_room |= !fits,
            Role::Quota => {
                self.quota_seen = true;
                self.quota_room |= fits;
            }
            Role::Shadow => {}
        }
    }

    fn refused(&self) -> bool {
        self.no_room || (self.quota_seen && !self.quota_room)
    }
}

impl Table<'_, '_> {
    fn all_or_none(&mut self) -> Verdicts {
        let before: SmallVec<[Counter; 8]> = SmallVec::from_slice(self.counters);
        let mut list: SmallVec<[Verdict; 8]> = SmallVec::from_elem(Verdict::default(), self.charges.list.len());
        let mut gates = self.look_at_gates();
        let blocked = gates.iter().any(|&gate| gate != GateVerdict::Open);
        let mut tally = self.tally(blocked);
        self.pass(&mut list, |role| role != Role::Shadow, &mut tally);
        if tally.refused() {
            self.counters.copy_from_slice(&before);
            self.keep_what_stays();
            self.tell_refused(&mut list);
            self.start_blocks(&list, &tally, &mut gates);
            return Verdicts { refused: true, list, gates };
        }
        self.pass(&mut list, |role| role == Role::Shadow, &mut Tally::default());
        Verdicts { refused: false, list, gates }
    }

    fn tally(&self, blocked: bool) -> Tally {
        let Charges { denied, quota_met, .. } = *self.charges;
        Tally { no_room: denied || blocked, quota_seen: false, quota_room: quota_met }
    }

    /// Looks at the groups of the chosen roles in order; a group that fits takes at once, so that the next ones see it.
    fn pass(&mut self, list: &mut [Verdict], chosen: impl Fn(Role) -> bool, tally: &mut Tally) {
        let mut first = 0;
        while first < self.charges.list.len() {
            let end = self.group_end(first);
            let role = self.charges.list[first].role;
            if chosen(role) {
                tally.count(role, self.group(first..end, list));
            }
            first = end;
        }
    }

    /// The end of the group of charges that starts at `first`: one descriptor, one role.
    fn group_end(&self, first: usize) -> usize {
        let list = &self.charges.list;
        let head = &list[first];
        let same = |charge: &Charge<'_>| charge.descriptor == head.descriptor && charge.role == head.role;
        first + list[first..].iter().take_while(|charge| same(charge)).count()
    }

    /// Charges a group if all of it fits, and says whether it did.
    fn group(&mut self, group: std::ops::Range<usize>, list: &mut [Verdict]) -> bool {
        let mut all_fit = true;
        for index in group.clone() {
            let charge = &self.charges.list[index];
            list[index].fits = charge.limit.has_room(self.counter(index), self.now, charge.room_asked());
            all_fit &= list[index].fits;
        }
        for index in group {
            let charge = &self.charges.list[index];
            let takes = (all_fit && !self.is_blocked(charge.descriptor))
                || charge.role == Role::Overdraw
                || matches!(charge.ask, Ask::GiveBack(_));
            if takes {
                self.apply(index);
            }
            let counter = self.counter(index);
            list[index].standing = charge.limit.standing(counter, self.now);
            if !list[index].fits {
                list[index].wait = charge.limit.wait(counter, self.now, charge.room_asked());
            }
        }
        all_fit
    }

    /// On a refused request only refunds and overdraws are charged: the first are always granted, the others were
    /// spent already.
    fn keep_what_stays(&mut self) {
        for index in 0..self.charges.list.len() {
            let charge = &self.charges.list[index];
            if charge.role == Role::Overdraw || matches!(charge.ask, Ask::GiveBack(_)) {
                self.apply(index);
            }
        }
    }

    /// Tells every charge of a refused request how its counter stands, and when the request's whole demand would fit.
    fn tell_refused(&self, list: &mut [Verdict]) {
        // What the same request asks of a counter before the charge at hand: after waiting it will be there again.
        let mut ahead: SmallVec<[u64; 8]> = SmallVec::from_elem(0, self.counters.len());
        let mut first = 0;
        while first < list.len() {
            let end = self.group_end(first);
            // A quota descriptor without room takes nothing: another one has room, or neither passes before it.
            let takes =
                self.charges.list[first].role != Role::Quota || list[first..end].iter().all(|verdict| verdict.fits);
            for (index, verdict) in (first..end).zip(&mut list[first..end]) {
                *verdict = self.refused(index, verdict.fits, &mut ahead[self.slot_of[index] as usize], takes);
            }
            first = end;
        }
    }

    fn refused(&self, index: usize, fits: bool, ahead: &mut u64, takes: bool) -> Verdict {
        let charge = &self.charges.list[index];
        let counter = self.counter(index);
        let standing = charge.limit.standing(counter, self.now);
        if charge.role == Role::Shadow {
            return Verdict { fits: true, standing, wait: Wait::None };
        }
        let wait = match charge.room_asked() {
            0 => Wait::None,
            asked => charge.limit.wait(counter, self.now, ahead.saturating_add(asked)),
        };
        if let Ask::Take(hits) = charge.ask
            && takes
        {
            *ahead = ahead.saturating_add(hits);
        }
        Verdict { fits, standing, wait }
    }

    fn look_at_gates(&self) -> SmallVec<[GateVerdict; 2]> {
        let look = |gate: usize| match self.closed_for(gate) {
            Nanos::ZERO => GateVerdict::Open,
            rest => GateVerdict::Blocked(rest),
        };
        (0..self.gate_slots.len()).map(look).collect()
    }

    /// How long a gate is closed, by a block that was started or by one that was ordered.
    fn closed_for(&self, gate: usize) -> Nanos {
        let started = gate::rest(self.counters[self.gate_slots[gate] as usize], self.now);
        started.max(self.charges.gates[gate].ordered_until.since(self.now))
    }

    /// Whether a block stands in the way of a descriptor, as long as none of this request has been started.
    fn is_blocked(&self, descriptor: u32) -> bool {
        self.charges.gates_of_descriptor(descriptor).any(|gate| self.closed_for(gate) > Nanos::ZERO)
    }

    /// Closes the gates of the descriptors that this refused request found without room. Who was blocked already was
    /// refused for that, and starts nothing: a block is never prolonged.
    fn start_blocks(&mut self, list: &[Verdict], tally: &Tally, gates: &mut [GateVerdict]) {
        let starts = |gate: &Gate| {
            gate.starts.filter(|_| !self.is_blocked(gate.descriptor) && self.exceeds(gate.descriptor, list, tally))
        };
        let starting: SmallVec<[Option<Nanos>; 2]> = self.charges.gates.iter().map(starts).collect();
        for (&slot, length) in self.gate_slots.iter().zip(&starting) {
            let counter = &mut self.counters[slot as usize];
            if let Some(length) = *length {
                // Of several that close one gate at once the longest counts, whatever their order.
                *counter = std::cmp::max_by_key(*counter, gate::start(self.now, length), |block| block.time);
            }
        }
        for ((verdict, &slot), _) in gates.iter_mut().zip(self.gate_slots).zip(&starting).filter(|(_, it)| it.is_some())
        {
            *verdict = GateVerdict::Started(gate::rest(self.counters[slot as usize], self.now));
        }
    }

    /// Whether the limits of a descriptor refuse the request and will have room for it one day: shadow limits refuse
    /// nothing, a cost above a limit is a mistake and no excess, and quotas refuse only where none has room.
    fn exceeds(&self, descriptor: u32, list: &[Verdict], tally: &Tally) -> bool {
        let refuses = |role: Role| match role {
            Role::Enforced | Role::Overdraw => true,
            Role::Quota => !tally.quota_room,
            Role::Shadow => false,
        };
        let own = self.charges.of_descriptor(descriptor);
        let mut refusing = own.filter(|&index| !list[index].fits && refuses(self.charges.list[index].role)).peekable();
        refusing.peek().is_some() && refusing.all(|index| list[index].wait != Wait::Never)
    }

    /// `count_denied`: first charged, then asked whether that was too much.
    fn each_alone(&mut self) -> Verdicts {
        let mut list = SmallVec::with_capacity(self.charges.list.len());
        let gates = self.look_at_gates();
        let blocked = gates.iter().any(|&gate| gate != GateVerdict::Open);
        let mut tally = self.tally(blocked);
        let mut first = 0;
        while first < self.charges.list.len() {
            let end = self.group_end(first);
            let mut all_fit = true;
            for index in first..end {
                let charge = &self.charges.list[index];
                self.apply(index);
                let counter = self.counter(index);
                let fits = matches!(charge.ask, Ask::GiveBack(_)) || counter.used <= charge.limit.count;
                let wait = if fits { Wait::None } else { charge.limit.wait(counter, self.now, charge.room_asked()) };
                list.push(Verdict { fits, standing: charge.limit.standing(counter, self.now), wait });
                all_fit &= fits;
            }
            tally.count(self.charges.list[first].role, all_fit);
            first = end;
        }
        Verdicts { refused: tally.refused(), list, gates }
    }

    fn counter(&self, index: usize) -> Counter {
        self.counters[self.slot_of[index] as usize]
    }

    fn apply(&mut self, index: usize) {
        let charge = &self.charges.list[index];
        let counter = &mut self.counters[self.slot_of[index] as usize];
        match charge.ask {
            Ask::Take(hits) => *counter = charge.limit.take(*counter, self.now, hits),
            Ask::GiveBack(hits) => *counter = charge.limit.give_back(*counter, self.now, hits),
            Ask::Look => {}
        }
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
