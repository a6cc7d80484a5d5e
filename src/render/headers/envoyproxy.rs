//! `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`: what envoyproxy/ratelimit sends when
//! `LIMIT_RESPONSE_HEADERS_ENABLED` is set, three bare numbers, and its way to choose the descriptor they are from.

use crate::{
    decision::{Figure, Status},
    render::{
        Out, Sink,
        facts::{self, Facts},
    },
};

pub(super) fn send<S: Sink>(facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(figure) = chosen(facts.statuses) else { return };
    out.number("RateLimit-Limit", facts::limit(figure));
    out.number("RateLimit-Remaining", figure.remaining);
    out.number("RateLimit-Reset", figure.reset_secs);
}

/// The first with the least remaining; but each that is over its limit takes over, so of those the last is chosen.
fn chosen<'s, 'p>(statuses: &'s [Status<'p>]) -> Option<&'s Figure<'p>> {
    let mut shown = statuses.iter().filter(|status| status.exposed);
    let last_over = shown.clone().rev().filter(|status| status.refused).find_map(|status| status.figure.as_ref());
    let nearest = || shown.by_ref().filter_map(|status| status.figure.as_ref()).min_by_key(|figure| figure.remaining);
    last_over.or_else(nearest)
}
