//! Values with `*`, and regular expressions: tried one after the other, in the order of the file.
//!
//! Both are compiled when they are loaded, look at fixed bytes first, and cost time linear in the value: what a client
//! sends can make a match slow in proportion to its length, never more.

use hashbrown::HashMap;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{
        Hir,
        literal::{ExtractKind, Extractor},
    },
};

use crate::bounds::REGEX_MAX_BYTES;

/// A compiled wildcard or regular expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Wildcard(Wildcard),
    Regex(AnchoredRegex),
}

/// Why a text is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("{message}")]
    Syntax {
        /// Where in the text, in characters from 0.
        at: usize,
        message: String,
    },
    /// Our own wrapping stands behind the text, and such a comment swallows it.
    #[error("a comment at the end of a regular expression needs a line break after it")]
    OpenComment,
    #[error("compiled, the regular expression is larger than {limit} bytes")]
    TooLarge { limit: usize },
}

impl Pattern {
    /// A value in which each `*` stands for any bytes, none included. None where there is no `*`: that is an exact value.
    ///
    /// The whole value must match, and its fixed parts may not overlap: `a*a` does not match `a`.
    pub fn wildcard(text: &str) -> Option<Self> {
        let wildcard = Wildcard::new(text)?;
        Some(Self { text: without_star_runs(text), kind: Kind::Wildcard(wildcard) })
    }

    /// A regular expression that the **whole** value must match, as bytes: `.` is any byte, `\d` and `\w` are ASCII and
    /// case is that of ASCII, so that no odd byte in a value slips past a rule. `(?u)` turns Unicode on.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, and where.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.into(), kind: Kind::Regex(AnchoredRegex::new(text)?) })
    }

    /// The pattern as it names a shared counter: as written, but for runs of `*`, which mean one.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of `value` matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        match &self.kind {
            Kind::Wildcard(wildcard) => wildcard.matches(value),
            Kind::Regex(regex) => regex.matches(value),
        }
    }

    /// Whether it surely matches any value; false where that is hard to tell.
    pub fn matches_all(&self) -> bool {
        match self.kind {
            Kind::Wildcard(_) => &*self.text == "*",
            // Of any bytes: line breaks are none to it.
            Kind::Regex(_) => &*self.text == ".*",
        }
    }

    /// Whether it surely matches every value that `other` matches; false where that is hard to tell.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            // No fixed part has a `*` in it: the stars of `other` fall to stars of its own, whatever they stand for.
            (Kind::Wildcard(wide), Kind::Wildcard(_)) => wide.matches(other.text.as_bytes()),
            _ => self.matches_all(),
        }
    }

    /// Whether it is a regular expression, not a value with `*`.
    pub const fn is_regex(&self) -> bool {
        matches!(self.kind, Kind::Regex(_))
    }
}

/// Patterns in the order of the file, each with what it stands for.
#[derive(Debug)]
pub struct Patterns<T> {
    list: Vec<(Pattern, T)>,
    /// What stands where already; wildcards and regular expressions of one text are two places.
    places: HashMap<(bool, Box<str>), T>,
}

impl<T: Copy> Patterns<T> {
    /// Adds a pattern after all others.
    ///
    /// # Errors
    ///
    /// What an equal pattern already stands for; nothing is changed.
    pub fn insert(&mut self, pattern: Pattern, value: T) -> Result<(), T> {
        self.places
            .try_insert((pattern.is_regex(), pattern.text.clone()), value)
            .map_err(|taken| *taken.entry.get())?;
        self.list.push((pattern, value));
        Ok(())
    }

    /// What the first pattern that matches stands for.
    pub fn find(&self, value: &[u8]) -> Option<T> {
        self.list.iter().find(|(pattern, _)| pattern.matches(value)).map(|&(_, found)| found)
    }

    /// Every pattern in order, with what it stands for.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, T)> {
        self.list.iter().map(|(pattern, value)| (pattern, *value))
    }
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new() }
    }
}

/// `prefix*middle*…*suffix`.
#[derive(Clone, Debug)]
struct Wildcard {
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
    /// What must occur between them, in order.
    middle: Box<[Finder<'static>]>,
}

impl Wildcard {
    fn new(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('*')?;
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let finders = middle.split('*').filter(|part| !part.is_empty()).map(|part| Finder::new(part).into_owned());
        Some(Self { prefix: prefix.as_bytes().into(), suffix: suffix.as_bytes().into(), middle: finders.collect() })
    }

    /// The leftmost place for each part leaves the most room for the next, so nothing is ever tried twice.
    fn matches(&self, value: &[u8]) -> bool {
        let Some(rest) = value.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_suffix(&*self.suffix)) else {
            return false;
        };
        let after = |rest: &[u8], part: &Finder<'_>| part.find(rest).map(|at| at + part.needle().len());
        self.middle.iter().try_fold(rest, |rest, part| after(rest, part).map(|end| &rest[end..])).is_some()
    }
}

