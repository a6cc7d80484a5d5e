//! `on_exceed`: the block that a refusal starts.

use super::{
    fields::{Fields, brief},
    rate::{self, Per},
    report::{Report, Spot},
    shape::{Form, Shape, key},
    suggest::quoted,
};
use crate::{
    bounds::{BLOCK_MAX, BLOCK_MIN},
    rules::Block,
    units::Nanos,
};

pub(super) const ON_EXCEED: Shape = Shape {
    id: "on_exceed",
    name: "`on_exceed`",
    keys: &[
        key("block_for", Form::Duration, "how long the block lasts"),
        key("block", Form::Text, "the key of the level up to which descriptors are blocked; else the whole descriptor"),
    ],
    needs: &[&["block_for"]],
    exclusive: &[],
    unavailable: &[],
};

/// What `on_exceed` says. Which level `block` means is known only where the rule stands: `extends` may carry it to
/// another place.
#[derive(Clone, Debug)]
pub(super) struct OnExceed {
    pub spot: Spot,
    length: Nanos,
    /// The key of the level up to which descriptors are blocked.
    block: Option<(Spot, Box<str>)>,
}

/// The `on_exceed` of a rule; None where it has none, or none that means anything.
pub(super) fn on_exceed(rule: &Fields<'_, '_>, report: &mut Report) -> Option<OnExceed> {
    let spot = rule.key_spot("on_exceed")?;
    let fields = Fields::of(rule.node("on_exceed")?, &ON_EXCEED, report)?;
    if fields.node("block_for").is_none() {
        let help = "for example `on_exceed: {block_for: 15m}`".to_owned();
        report.error_help(fields.spot, "`on_exceed` has no `block_for`", help);
    }
    let length = fields.text("block_for", report).and_then(|(spot, text)| block_for(spot, text, report));
    let block = fields.text("block", report).map(|(spot, key)| (spot, key.into()));
    Some(OnExceed { spot, length: length?, block })
}

fn block_for(spot: Spot, text: &str, report: &mut Report) -> Option<Nanos> {
    match rate::per(text) {
        Ok(Per::Length(length)) if (BLOCK_MIN..=BLOCK_MAX).contains(&length) => Some(length),
        _ => {
            let days = BLOCK_MAX.0 / (86_400 * Nanos::SECOND.0);
            let message = format!("`block_for` is a duration from {BLOCK_MIN:?} to {days}d, not `{}`", brief(text));
            report.error_help(spot, message, "for example `15m`".to_owned());
            None
        }
    }
}

impl OnExceed {
    /// The block of a rule whose levels have these keys, outermost first; None where `block` names none of them, or
    /// leaves it open which.
    pub(super) fn block(&self, keys: &[&str], report: &mut Report) -> Option<Block> {
        let Some((spot, key)) = &self.block else { return Some(Block { length: self.length, levels: None }) };
        let mut levels = (1..).zip(keys).filter(|(_, level)| ***level == **key).map(|(level, _)| level);
        match (levels.next(), levels.next()) {
            (Some(level), None) => return Some(Block { length: self.length, levels: Some(level) }),
            (Some(_), Some(_)) => {
                report.error(*spot, format!("`block: {0}` may mean two levels: both have the key `{0}`", brief(key)));
            }
            (None, _) => {
                let help = Some(format!("the keys of its levels are {}", quoted(keys)));
                report.error_help(*spot, format!("the rule has no level with the key `{}`", brief(key)), help);
            }
        }
        None
    }
}
