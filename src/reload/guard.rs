//! The guard against rules that are lost by accident: a beginning of a YAML list is a good list of fewer rules, so what a
//! full disk or a broken copy leaves of a file may load as well as the whole.
//!
//! What looks like that waits until somebody says that it is meant. A file that is gone is a decision of whoever removed
//! it, and its rules are not missed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::directory::Reading;
use crate::{
    bounds::{LOST_RULES_DOUBTED, LOST_SHARE_DOUBTED},
    config::{Diagnostic, diagnostic::Severity},
    rules::Rules,
};

/// How much stands in each file of a rule set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    files: BTreeMap<Arc<str>, OfFile>,
    /// Of lists that rules name, how many lines.
    lists: BTreeMap<Arc<str>, OfFile>,
}

/// How much stands in one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfFile {
    /// Rules; in a list, lines.
    rules: usize,
    limits: usize,
    lines: u32,
    /// Its last line ends as lines do.
    whole: bool,
}

/// Why a rule set that loads is not believed: it waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The file that is doubted; None: all of them together.
    file: Option<(Arc<str>, u32)>,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// Most of it is gone.
    Shrunk { what: &'static str, before: usize, after: usize },
    /// There is less in it than there was, and it ends in the middle of a line.
    CutOff,
}

impl Extent {
    pub fn of(reading: &Reading, rules: &Rules) -> Self {
        let mut extent = Self::default();
        for file in &reading.files {
            extent.files.insert(Arc::clone(&file.name), OfFile::of(&file.text));
        }
        for rule in rules.domains.values().flat_map(|domain| &domain.rules) {
            if let Some(of_file) = extent.files.get_mut(&rule.place.file) {
                of_file.rules += 1;
                of_file.limits += rule.limits().len();
            }
        }
        for (path, text) in &reading.lists {
            let of_file = OfFile::of(text.as_deref().unwrap_or_default());
            extent.lists.insert(path.to_string_lossy().into(), OfFile { rules: of_file.lines as usize, ..of_file });
        }
        extent
    }

    /// Why `next` in the place of `self` may be an accident.
    pub fn doubt(&self, next: &Self) -> Option<Doubt> {
        let still_there = self.files.iter().filter(|(file, _)| next.files.contains_key(*file));
        let before = still_there.map(|(_, of_file)| of_file.rules).sum();
        let after = next.files.values().map(|of_file| of_file.rules).sum();
        if mostly_lost(before, after) {
            return Some(Doubt { file: None, why: Why::Shrunk { what: "rules", before, after } });
        }
        let both = [(&self.files, &next.files), (&self.lists, &next.lists)];
        let mut pairs = both.into_iter().flat_map(|(before, after)| {
            after.iter().filter_map(|(file, after)| Some((file, *before.get(file)?, *after)))
        });
        pairs.find_map(|(file, before, after)| {
            let cut_off = before.whole && !after.whole && (after.rules < before.rules || after.limits < before.limits);
            let why = match (cut_off, next.lists.contains_key(file) && mostly_lost(before.rules, after.rules)) {
                (true, _) => Why::CutOff,
                (_, true) => Why::Shrunk { what: "lines", before: before.rules, after: after.rules },
                (false, false) => return None,
            };
            Some(Doubt { file: Some((Arc::clone(file), after.lines.max(1))), why })
        })
    }
}

/// Fewer than that are an edit that a person may have made by hand; the share tells an edit from what is left of a file.
fn mostly_lost(before: usize, after: usize) -> bool {
    let lost = before.saturating_sub(after);
    lost >= LOST_RULES_DOUBTED && lost > before / LOST_SHARE_DOUBTED
}

impl OfFile {
    fn of(text: &[u8]) -> Self {
        let whole = text.ends_with(b"\n");
        let lines = text.split(|&byte| byte == b'\n').count() - usize::from(whole || text.is_empty());
        Self { lines: u32::try_from(lines).unwrap_or(u32::MAX), whole, ..Self::default() }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Shrunk { what, before, after } => write!(f, "of {before} {what} only {after} are left"),
            Why::CutOff => f.write_str("the file ends in the middle of a line, and has less in it than before"),
        }
    }
}

