//! What loads, and still is probably not what its author meant.

use hashbrown::HashMap;

use super::{
    matching::Kind,
    report::Report,
    rule::{ADDRESS_KEY, Act, Child, Draft},
};
use crate::rules::Matcher;

/// Looks at the rules of one level beside each other.
pub(super) fn level(children: &[Child], drafts: &[Draft], report: &mut Report) {
    if children.len() < 2 {
        return;
    }
    let mut beside: HashMap<&str, Beside<'_>> = HashMap::new();
    for draft in children.iter().map(|child| &drafts[child.draft.0]) {
        let beside = beside.entry(&draft.key).or_default();
        match draft.matching.kind {
            Kind::Any | Kind::Wildcard | Kind::Networks if !draft.children.is_empty() => beside.generals.push(draft),
            Kind::Path if beside.template.is_none() => beside.template = Some(draft),
            _ => {}
        }
    }
    for draft in children.iter().map(|child| &drafts[child.draft.0]) {
        let Some(beside) = beside.get_mut(&*draft.key) else { continue };
        hides_children(draft, beside, report);
        sees_the_query(draft, beside, report);
    }
}

/// The rules of one key at a level, as far as they concern others.
#[derive(Default)]
struct Beside<'d> {
    /// Rules with children that may match more than others.
    generals: Vec<&'d Draft>,
    template: Option<&'d Draft>,
    query_said: bool,
}

/// The first choice at a level is final, so a special rule takes its values away from the general rule's children.
fn hides_children(draft: &Draft, beside: &Beside<'_>, report: &mut Report) {
    /// Every rule is held against so many others at most: loading stays linear.
    const GENERALS_MAX: usize = 32;
    let mut generals = beside.generals.iter().take(GENERALS_MAX);
    let Some(general) = generals.find(|general| covers(general, draft)) else { return };
    // Who is exempt has nothing to be limited by.
    if draft.extends.is_some() || matches!(draft.settings.action, Some(Act::Exempt)) {
        return;
    }
    let help = match &general.name {
        Some((_, name)) => format!("`extends: {name}` takes them over"),
        None => "give that rule a `name`, and take them over with `extends`".to_owned(),
    };
    let place = report.place(general.spot);
    let more = if general.matching.kind == Kind::Any { "any" } else { "more of" };
    let message = format!("this rule hides the children of the rule for {more} `{}` at {place}", draft.key);
    report.warning(draft.spot, message, help);
}

/// Whether `general` would match what `special` takes away, or a part of it.
fn covers(general: &Draft, special: &Draft) -> bool {
    /// Of long lists the beginning tells enough.
    const MATCHERS_MAX: usize = 16;
    let taken = || special.matching.matchers.iter().take(MATCHERS_MAX).map(|(_, matcher)| matcher);
    match (general.matching.kind, special.matching.kind) {
        (Kind::Any, special) => special != Kind::Any,
        (Kind::Wildcard, Kind::Value | Kind::Values) => {
            let wildcard = general.matching.matchers.first().map(|(_, matcher)| matcher);
            taken().any(|matcher| match (wildcard, matcher) {
                (Some(Matcher::Pattern(wildcard)), Matcher::Value(value)) => wildcard.matches(value),
                _ => false,
            })
        }
        (Kind::Networks, Kind::Networks) => general.matching.matchers.iter().take(MATCHERS_MAX).any(|(_, wide)| {
            taken().any(|narrow| match (wide, narrow) {
                (Matcher::Network(wide), Matcher::Network(narrow)) => wide != narrow && wide.contains(narrow),
                _ => false,
            })
        }),
        _ => false,
    }
}

/// Only templates know what a path is; once a level and key is enough to say so.
fn sees_the_query(draft: &Draft, beside: &mut Beside<'_>, report: &mut Report) {
    let raw = matches!(draft.matching.kind, Kind::Any | Kind::Value | Kind::Values);
    let Some(template) = beside.template.filter(|_| raw && !beside.query_said) else { return };
    beside.query_said = true;
    let place = report.place(template.spot);
    let message = format!("this rule sees `{}` with its query, unlike the path template at {place}", draft.key);
    report.warning(draft.spot, message, "`path: /{*rest}` is any path".to_owned());
}

/// An exempt rule, with the rules it stands under: who can choose the value is exempt at will.
pub(super) fn exempt<'d>(draft: &Draft, mut levels: impl Iterator<Item = &'d Draft>, report: &mut Report) {
    let by_address = levels.any(|level| match level.matching.kind {
        Kind::Networks => true,
        kind => *level.key == *ADDRESS_KEY && kind != Kind::Any,
    });
    if !by_address {
        let help = "exempt only what a client cannot choose: a network, by `cidr`".to_owned();
        report.warning(draft.spot, "`exempt` without a matched address: clients may choose this value", help);
    }
}
