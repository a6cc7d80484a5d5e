//! `X-RateLimit-Limit: 1000`, `X-RateLimit-Remaining: 999`, `X-RateLimit-Reset: 42`: the oldest custom, the reset in
//! seconds from now.

use crate::render::{
    Out, Sink,
    facts::{self, Facts},
};

pub(super) fn send<S: Sink>(facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(figure) = facts.figure else { return };
    out.number("X-RateLimit-Limit", facts::limit(figure));
    out.number("X-RateLimit-Remaining", figure.remaining);
    out.number("X-RateLimit-Reset", figure.reset_secs);
}