impl Doubt {
    /// As people are told of errors in the files; `path` is where all files are.
    pub fn diagnostic(&self, path: &str) -> Diagnostic {
        let (file, line) = self.file.clone().unwrap_or_else(|| (path.into(), 1));
        let help = Some("SIGHUP or `POST /v1/reload` says that this is meant".to_owned());
        Diagnostic { severity: Severity::Error, file, line, column: 1, message: self.to_string(), help }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of so many rules, one of them a line.
    fn file(rules: usize, whole: bool) -> OfFile {
        OfFile { rules, limits: rules, lines: u32::try_from(rules).unwrap(), whole }
    }

    fn extent(files: &[(&str, usize)], lists: &[(&str, usize)]) -> Extent {
        let all =
            |list: &[(&str, usize)]| list.iter().map(|(name, rules)| ((*name).into(), file(*rules, true))).collect();
        Extent { files: all(files), lists: all(lists) }
    }

    fn told(before: &Extent, after: &Extent) -> String {
        before.doubt(after).map(|doubt| doubt.diagnostic("rules").to_string()).unwrap_or_default()
    }

    #[test]
    fn more_than_half_and_at_least_twenty_rules_are_not_lost_unasked() {
        for (before, after, doubted) in [
            (40, 20, false),
            (41, 20, true),
            (40, 19, true),
            (39, 20, false),
            (19, 0, false),
            (20, 0, true),
            (5, 900, false),
        ] {
            let told = told(&extent(&[("a", before)], &[]), &extent(&[("a", after)], &[]));
            assert_eq!(!told.is_empty(), doubted, "{before} → {after}: {told}");
        }
        let told = told(&extent(&[("a", 80)], &[]), &extent(&[("a", 12)], &[]));
        let said =
            "rules:1:1: error: of 80 rules only 12 are left; help: SIGHUP or `POST /v1/reload` says that this is meant";
        assert_eq!(told, said);
    }

    #[test]
    fn rules_that_moved_are_not_lost_and_a_file_that_is_gone_is_a_change() {
        let before = extent(&[("a", 80), ("b", 30)], &[]);
        for (after, doubted) in [
            (&[("b", 30)][..], false),
            (&[("c", 3)], false),
            (&[("a", 2), ("c", 108)], false),
            (&[("a", 80), ("b", 1)], false),
            (&[("b", 9)], true),
            (&[("a", 20), ("b", 30)], true),
        ] {
            assert_eq!(before.doubt(&extent(after, &[])).is_some(), doubted, "{after:?}");
        }
    }

    #[test]
    fn a_list_that_lost_most_of_its_lines_is_doubted_by_itself() {
        let before = extent(&[("a", 900)], &[("keys", 50), ("nets", 5)]);
        assert_eq!(told(&before, &extent(&[("a", 900)], &[("keys", 49), ("nets", 1)])), "");
        let told = told(&before, &extent(&[("a", 900)], &[("keys", 7), ("nets", 5)]));
        assert!(told.starts_with("keys:7:1: error: of 50 lines only 7 are left"), "{told}");
    }

    #[test]
    fn less_than_before_that_ends_in_a_line_is_cut_off() {
        let cut = |before: OfFile, after: OfFile| {
            let one = |of_file| Extent { files: [("a".into(), of_file)].into(), ..Extent::default() };
            one(before).doubt(&one(after)).is_some_and(|doubt| doubt.why == Why::CutOff)
        };
        assert!(cut(file(9, true), file(8, false)));
        assert!(cut(file(9, true), OfFile { limits: 8, ..file(9, false) }));
        assert!(!cut(file(9, true), file(9, false)), "an editor that writes no last newline");
        assert!(!cut(file(9, false), file(8, false)), "the same one again");
        assert!(!cut(file(9, true), file(8, true)));
    }
}
