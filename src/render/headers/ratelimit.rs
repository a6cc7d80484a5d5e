//! `RateLimit-Limit: 4, 120;w=60, 4;w=1`, `RateLimit-Remaining: 3`, `RateLimit-Reset: 1`: the early drafts of the IETF
//! (draft-ietf-httpapi-ratelimit-headers-00 to -03). The reported window's limit stands first, then every window.

use crate::render::{
    Out, Sink,
    facts::{self, Facts},
    text::push_number,
};

pub(super) fn send<S: Sink>(facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(figure) = facts.figure else { return };
    out.header("RateLimit-Limit", |value| {
        push_number(facts::limit(figure), value);
        let alone = value.len();
        value.extend_from_slice(b", ");
        let before = value.len();
        facts.push_policies(value);
        // Windows below a second are no policies: there may be none at all.
        if value.len() == before {
            value.truncate(alone);
        }
    });
    out.number("RateLimit-Remaining", figure.remaining);
    out.number("RateLimit-Reset", figure.reset_secs);
}
