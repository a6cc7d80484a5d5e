//! One counter as it is stored: 32 bytes, whatever its algorithm.
//!
//! | word | bits, from the upper end |
//! |---|---|
//! | 0, 1 | the lower half of the counter's key |
//! | 2 | 16 of the key's upper half, 16 of the group |
//! | 3 | 7 share of the limit, 1 dirty, 8 how long it counts after its time, 16 more of the algorithm's |
//! | 4, 5 | `used`; of a token bucket, the upper bits of `used` and `rest` |
//! | 6, 7 | 42 time in milliseconds, 22 of the algorithm's |
//!
//! What the algorithm's 38 bits hold is said by [`Form`]. Whatever does not fit is rounded up: a slot never holds less
//! than was charged. That it has expired and whether it may be evicted is read from a slot alone, without its limit.

use crate::{
    charge::CounterKey,
    limit::{Algorithm, Counter, Limit},
    units::Timestamp,
};

/// A stored counter. Snapshots hold these very words, so their meaning changes only with [`FORMAT_VERSION`].
pub type Slot = [u32; 8];

/// The version of the form of [`Slot`], and of which shard a key belongs to.
pub const FORMAT_VERSION: u32 = 1;

/// The share of a counter that has no room left: never evicted, or a client would be forgiven by someone else's flood.
pub(super) const FULL: u8 = 127;

/// Milliseconds that a slot can tell apart: 139 years. A time is read as the one nearest to now, so that neither the
/// year 2109 nor a clock that jumps decades is anything special.
const TIME_BITS: u32 = 42;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// The bits beside the time in its word.
const BESIDE_BITS: u32 = u64::BITS - TIME_BITS;
const BESIDE_MASK: u64 = (1 << BESIDE_BITS) - 1;
const NANOS_PER_MILLI: u64 = 1_000_000;

const SHARE_SHIFT: u32 = 25;
const DIRTY: u32 = 1 << 24;
const KEPT_SHIFT: u32 = 16;

/// The step of [`kept_code`], in milliseconds. The largest code then stands for 32 years; two windows of ten are the
/// longest that anything is kept.
const KEPT_STEP_MS: u64 = 64;

/// How the state of an algorithm is laid into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `used` exact, `time` in whole milliseconds (rounded up); there is no `rest`.
    Window,
    /// `used` exact, `time` in whole milliseconds (rounded up), `rest` as a float of 32 bits and an exponent: at most
    /// 2⁻³¹ of it too much.
    Sliding,
    /// `used` and `rest`/2⁶⁴ as one number of 64 bits and an exponent: at most 2⁻⁶³ of it too much. `time` in
    /// nanoseconds.
    Bucket,
}

/// The form of a limit's counters.
pub(super) fn form_of(limit: &Limit) -> Form {
    match limit.algorithm {
        Algorithm::FixedWindow => Form::Window,
        Algorithm::SlidingWindow => Form::Sliding,
        Algorithm::TokenBucket { .. } => Form::Bucket,
    }
}

/// What tells the counters of one shard apart: 80 of the 128 bits of their keys. With what the shard says of the others
/// that makes 90: among ten million counters two are taken for one with a chance of 1 in 10¹³.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The part that all windows of a descriptor have in common; it chooses the page.
    pub(super) high: u16,
    pub(super) low: u64,
}

impl Name {
    #[expect(clippy::cast_possible_truncation, reason = "parts of a hash")]
    pub(super) fn of(key: CounterKey) -> Self {
        Self { high: (key.0 >> 64) as u16, low: key.0 as u64 }
    }

    /// What most others are told apart by at one glance. From the lower half: there the windows of a descriptor differ.
    #[expect(clippy::cast_possible_truncation, reason = "a part of a hash")]
    pub(super) fn tag(self) -> u8 {
        self.low as u8
    }
}

