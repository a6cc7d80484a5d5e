//! `extends`: a rule takes over what it does not say itself, and the children of the rule it names.

use hashbrown::{HashMap, HashSet, hash_map::EntryRef};

use super::{
    fields::brief,
    merge,
    report::Report,
    rule::{Child, Draft, DraftId, Settings},
    suggest::did_you_mean,
};
use crate::bounds::EXTENDS_DEPTH_MAX;

/// Rules that could not be read: to name one of them is no error of its own.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub names: HashSet<Box<str>>,
    /// A part of a file is no YAML, and nobody knows what rules stand there.
    pub whole_parts: bool,
}

/// Carries out every `extends` of a domain.
pub(super) fn resolve(top: &[Child], drafts: &mut Vec<Draft>, unread: &Unread, report: &mut Report) {
    let mut names = HashMap::new();
    let mut again = Vec::new();
    index(top, drafts, &mut names, &mut again, report);
    for draft in again {
        drafts[draft.0].name = None;
    }
    let states = vec![State::New; drafts.len()];
    let mut walk = Walk { names, states, drafts, unread, report };
    for child in top {
        walk.rule(child.draft, 0);
    }
}

/// Finds every name of a domain; two rules of one name are a slip: envoyproxy/ratelimit has no names of rules, and the
/// second is `again` without.
fn index(
    level: &[Child],
    drafts: &[Draft],
    names: &mut HashMap<Box<str>, DraftId>,
    again: &mut Vec<DraftId>,
    report: &mut Report,
) {
    for child in level {
        let draft = &drafts[child.draft.0];
        if let Some((spot, name)) = &draft.name {
            match names.entry_ref(name) {
                EntryRef::Vacant(free) => {
                    free.insert(child.draft);
                }
                EntryRef::Occupied(first) => {
                    let place = report.place(drafts[first.get().0].spot);
                    let message = format!("two rules of the domain are called `{}`, the first at {place}", brief(name));
                    report.slip(*spot, message, None);
                    again.push(child.draft);
                }
            }
        }
        index(&draft.children, drafts, names, again, report);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// On the way to it: who comes here again goes round in a circle.
    Open,
    Done,
}

struct Walk<'w> {
    names: HashMap<Box<str>, DraftId>,
    states: Vec<State>,
    drafts: &'w mut Vec<Draft>,
    unread: &'w Unread,
    report: &'w mut Report,
}

impl Unread {
    fn has(&self, name: &str) -> bool {
        self.whole_parts || self.names.contains(name)
    }
}

impl Walk<'_> {
    /// Resolves a rule, what it extends, and its children; `depth` is how far down the stack this is.
    fn rule(&mut self, id: DraftId, depth: usize) {
        if self.states[id.0] != State::New {
            return;
        }
        let draft = &self.drafts[id.0];
        if depth > EXTENDS_DEPTH_MAX {
            let spot = draft.extends.as_ref().map_or(draft.spot, |(spot, _)| *spot);
            self.report.error(spot, format!("rules extend each other more than {EXTENDS_DEPTH_MAX} deep"));
            return;
        }
        self.states[id.0] = State::Open;
        let own: Vec<DraftId> = draft.children.iter().map(|child| child.draft).collect();
        for child in own {
            self.rule(child, depth + 1);
        }
        if let Some((spot, name)) = self.drafts[id.0].extends.clone() {
            match self.names.get(&name).copied() {
                Some(base) => {
                    self.rule(base, depth + 1);
                    match self.states[base.0] {
                        State::Done => self.take_over(id, base),
                        State::Open => {
                            let message =
                                format!("`extends` goes round in a circle: `{}` comes back to here", brief(&name));
                            self.report.error(spot, message);
                        }
                        // Too deep, and said so.
                        State::New => {}
                    }
                }
                None if self.unread.has(&name) => {}
                None => {
                    let known = did_you_mean(&name, self.known());
                    let help =
                        known.or_else(|| Some("rules are called by the `name` that is written at them".to_owned()));
                    self.report.error_help(spot, format!("no rule of the domain is called `{}`", brief(&name)), help);
                }
            }
        }
        self.states[id.0] = State::Done;
    }

    /// The names of the domain, in the order of its rules.
    fn known(&self) -> impl Iterator<Item = &str> {
        let named = self.drafts.iter().filter_map(|draft| draft.name.as_ref());
        named.map(|(_, name)| &**name).filter(|name| self.names.contains_key(*name))
    }

    fn take_over(&mut self, id: DraftId, base: DraftId) {
        let from = &self.drafts[base.0];
        let (settings, theirs) = (from.settings.clone(), from.children.clone());
        let own = std::mem::take(&mut self.drafts[id.0].children);
        let children = self.children(own, &theirs);
        let draft = &mut self.drafts[id.0];
        draft.settings = std::mem::take(&mut draft.settings).or(settings);
        draft.children = children;
    }

    /// `own` children, and those of `theirs` that do not stand at the place of one of them.
    fn children(&mut self, mut own: Vec<Child>, theirs: &[Child]) -> Vec<Child> {
        let mut places = HashMap::new();
        for (index, child) in own.iter().enumerate() {
            let draft = &self.drafts[child.draft.0];
            places.insert((draft.key.clone(), draft.matching.identity.clone()), index);
        }
        for child in theirs {
            let draft = &self.drafts[child.draft.0];
            let place = (!places.is_empty()).then(|| (draft.key.clone(), draft.matching.identity.clone()));
            match place.and_then(|place| places.get(&place).copied()) {
                None => own.push(Child { draft: child.draft, taken_over: true }),
                Some(index) => own[index].draft = self.parent_with(own[index].draft, child.draft),
            }
        }
        own
    }

    /// A parent without a word of its own is no answer to theirs: it only adds children.
    fn parent_with(&mut self, own: DraftId, their: DraftId) -> DraftId {
        if !merge::is_parent(&self.drafts[own.0]) {
            return own;
        }
        let mut both = self.drafts[own.0].clone();
        let theirs = self.drafts[their.0].children.clone();
        both.children = self.children(both.children, &theirs);
        self.drafts.push(both);
        self.states.push(State::Done);
        DraftId(self.drafts.len() - 1)
    }
}

impl Settings {
    /// What a rule says itself, and what `base` says where it says nothing.
    fn or(self, base: Self) -> Self {
        Self {
            action: self.action.or(base.action),
            mode: self.mode.or(base.mode),
            overdraw: self.overdraw.or(base.overdraw),
            on_exceed: self.on_exceed.or(base.on_exceed),
            on_store_error: self.on_store_error.or(base.on_store_error),
            count: self.count.or(base.count),
            ipv6_prefix: self.ipv6_prefix.or(base.ipv6_prefix),
            look: self.look.or(base.look),
            metadata: self.metadata.or(base.metadata),
            detailed_metric: self.detailed_metric.or(base.detailed_metric),
            value_to_metric: self.value_to_metric.or(base.value_to_metric),
        }
    }
}
