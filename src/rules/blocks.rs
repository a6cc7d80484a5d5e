//! Blocks: what a refusal starts, and under which names a descriptor may be blocked.
//!
//! A block stands on a whole descriptor, or on its beginning up to one level, and is named by the entries **as the rule
//! that started it counts them**. It is looked for on the way that a descriptor takes through the rules: a beginning at
//! the rule of its last level, whatever matches further down or nothing at all; a whole descriptor at the rule it
//! matches. So two descriptors that begin with the same bytes meet the same blocks, and a value that has a rule of its
//! own beside the blocked one is blocked only if that rule says so, too.
//!
//! Nothing else ties a block to the rule that started it: other numbers, names and lengths leave it as it stands, and it
//! ends early only where no rule of its level asks for such blocks any more.

use super::{
    Counted, Domain, Match, Rule,
    identity::{BEGINNING_BLOCK_SALT, BLOCK_SALT, HashKey, counter_name, descriptor_key},
    orders::{Ordered, Reach},
};
use crate::{
    request::Entry,
    units::{Nanos, Timestamp},
};

/// What a refusal of a rule starts (`on_exceed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub length: Nanos,
    /// It stands on so many entries, and so on every longer descriptor too; None: on exactly the refused descriptor.
    pub levels: Option<u32>,
}

/// A name under which a descriptor may be blocked.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'r> {
    pub key: u128,
    /// Where the block stands; it answers for a blocked descriptor that matches no rule.
    pub rule: &'r Rule,
    /// What a block that starts here blocks.
    pub reach: Reach,
    /// How long the block is that a refusal of the descriptor starts here; None: its rule starts none here.
    pub starts: Option<Nanos>,
    /// Closed until then by order; [`Timestamp::EPOCH`]: there is none.
    pub ordered_until: Timestamp,
}

/// The gates of a descriptor whose entries led past the rules `path`, one a level, as far as there were any.
pub(super) fn gates<'r>(
    domain: &'r Domain,
    entries: &[Entry<'_>],
    path: &[&'r Rule],
    matched: Option<&Match<'r>>,
    hash_key: &HashKey,
    ordered: &Ordered<'_>,
) -> Vec<Gate<'r>> {
    // Limits that came with the request and replaced the rule's are not the rule's to punish for.
    let own = matched.filter(|matched| !matched.rule_is_replaced(domain));
    let mut gates = Vec::new();
    let gate = |key, rule, reach, starts| Gate { key, rule, reach, starts, ordered_until: Timestamp::EPOCH };
    for ((depth, levels), &rule) in (1..).zip(1..).zip(path) {
        for counted in &rule.blocked_as {
            let name = descriptor_key(hash_key, &domain.name, &entries[..depth], counted);
            let starting = own.and_then(|own| own.rule.on_exceed.filter(|_| own.rule.counted().starts_with(counted)));
            let starts = starting.filter(|block| block.levels == Some(levels)).map(|block| block.length);
            let key = counter_name(name, BEGINNING_BLOCK_SALT) ^ ordered.mark(depth);
            gates.push(gate(key, rule, Reach::Beginning(depth), starts));
        }
    }
    if let Some(matched) = matched
        && let Some(Block { length, levels: None }) = matched.rule.on_exceed
    {
        let key = counter_name(matched.key, BLOCK_SALT);
        gates.push(gate(key, matched.rule, Reach::Whole, own.map(|_| length)));
    }
    gates
}

/// Writes at every rule how the beginnings are counted that end there and may be blocked; returns whether anything of
/// the domain may be.
///
/// `rules` stand in the order of a walk: each directly behind its parent, or behind the last one below its elder
/// sibling.
pub fn connect(rules: &mut [Rule]) -> bool {
    let mut any = false;
    let mut above: Vec<usize> = Vec::new();
    for index in 0..rules.len() {
        above.truncate(rules[index].counted().len().saturating_sub(1));
        above.push(index);
        let Some(block) = rules[index].on_exceed else { continue };
        any = true;
        let Some(levels) = block.levels.map(|levels| levels as usize) else { continue };
        let Some(&end) = levels.checked_sub(1).and_then(|last| above.get(last)) else { continue };
        let counted: Box<[Counted]> = rules[index].counted()[..levels].into();
        if !rules[end].blocked_as.contains(&counted) {
            rules[end].blocked_as.push(counted);
        }
    }
    any
}
