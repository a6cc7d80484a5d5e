//! Which shard a counter lives in.

use crate::charge::CounterKey;

/// Under shuttle's scheduler, where each look at a lock is a step of its own, four shards tell as much as 1,024.
const SHARD_BITS: u32 = if cfg!(all(test, feature = "shuttle")) { 2 } else { 10 };

/// 2¹⁰ shards: so few counters a shard that walking all its pages is a fraction of a millisecond, and so many that 64
/// cores rarely meet.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;

/// Upper bits of a key that choose the shard.
const BITS: u32 = 16;
const PREFIXES: usize = 1 << BITS;

/// The shard of each prefix. In the order of prefixes, so that sorted keys are sorted by shard.
static SHARD_OF: [u16; PREFIXES] = spread();

pub(super) fn shard_of(key: CounterKey) -> usize {
    usize::from(SHARD_OF[(key.0 >> (u128::BITS - BITS)) as usize])
}

/// `total` split over the shards as their prefixes are.
pub(super) fn shares(total: usize) -> impl Iterator<Item = usize> {
    let mut begun = 0;
    SHARD_OF.chunk_by(|one, other| one == other).map(move |prefixes| {
        let upto = |prefix: usize| (total as u128 * prefix as u128 / PREFIXES as u128) as usize;
        let share = upto(begun + prefixes.len()) - upto(begun);
        begun += prefixes.len();
        share
    })
}

/// Shard `i` gets prefixes in proportion to 2^(i/1024), from 1 to 2. Pages of a shard fill up and split at about one
/// time; with sizes staggered like this, some shards are always just before and some just after it, and the memory a
/// counter takes is the same at any number of them. In whole numbers: it must be the same on every machine.
#[expect(clippy::large_stack_arrays, reason = "it is built by the compiler, never on a stack")]
const fn spread() -> [u16; PREFIXES] {
    const ONE: u128 = 1 << 62;
    // The 1024th root of 2: ten square roots.
    let mut root = 2 * ONE;
    let mut bit = 0;
    while bit < SHARD_BITS {
        root = (root * ONE).isqrt();
        bit += 1;
    }
    let mut shard_of = [0; PREFIXES];
    let (mut shard, mut prefix, mut power) = (0, 0, ONE);
    while prefix < PREFIXES {
        power = power * root / ONE;
        let end =
            if shard as usize == SHARDS - 1 { PREFIXES } else { ((power - ONE) * PREFIXES as u128 / ONE) as usize };
        while prefix < end {
            shard_of[prefix] = shard;
            prefix += 1;
        }
        shard += 1;
    }
    shard_of
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn shards_grow_from_one_to_two_and_hold_everything_together() {
        let shares: Vec<usize> = shares(10_000_000).collect();
        assert_eq!((shares.len(), shares.iter().sum::<usize>()), (SHARDS, 10_000_000));
        let (first, last) = (shares[0], shares[SHARDS - 1]);
        assert!((19 * first..21 * first).contains(&(10 * last)), "{first} and {last}");
        assert!(SHARD_OF.is_sorted());
    }

    #[test]
    fn the_spread_stays_as_it_is_for_ever() {
        // Snapshots name shards: a change here is a change of FORMAT_VERSION.
        let places = [0, 1_000, 10_000, 30_000, 50_000, 65_535].map(|prefix: usize| SHARD_OF[prefix]);
        assert_eq!(places, [0, 22, 209, 556, 837, 1_023]);
    }
}
