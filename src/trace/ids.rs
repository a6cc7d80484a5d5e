//! New numbers for traces and spans, and the draw of those that are traced.

use std::{
    hash::Hasher as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use siphasher::sip128::{Hash128, Hasher128 as _, SipHasher13};

use super::context::{SpanId, TraceId};

/// Numbers that nobody can guess: a counter, hashed with a secret. No two of 2⁶⁴ draws are the same, and none asks the
/// system for anything.
#[derive(Debug)]
pub(super) struct Ids {
    key: [u8; 16],
    drawn: AtomicU64,
}

impl Ids {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { key, drawn: AtomicU64::new(0) }
    }

    pub(super) fn trace(&self) -> TraceId {
        TraceId(self.draw().as_u128().max(1).to_be_bytes())
    }

    /// Two at once: a span and one within it.
    pub(super) fn spans(&self) -> [SpanId; 2] {
        let Hash128 { h1, h2 } = self.draw();
        [h1, h2].map(|id| SpanId(id.max(1).to_be_bytes()))
    }

    /// A name for this process: a random UUID (version 4), as OpenTelemetry recommends.
    pub(super) fn instance(&self) -> String {
        let id = (self.draw().as_u128() & !((0xf000 << 64) | (0xc000 << 48))) | (0x4000 << 64) | (0x8000 << 48);
        let text = format!("{id:032x}");
        [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
    }

    fn draw(&self) -> Hash128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u64(self.drawn.fetch_add(1, Relaxed));
        hasher.finish128()
    }
}

/// The part of requests that is traced though no parent says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// From 0 to 1; none otherwise.
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }

    /// Whether a request is of that part. Nothing is drawn where all are, or none.
    pub(super) fn takes(self, ids: &Ids) -> bool {
        match self.0 {
            0.0 => false,
            1.0 => true,
            // 53 bits are what a float tells apart.
            ratio => ((ids.draw().h1 >> 11) as f64) < ratio * (1_u64 << 53) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_are_never_the_same_twice_nor_those_of_another_process() {
        let mut seen = HashSet::new();
        for key in [[1; 16], [2; 16]] {
            let ids = Ids::new(key);
            for _ in 0..1_000 {
                let ([span, within], trace) = (ids.spans(), ids.trace());
                assert!(
                    seen.insert(trace.0.to_vec()) && seen.insert(span.0.to_vec()) && seen.insert(within.0.to_vec())
                );
            }
        }
    }

    #[test]
    fn a_ratio_takes_its_part() {
        for (ratio, from, to) in [(0.0, 0, 0), (0.1, 800, 1_200), (0.5, 4_700, 5_300), (1.0, 10_000, 10_000)] {
            let (ids, ratio) = (Ids::new([7; 16]), Ratio::new(ratio).unwrap());
            let taken = (0..10_000).filter(|_| ratio.takes(&ids)).count();
            assert!((from..=to).contains(&taken), "{taken} of 10,000 at {ratio:?}");
        }
        for none in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Ratio::new(none), None);
        }
    }
}