/// Lays `counter`, the state of `limit` at `now`, into a slot. It is marked dirty.
pub(super) fn pack(name: Name, group: u32, limit: &Limit, counter: Counter, now: Timestamp) -> Slot {
    let mut slot = pack_state(form_of(limit), counter, now);
    let kept = kept_code(ceil_ms(limit.forgotten_at(counter)).saturating_sub(floor_ms(counter.time)));
    (slot[0], slot[1]) = halves(name.low);
    slot[2] = u32::from(name.high) << 16 | group & 0xFFFF;
    slot[3] |= u32::from(share(limit, counter, now)) << SHARE_SHIFT | DIRTY | u32::from(kept) << KEPT_SHIFT;
    slot
}

fn pack_state(form: Form, counter: Counter, now: Timestamp) -> Slot {
    let (amount, time_ms, beside, more) = match form {
        Form::Window => (counter.used, ceil_ms(counter.time), 0, 0),
        Form::Sliding => {
            let (bits, shift) = float_up(u128::from(counter.rest), u32::BITS);
            let rest = u64::from(shift) << u32::BITS | bits;
            (counter.used, ceil_ms(counter.time), rest & BESIDE_MASK, rest >> BESIDE_BITS)
        }
        Form::Bucket => {
            let (bits, shift) = float_up(u128::from(counter.used) << 64 | u128::from(counter.rest), u64::BITS);
            (bits, floor_ms(counter.time), counter.time.0 % NANOS_PER_MILLI, u64::from(shift))
        }
    };
    // What lies further off than a slot can tell is brought as near as it can.
    let now_ms = floor_ms(now);
    let far = TIME_MASK >> 1;
    let time_ms = time_ms.clamp(now_ms.saturating_sub(far), now_ms + far) & TIME_MASK;
    let mut slot = Slot::default();
    slot[3] = halves(more).0;
    (slot[4], slot[5]) = halves(amount);
    (slot[6], slot[7]) = halves(time_ms << BESIDE_BITS | beside);
    slot
}

/// The counter in `slot`, as `form` laid it there.
pub(super) fn counter(slot: &Slot, form: Form, now: Timestamp) -> Counter {
    let (amount, last) = (whole(slot[4], slot[5]), whole(slot[6], slot[7]));
    let (beside, more) = (last & BESIDE_MASK, u64::from(slot[3] & 0xFFFF));
    let time = Timestamp::from_millis(nearest(last >> BESIDE_BITS, floor_ms(now)));
    match form {
        Form::Window => Counter { used: amount, rest: 0, time },
        Form::Sliding => {
            let float = more << BESIDE_BITS | beside;
            let rest = u128::from(float & u64::from(u32::MAX)) << (float >> u32::BITS);
            Counter { used: amount, rest: u64::try_from(rest).unwrap_or(u64::MAX), time }
        }
        Form::Bucket => {
            let (bits, shift) = (u128::from(amount), halves(more).0);
            let sum = if shift > bits.leading_zeros() { u128::MAX } else { bits.unbounded_shl(shift) };
            let (used, rest) = (sum >> 64, sum & u128::from(u64::MAX));
            let narrow = |part| u64::try_from(part).unwrap_or(u64::MAX);
            Counter { used: narrow(used), rest: narrow(rest), time: Timestamp(time.0.saturating_add(beside)) }
        }
    }
}

/// Whether nothing would be lost with it.
pub(super) fn expired(slot: &Slot, now: Timestamp) -> bool {
    let now_ms = floor_ms(now);
    let time_ms = nearest(whole(slot[6], slot[7]) >> BESIDE_BITS, now_ms);
    time_ms + kept_ms((slot[3] >> KEPT_SHIFT & 0xFF) as u8) <= now_ms
}

pub(super) fn name(slot: &Slot) -> Name {
    Name { high: (slot[2] >> 16) as u16, low: whole(slot[0], slot[1]) }
}