/// A regular expression over whole values.
#[derive(Clone, Debug)]
struct AnchoredRegex {
    /// What every match begins with.
    prefix: Box<[u8]>,
    regex: Regex,
}

impl AnchoredRegex {
    fn new(text: &str) -> Result<Self, PatternError> {
        // Parsed on its own first: for errors at the right place, and so that no `)(` reaches out of the wrapping.
        let syntax = ParserBuilder::new().utf8(false).unicode(false).dot_matches_new_line(true).build().parse(text);
        let prefix = literal_prefix(&syntax.map_err(|error| syntax_error(text, &error))?);
        let regex = RegexBuilder::new(&format!(r"\A(?:{text})\z"))
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(REGEX_MAX_BYTES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => PatternError::TooLarge { limit },
                // The text itself is fine, so it can only have swallowed the end of the wrapping.
                _ => PatternError::OpenComment,
            })?;
        Ok(Self { prefix, regex })
    }

    fn matches(&self, value: &[u8]) -> bool {
        value.starts_with(&self.prefix) && self.regex.is_match(value)
    }
}

/// The bytes that every value matching `hir` from its start begins with; none where they differ.
fn literal_prefix(hir: &Hir) -> Box<[u8]> {
    let prefixes = Extractor::new().kind(ExtractKind::Prefix).extract(hir);
    prefixes.longest_common_prefix().unwrap_or_default().into()
}

fn syntax_error(text: &str, error: &regex_syntax::Error) -> PatternError {
    let (offset, message) = match error {
        regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
        other => (0, other.to_string()),
    };
    let at = text.get(..offset).map_or(0, |before| before.chars().count());
    PatternError::Syntax { at, message }
}

