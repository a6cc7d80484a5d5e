//! What a request asks of its counters, and what they answer. Pure: [`settle()`] takes counters and leaves counters; a
//! store only brings them together under its locks.

mod gate;
mod settle;

use std::ops::Range;

use smallvec::SmallVec;

pub use gate::{Gate, GateVerdict, is_closed as gate_is_closed};
pub use settle::settle;

use crate::{
    limit::{Limit, Standing, Wait},
    request::Ask,
};

/// The name of one counter: a keyed 128-bit hash of an injective encoding, so that two never meet by accident and no
/// client can make them meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey(pub u128);

/// One descriptor's ask of one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'p> {
    pub key: CounterKey,
    pub limit: &'p Limit,
    pub ask: Ask,
    pub role: Role,
    /// The descriptor it comes from. The charges of one descriptor and one role stand together in the list, and are
    /// charged together or not at all.
    pub descriptor: u32,
    /// The limit it comes from, as a number: a store that is full lets no limit take more than half of it.
    pub group: u32,
}

impl Charge<'_> {
    /// The room that it needs to fit. An overdraw fits as long as anything is left; a refund always does.
    pub fn room_asked(&self) -> u64 {
        match (self.ask, self.role) {
            (Ask::GiveBack(_), _) => 0,
            (Ask::Look, _) | (Ask::Take(_), Role::Overdraw) => 1,
            (Ask::Take(hits), _) => hits,
        }
    }
}

/// What a charge's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No room: the request is refused.
    Enforced,
    /// No room: the request is refused if no quota descriptor has room.
    Quota,
    /// Charged in full, room or not, request refused or not; refused only where nothing was left before.
    Overdraw,
    /// Decided after the others, on requests that they let through; refuses nothing.
    Shadow,
}

/// All charges of one request.
#[derive(Clone, Debug, Default)]
pub struct Charges<'p> {
    pub way: Way,
    /// The request is refused whatever its counters say (a `deny` rule); what is charged all the same still is.
    pub denied: bool,
    /// One of its descriptors is as good as a quota with room, so that no quota refuses it.
    pub quota_met: bool,
    /// In the order of the descriptors.
    pub list: SmallVec<[Charge<'p>; 8]>,
    /// Where its descriptors may be blocked, in their order. With [`Way::EachAlone`] none starts a block.
    pub gates: SmallVec<[Gate; 2]>,
}

impl Charges<'_> {
    /// The places of one descriptor's charges.
    pub fn of_descriptor(&self, descriptor: u32) -> Range<usize> {
        let first = self.list.partition_point(|charge| charge.descriptor < descriptor);
        first..first + self.list[first..].partition_point(|charge| charge.descriptor == descriptor)
    }

    /// The places of one descriptor's gates.
    pub fn gates_of_descriptor(&self, descriptor: u32) -> Range<usize> {
        let first = self.gates.partition_point(|gate| gate.descriptor < descriptor);
        first..first + self.gates[first..].partition_point(|gate| gate.descriptor == descriptor)
    }
}

/// How the charges of a request hang together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// All are looked at; only if all have room all are charged.
    #[default]
    AllOrNone,
    /// `count_denied`: each is charged on its own, refused ones too, as envoyproxy/ratelimit does.
    EachAlone,
}

/// What became of one charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// There was room. A refund always fits.
    pub fits: bool,
    /// The counter after this charge; on a refused request, as the whole request left it.
    pub standing: Standing,
    /// When this charge would find room, given what the request's earlier ones ask of the same counter.
    pub wait: Wait,
}

/// What became of all charges of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Whether the request is refused.
    pub refused: bool,
    /// One a charge, in the same order.
    pub list: SmallVec<[Verdict; 8]>,
    /// One a gate, in the same order.
    pub gates: SmallVec<[GateVerdict; 2]>,
}
