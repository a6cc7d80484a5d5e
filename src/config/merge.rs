//! Equal parents become one: several files may add rules under the same one.

use hashbrown::HashMap;

use super::rule::{Child, Draft, DraftId};

/// Merges the equal parents of a level, and of those below it. What else is given twice is found when it is compiled.
pub(super) fn equal_parents(level: &mut Vec<Child>, drafts: &mut [Draft]) {
    let mut firsts: HashMap<(Box<str>, Box<str>), DraftId> = HashMap::new();
    level.retain(|child| {
        let draft = &drafts[child.draft.0];
        if !is_parent(draft) {
            return true;
        }
        let place = (draft.key.clone(), draft.matching.identity.clone());
        if let Some(first) = firsts.get(&place) {
            return !merge(*first, child.draft, drafts);
        }
        firsts.insert(place, child.draft);
        true
    });
    for child in level {
        let mut children = std::mem::take(&mut drafts[child.draft.0].children);
        equal_parents(&mut children, drafts);
        drafts[child.draft.0].children = children;
    }
}

/// No limit, no word of its own: only a way to its children.
pub(super) fn is_parent(draft: &Draft) -> bool {
    draft.settings.action.is_none() && draft.extends.is_none() && !draft.children.is_empty()
}

/// Whether `second` went into `first`: where both say something beside their children, neither is right.
fn merge(first: DraftId, second: DraftId, drafts: &mut [Draft]) -> bool {
    if !drafts[first.0].bare && !drafts[second.0].bare {
        return false;
    }
    let children = std::mem::take(&mut drafts[second.0].children);
    drafts[first.0].children.extend(children);
    if drafts[first.0].bare {
        let second = &drafts[second.0];
        let (name, settings, bare) = (second.name.clone(), second.settings.clone(), second.bare);
        let first = &mut drafts[first.0];
        (first.name, first.settings, first.bare) = (name, settings, bare);
    }
    true
}