/// The group it belongs to. 16 bits are kept: beyond 65,536 limits some share theirs.
pub(super) fn group(slot: &Slot) -> u16 {
    (slot[2] & 0xFFFF) as u16
}

/// How much of its limit was used when it was last charged, from 0 to [`FULL`].
pub(super) fn share_of(slot: &Slot) -> u8 {
    (slot[3] >> SHARE_SHIFT) as u8
}

/// Whether it was changed since it was last [`cleaned`](clean).
pub(super) fn is_dirty(slot: &Slot) -> bool {
    slot[3] & DIRTY != 0
}

pub(super) fn clean(slot: &mut Slot) {
    slot[3] &= !DIRTY;
}

/// How much of its limit is used, in 127ths, rounded down; [`FULL`] only where not one hit has room.
fn share(limit: &Limit, counter: Counter, now: Timestamp) -> u8 {
    if !limit.has_room(counter, now, 1) {
        return FULL;
    }
    let standing = limit.standing(counter, now);
    let of = standing.used.saturating_add(standing.available);
    // Bits that would overflow below make no difference to 127ths.
    let shift = 7 - of.leading_zeros().min(7);
    let share = (standing.used >> shift) * u64::from(FULL) / (of >> shift).max(1);
    u8::try_from(share).unwrap_or(FULL).min(FULL - 1)
}