/// Wildcards that mean the same have one text: runs of `*` become one.
fn without_star_runs(text: &str) -> Box<str> {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '*' || !kept.ends_with('*') {
            kept.push(character);
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_bytes_and_the_whole_value_counts() {
        for (text, yes, no) in [
            ("*", vec!["", "a", "*"], vec![]),
            ("a*", vec!["a", "ab", "a*"], vec!["", "ba"]),
            ("*a", vec!["a", "ba"], vec!["", "ab"]),
            ("a*a", vec!["aa", "aba"], vec!["a", "ab", "aab"]),
            ("a*b*c", vec!["abc", "axbxc", "abbc", "abcbc"], vec!["ac", "acb", "ab"]),
            ("*b*", vec!["b", "abc"], vec!["", "ac"]),
            ("*ab*ba*", vec!["abba", "xabxbax"], vec!["aba", "baab"]),
            ("a**b", vec!["ab", "axb"], vec!["a", "b"]),
            ("/v1/*/items", vec!["/v1/a/b/items", "/v1//items"], vec!["/v1/items"]),
            ("a.*", vec!["a.", "a.b"], vec!["ab"]),
        ] {
            let pattern = Pattern::wildcard(text).unwrap();
            for value in yes {
                assert!(pattern.matches(value.as_bytes()), "{text} matches {value}");
            }
            for value in no {
                assert!(!pattern.matches(value.as_bytes()), "{text} does not match {value}");
            }
        }
        assert!(Pattern::wildcard("a*").unwrap().matches(b"a\xff\n\0"));
        assert!(Pattern::wildcard("a").is_none());
        assert_eq!(Pattern::wildcard("a***b**").unwrap().text(), "a*b*");
    }

    #[test]
    fn a_regex_must_match_the_whole_value_as_bytes() {
        for (text, yes, no) in [
            (r"[a-c]+", vec![&b"abc"[..]], vec![&b""[..], b"abcd", b"xabc"]),
            (r"a|ab", vec![b"a", b"ab"], vec![b"abb", b"b"]),
            (r"^user-\d{1,3}$", vec![b"user-1", b"user-123"], vec![b"user-1234", b"user-", b"user-1\n"]),
            (r".*", vec![b"", b"\xff\xfe", b"a\nb"], vec![]),
            (r"(?i)BETA-.+", vec![b"beta-\x80", b"Beta-1"], vec![b"beta-"]),
            ("é+", vec!["é".as_bytes()], vec![b"\xc3"]),
            (r"(?u).", vec!["é".as_bytes()], vec![b"\xff"]),
            ("(?x) a b # letters\n", vec![b"ab"], vec![b"a b"]),
            ("", vec![b""], vec![b"a"]),
        ] {
            let pattern = Pattern::regex(text).unwrap();
            for value in yes {
                assert!(pattern.matches(value), "{text} matches {}", value.escape_ascii());
            }
            for value in no {
                assert!(!pattern.matches(value), "{text} does not match {}", value.escape_ascii());
            }
        }
    }

    #[test]
    fn an_error_in_a_regex_says_where() {
        for (text, place) in
            [("a(b", 1), ("a)b", 1), ("é[", 1), ("a)|(b", 1), ("ab\\", 2), ("é{2,1}", 1), (r"é\p{Nope}", 1)]
        {
            match Pattern::regex(text) {
                Err(PatternError::Syntax { at, message }) => {
                    assert_eq!(at, place, "{text}: {message}");
                    assert!(!message.is_empty() && !message.contains('\n'), "{text}: {message}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(Pattern::regex("(?x) a # open").unwrap_err(), PatternError::OpenComment);
        assert_eq!(Pattern::regex(r"(?:\w{500}){500}").unwrap_err(), PatternError::TooLarge { limit: REGEX_MAX_BYTES });
    }

    #[test]
    fn what_every_match_begins_with_is_checked_first() {
        for (text, prefix) in
            [("user-[0-9]+", "user-"), ("^a(b|c)", "a"), ("(?i)a", ""), ("abc|abd", "ab"), ("(abc)?", ""), (".a", "")]
        {
            let regex = AnchoredRegex::new(text).unwrap();
            assert_eq!(String::from_utf8_lossy(&regex.prefix), prefix, "{text}");
        }
    }

    #[test]
    fn the_first_in_the_file_wins_and_an_equal_one_is_refused() {
        let mut patterns = Patterns::default();
        patterns.insert(Pattern::wildcard("a*").unwrap(), 1).unwrap();
        patterns.insert(Pattern::regex("a*").unwrap(), 2).unwrap();
        patterns.insert(Pattern::wildcard("*b").unwrap(), 3).unwrap();
        assert_eq!(patterns.insert(Pattern::wildcard("a**").unwrap(), 4), Err(1));
        assert_eq!(patterns.insert(Pattern::regex("a*").unwrap(), 4), Err(2));
        assert_eq!([&b"ab"[..], b"b", b"", b"c"].map(|value| patterns.find(value)), [Some(1), Some(3), Some(2), None]);
    }

    #[test]
    fn hostile_values_and_patterns_are_only_long() {
        let value = b"a".repeat(65_536);
        let parts = format!("*{}", "aaaaaaab*".repeat(100));
        assert!(!Pattern::wildcard(&parts).unwrap().matches(&value));
        assert!(Pattern::wildcard(&"*a".repeat(60_000)).unwrap().matches(&value));
        assert!(!Pattern::regex("(a+)+b").unwrap().matches(&value));
        assert!(!Pattern::regex("(a|aa)*(a|b)?c").unwrap().matches(&value));
    }

    /// What a wildcard means, in the fewest words.
    fn naive(pattern: &[u8], value: &[u8]) -> bool {
        match pattern {
            [] => value.is_empty(),
            [b'*', rest @ ..] => (0..=value.len()).any(|taken| naive(rest, &value[taken..])),
            [first, rest @ ..] => value.first() == Some(first) && naive(rest, &value[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_wildcard_means_what_its_definition_says(text in "[ab]{0,3}\\*[ab*]{0,6}", value in "[ab]{0,10}") {
            let pattern = Pattern::wildcard(&text).unwrap();
            prop_assert_eq!(pattern.matches(value.as_bytes()), naive(text.as_bytes(), value.as_bytes()));
            prop_assert_eq!(naive(pattern.text().as_bytes(), value.as_bytes()), naive(text.as_bytes(), value.as_bytes()));
        }

        #[test]
        fn what_is_covered_matches_nothing_of_its_own(
            wide in "[ab]{0,1}\\*[ab*]{0,3}", narrow in "[ab]{0,2}\\*[ab*]{0,4}", value in "[ab]{0,8}",
        ) {
            let (wide, narrow) = (Pattern::wildcard(&wide).unwrap(), Pattern::wildcard(&narrow).unwrap());
            let all = Pattern::regex(".*").unwrap();
            prop_assert!(all.covers(&narrow) && all.matches(value.as_bytes()));
            if wide.covers(&narrow) {
                prop_assert!(wide.matches(value.as_bytes()) || !narrow.matches(value.as_bytes()));
            }
        }

        #[test]
        fn the_prefix_check_changes_nothing(text in "\\^?[ab]{0,3}(\\([ab]{1,2}\\|[ab.]{1,2}\\)[?*+]?)?[ab.]?", value in "[ab]{0,6}") {
            let regex = AnchoredRegex::new(&text).unwrap();
            prop_assert_eq!(regex.matches(value.as_bytes()), regex.regex.is_match(value.as_bytes()));
        }
    }
}
