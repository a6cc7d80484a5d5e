//! `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`: what envoyproxy/ratelimit sends when
//! `LIMIT_RESPONSE_HEADERS_ENABLED` is set, three bare numbers, and its way to choose the descriptor they are from.

use crate::{
    decision::{Figure, Status},
    render::{
        Out, Sink,
        facts::{self, Facts},
    },
};

/// What its three headers are called: that service lets people choose. Checked by
/// [`check_name`](super::list::check_name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    pub limit: Box<str>,
    pub remaining: Box<str>,
    pub reset: Box<str>,
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            limit: "RateLimit-Limit".into(),
            remaining: "RateLimit-Remaining".into(),
            reset: "RateLimit-Reset".into(),
        }
    }
}

pub(super) fn send<S: Sink>(names: &HeaderNames, facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(figure) = chosen(facts.statuses) else { return };
    out.number(&names.limit, facts::limit(figure));
    out.number(&names.remaining, figure.remaining);
    out.number(&names.reset, figure.reset_secs);
}

/// The first with the least remaining; but each that is over its limit takes over unless it is a quota, so of those the
/// last is chosen.
fn chosen<'s, 'p>(statuses: &'s [Status<'p>]) -> Option<&'s Figure<'p>> {
    let mut shown = statuses.iter().filter(|status| status.exposed);
    let last_over =
        shown.clone().rev().filter(|status| status.refused && !status.quota).find_map(|status| status.figure.as_ref());
    let nearest = || shown.by_ref().filter_map(|status| status.figure.as_ref()).min_by_key(|figure| figure.remaining);
    last_over.or_else(nearest)
}
