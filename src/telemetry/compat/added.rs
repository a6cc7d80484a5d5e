//! What one charge adds to the numbers of its rule, as envoyproxy/ratelimit counts them.
//!
//! There every hit is charged, refused or not, and the counter before and after says what became of it: `count_denied`
//! here. Where a refused request charges nothing, all its hits are over the limit and none are near.

/// How near a counter may come to its limit until its hits count as near: that service's `NEAR_LIMIT_RATIO`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NearLimit {
    /// From 0 to 1.
    pub(super) ratio: f32,
}

/// What becomes more by so much. Of two the greater is the one that is over its limit, or nearer to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Added {
    pub(super) over: u64,
    pub(super) near: u64,
    pub(super) within: u64,
}

impl NearLimit {
    /// `hits` that were charged whether they fitted or not, and left a counter at `after`; `fits` says whether that is
    /// no more than `limit`.
    pub(super) fn charged(self, limit: u64, after: u64, hits: u64, fits: bool) -> Added {
        if fits {
            return self.let_through(limit, after, hits);
        }
        let before = after.saturating_sub(hits);
        // One that refuses below the limit is a stand-in's: it has a part of it, while the store is away.
        if before >= limit || after <= limit {
            return Added::refused(hits);
        }
        Added { over: after - limit, near: limit - self.begins(limit).max(before), within: 0 }
    }

    /// `hits` that were let through, and left a counter at `after`.
    pub(super) fn let_through(self, limit: u64, after: u64, hits: u64) -> Added {
        let (begins, before) = (self.begins(limit), after.saturating_sub(hits));
        let near = if before >= begins { hits } else { after.saturating_sub(begins) };
        Added { over: 0, near: if after > begins { near } else { 0 }, within: hits }
    }

    /// What a counter must be above for its hits to be near: that service computes with 32 bits, and so its numbers
    /// are ours.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
    fn begins(self, limit: u64) -> u64 {
        // Beyond its 32 bits of limits rounding could lead past the limit.
        ((limit as f32 * self.ratio).floor() as u64).min(limit)
    }
}

impl Added {
    /// `hits` that were refused and not charged.
    pub(super) fn refused(hits: u64) -> Self {
        Self { over: hits, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: NearLimit = NearLimit { ratio: 0.8 };

    /// The examples of that service's own tests.
    #[test]
    fn hits_are_over_near_and_within_as_envoyproxy_ratelimit_has_them() {
        for (limit, before, after, over, near, within) in [
            (20, 15, 22, 2, 4, 0),
            (20, 19, 22, 2, 1, 0),
            (20, 16, 19, 0, 3, 3),
            (20, 15, 16, 0, 0, 1),
            (20, 15, 17, 0, 1, 2),
            (20, 16, 17, 0, 1, 1),
            (20, 19, 20, 0, 1, 1),
            (20, 20, 21, 1, 0, 0),
            (15, 15, 16, 1, 0, 0),
            (8, 5, 7, 0, 1, 2),
            (10, 27, 30, 3, 0, 0),
            (10, 0, 11, 1, 2, 0),
            (0, 0, 3, 3, 0, 0),
        ] {
            let added = USUAL.charged(limit, after, after - before, after <= limit);
            assert_eq!(added, Added { over, near, within }, "limit {limit}, from {before} to {after}");
        }
    }

    #[test]
    fn near_begins_where_32_bits_say() {
        for (limit, ratio, begins) in
            [(20, 0.8, 16), (15, 0.8, 12), (8, 0.8, 6), (10, 0.7, 7), (100, 0.29, 29), (9, 1.0, 9), (9, 0.0, 0)]
        {
            assert_eq!(NearLimit { ratio }.begins(limit), begins, "{ratio} of {limit}");
        }
    }

    #[test]
    fn whoever_refuses_with_a_part_of_a_limit_refuses_all() {
        assert_eq!(USUAL.charged(10, 6, 1, false), Added::refused(1));
    }

    proptest! {
        #[test]
        fn what_becomes_of_hits_adds_up_at_any_size(
            limit in any::<u64>(), before in any::<u64>(), hits in 1_u64.., ratio in 0.0_f32..=1.0, count_all in any::<bool>(),
        ) {
            let (near, after) = (NearLimit { ratio }, before.saturating_add(hits));
            let hits = after - before;
            let fits = after <= limit;
            let added = if count_all { near.charged(limit, after, hits, fits) } else { near.let_through(limit, after, hits) };
            prop_assert!(added.near <= hits && added.over <= hits, "{added:?}");
            if added.over > 0 {
                prop_assert!(added.within == 0 && u128::from(added.over) + u128::from(added.near) <= u128::from(hits));
            } else {
                prop_assert_eq!(added.within, hits);
            }
        }
    }
}