/// `ms` in eight bits: an exponent and three bits after the leading one, rounded up.
fn kept_code(ms: u64) -> u8 {
    let steps = ms.div_ceil(KEPT_STEP_MS);
    let (bits, shift) = float_up(u128::from(steps), 4);
    // Below sixteen steps nothing is shifted; above, the leading bit is always set and needs no place.
    let code = if bits < 8 { bits } else { u64::from(shift + 1) << 3 | (bits & 7) };
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn kept_ms(code: u8) -> u64 {
    let (exponent, bits) = (u64::from(code >> 3), u64::from(code & 7));
    let steps = if exponent == 0 { bits } else { (bits | 8) << (exponent - 1) };
    steps * KEPT_STEP_MS
}

/// The smallest `bits << shift` that is not below `value`, of at most `width` bits.
fn float_up(value: u128, width: u32) -> (u64, u32) {
    let mut shift = (u128::BITS - value.leading_zeros()).saturating_sub(width);
    let mut bits = (value >> shift) + u128::from(value & ((1 << shift) - 1) != 0);
    if bits >> width != 0 {
        bits >>= 1;
        shift += 1;
    }
    (u64::try_from(bits).unwrap_or(u64::MAX), shift)
}

/// The number that ends in `low` and is nearest to `now`, where there is one above zero.
fn nearest(low: u64, now: u64) -> u64 {
    let ahead = low.wrapping_sub(now) & TIME_MASK;
    if ahead <= TIME_MASK >> 1 { now + ahead } else { now.saturating_sub(TIME_MASK + 1 - ahead) }
}

fn floor_ms(time: Timestamp) -> u64 {
    time.0 / NANOS_PER_MILLI
}

fn ceil_ms(time: Timestamp) -> u64 {
    time.0.div_ceil(NANOS_PER_MILLI)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

fn whole(lower: u32, upper: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{limit::Window, units::Nanos};

    fn limit(count: u64) -> Limit {
        Limit { count, window: Window::Length(Nanos::from_secs(60)), algorithm: Algorithm::FixedWindow }
    }

    /// A time that a slot can tell from `now`: less than 69 years off.
    fn near(now: u64, offset: i64) -> Timestamp {
        Timestamp(now.saturating_add_signed(offset % (i64::MAX / 5)))
    }

    proptest! {
        #[test]
        fn windows_come_back_as_they_were(used: u64, now: u64, offset: i64) {
            let whole_ms = near(now, offset).0 / NANOS_PER_MILLI;
            let counter = Counter { used, rest: 0, time: Timestamp::from_millis(whole_ms) };
            prop_assert_eq!(super::counter(&pack_state(Form::Window, counter, Timestamp(now)), Form::Window, Timestamp(now)), counter);
        }

        #[test]
        fn sliding_windows_never_lose_a_charge(used: u64, rest: u64, drop in 0u32..64, now: u64, offset: i64) {
            let whole_ms = near(now, offset).0 / NANOS_PER_MILLI;
            let before = Counter { used, rest: rest >> drop, time: Timestamp::from_millis(whole_ms) };
            let after = counter(&pack_state(Form::Sliding, before, Timestamp(now)), Form::Sliding, Timestamp(now));
            prop_assert_eq!((after.used, after.time), (before.used, before.time));
            prop_assert!(after.rest >= before.rest && after.rest - before.rest <= before.rest >> 31);
        }

        #[test]
        fn buckets_never_lose_a_charge(used: u64, rest: u64, drop in 0u32..64, now: u64, offset: i64) {
            let before = Counter { used: used >> drop, rest, time: near(now, offset) };
            let after = counter(&pack_state(Form::Bucket, before, Timestamp(now)), Form::Bucket, Timestamp(now));
            prop_assert_eq!(after.time, before.time);
            let sum = |counter: Counter| u128::from(counter.used) << 64 | u128::from(counter.rest);
            prop_assert!(sum(after) >= sum(before) && sum(after) - sum(before) <= sum(before) >> 63);
        }

        #[test]
        fn what_is_kept_after_its_time_is_kept_long_enough_and_an_eighth_longer_at_most(ms in 0u64..1_000_000_000_000) {
            let kept = kept_ms(kept_code(ms));
            prop_assert!(kept >= ms && kept - ms <= ms / 8 + KEPT_STEP_MS, "{ms} is kept {kept}");
        }

        #[test]
        fn a_window_expires_at_its_end_and_not_a_nanosecond_earlier(end_ms in 1u64..1 << 43, used in 1u64..9) {
            let end = Timestamp::from_millis(end_ms);
            let earlier = Timestamp(end.0 - 1);
            let counter = Counter { used, rest: 0, time: end };
            let slot = pack(Name { high: 1, low: 2 }, 3, &limit(9), counter, earlier);
            prop_assert!(!expired(&slot, earlier));
            prop_assert!(expired(&slot, end));
        }

        #[test]
        fn only_what_has_no_room_is_full(used: u64, count: u64) {
            let counter = Counter { used, rest: 0, time: Timestamp::from_secs(1) };
            prop_assert_eq!(share(&limit(count), counter, Timestamp::EPOCH) == FULL, used >= count);
        }
    }

    #[test]
    fn names_groups_shares_and_dirt_are_told_apart() {
        let counter = Counter { used: 5, rest: 0, time: Timestamp::from_secs(60) };
        let wanted = Name { high: 0xABCD, low: 0x0123_4567_89AB_CDEF };
        let mut slot = pack(wanted, 70_000, &limit(10), counter, Timestamp::EPOCH);
        assert_eq!((name(&slot), share_of(&slot), is_dirty(&slot)), (wanted, 63, true));
        assert_eq!(u32::from(group(&slot)), 70_000 - 65_536, "16 bits of it");
        clean(&mut slot);
        assert!(!is_dirty(&slot));
        assert_eq!(super::counter(&slot, Form::Window, Timestamp::EPOCH), counter);
    }

    #[test]
    fn ends_of_the_range_are_no_trouble() {
        for now in [Timestamp::EPOCH, Timestamp::from_secs(1 << 31), Timestamp::MAX] {
            for form in [Form::Window, Form::Sliding, Form::Bucket] {
                let most = Counter { used: u64::MAX, rest: u64::MAX, time: Timestamp::MAX };
                let after = counter(&pack_state(form, most, now), form, now);
                assert_eq!(after.used, u64::MAX, "{form:?} at {now:?}");
                assert!(after.time >= now, "{form:?} at {now:?}");
            }
        }
    }
}
