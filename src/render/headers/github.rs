//! `x-ratelimit-limit`, `-remaining`, `-used`, `-reset`, `-resource`, as api.github.com sends them: the reset is a
//! point in time, in seconds since the Unix epoch, and the resource is the rule.

use crate::render::{
    Out, Sink,
    facts::{self, Facts},
    text::Escape,
};

pub(super) fn send<S: Sink>(facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(figure) = facts.figure else { return };
    out.number("x-ratelimit-limit", facts::limit(figure));
    out.number("x-ratelimit-remaining", figure.remaining);
    out.number("x-ratelimit-used", figure.used);
    out.number("x-ratelimit-reset", facts.epoch_secs(figure.reset_secs));
    out.header("x-ratelimit-resource", |value| Escape::Header.write(facts.rule.name.as_bytes(), value));
}
