//! What the labels `key1` and `key2` say: that service's names of the first two levels of a rule. Deeper ones have no
//! label, and are summed up.

use smallvec::SmallVec;

use crate::{bounds::COMPAT_TEXT_MAX_BYTES, request::Entry, rules::Match};

/// Levels that have a label.
const LEVELS: usize = 2;

/// The labels of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleLabels(SmallVec<[LevelLabel; LEVELS]>);

/// The label of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelLabel {
    /// What it says by the rule file alone: `key`, or `key_value`.
    text: Box<str>,
    shows: Shows,
}

/// What a label shows of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    Nothing,
    /// `key_` and the entry's value; of an empty one, the key alone.
    Value,
    /// The same, and an empty value leaves `key_`.
    ValueEvenIfEmpty,
}

/// One level of a descriptor as labels name it: the text, or the text and the value that follows it.
pub(super) type Part<'a> = (&'a [u8], Option<&'a [u8]>);
pub(super) type Parts<'a> = SmallVec<[Part<'a>; LEVELS]>;

impl LevelLabel {
    pub fn new(text: &str, shows: Shows) -> Self {
        Self { text: text.into(), shows }
    }
}

impl RuleLabels {
    /// Those of a rule with these `levels`, outermost first.
    pub fn new(levels: impl IntoIterator<Item = LevelLabel>) -> Self {
        Self(levels.into_iter().take(LEVELS).collect())
    }

    /// What they say by the rule file alone.
    pub(super) fn by_rule(&self) -> Parts<'_> {
        self.0.iter().map(|level| (level.text.as_bytes(), None)).collect()
    }

    /// What they say of a descriptor; None where that is what they say of all.
    pub(super) fn by_value<'a>(&'a self, matched: &Match<'_>, entries: &[Entry<'a>]) -> Option<Parts<'a>> {
        // That service knows limits that come with requests by nothing else.
        if matched.limited_by_request {
            return Some(entries.iter().map(|entry| valued(entry, Shows::Value)).take(LEVELS).collect());
        }
        if self.0.iter().all(|level| level.shows == Shows::Nothing) {
            return None;
        }
        let levels = self.0.iter().zip(entries);
        let part = |(level, entry): (&'a LevelLabel, &Entry<'a>)| match level.shows {
            Shows::Nothing => (level.text.as_bytes(), None),
            shows => valued(entry, shows),
        };
        Some(levels.map(part).collect())
    }
}

fn valued<'a>(entry: &Entry<'a>, shows: Shows) -> Part<'a> {
    let has_value = shows == Shows::ValueEvenIfEmpty || !entry.value.is_empty();
    (beginning(entry.key), has_value.then(|| beginning(entry.value)))
}

/// As much of a request's text as labels show; no character is cut in two.
fn beginning(text: &[u8]) -> &[u8] {
    let Some(after) = text.get(COMPAT_TEXT_MAX_BYTES) else { return text };
    let is_within = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let mut end = COMPAT_TEXT_MAX_BYTES;
    if is_within(*after) {
        // Four bytes are the longest, and what is none of a text may be cut anywhere.
        end -= text[..end].iter().rev().take(3).take_while(|&&byte| is_within(byte)).count() + 1;
    }
    &text[..end]
}

/// A level as its label reads.
pub(super) fn of_part((text, value): Part<'_>) -> String {
    match value {
        None => label(text),
        Some(value) => label(&[text, b"_", value].concat()),
    }
}

/// `text` as labels have it: that service writes `_` for what means something to statsd, and for the dots of IPv4 addresses.
pub(super) fn label(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut dots = address_dots(text.as_bytes()).into_iter().peekable();
    let mut label = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let is_address_dot = dots.next_if_eq(&at).is_some();
        match letter {
            ':' | '|' => label.push('_'),
            _ if is_address_dot || letter.is_control() => label.push('_'),
            // The exporter takes a lone one for one that escapes what follows, and two texts would read alike.
            '\\' => label.push_str(r"\\"),
            _ => label.push(letter),
        }
    }
    label
}

/// Where the dots of IPv4 addresses stand, or of what looks like one, as `\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}` finds them.
fn address_dots(text: &[u8]) -> Vec<usize> {
    let (mut dots, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match address_at(text, at) {
            Some((three, end)) => {
                dots.extend(three);
                at = end;
            }
            None => at += 1,
        }
    }
    dots
}

/// The dots of the address that begins at `start`, and its end.
fn address_at(text: &[u8], start: usize) -> Option<([usize; 3], usize)> {
    let number = |at: usize| {
        let digits = text.get(at..)?.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        (digits > 0).then_some(at + digits)
    };
    let (mut dots, mut at) = ([0; 3], start);
    for dot in &mut dots {
        at = number(at)?;
        *dot = (text.get(at) == Some(&b'.')).then_some(at)?;
        at += 1;
    }
    Some((dots, number(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_as_envoyproxy_ratelimit_writes_them() {
        for (text, reads) in [
            (&b"database_users"[..], "database_users"),
            (b"path_/api/*", "path_/api/*"),
            (b"a:b|c", "a_b_c"),
            (b"ip_10.0.0.1", "ip_10_0_0_1"),
            (b"10.0.0.1.2", "10_0_0_1.2"),
            (b"1.2.3.4.5.6.7.8", "1_2_3_4.5_6_7_8"),
            (b"1234.5.6.7890", "1234_5_6_7890"),
            (b"1.2.3", "1.2.3"),
            (b"1..2.3.4", "1..2.3.4"),
            (b"v1.2.3.x4", "v1.2.3.x4"),
            (b"api.example.com", "api.example.com"),
            ("ü1.2.3.4ü".as_bytes(), "ü1_2_3_4ü"),
            (b"\xff\x1b[2J\n", "\u{fffd}_[2J_"),
            (br#"\"\\"#, r#"\\"\\\\"#),
        ] {
            assert_eq!(label(text), reads, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long =
            |letter: &str, ahead: usize| format!("{}{}", "x".repeat(ahead), letter.repeat(COMPAT_TEXT_MAX_BYTES));
        for letter in ["x", "ü", "€", "😀"] {
            for ahead in 0..4 {
                let text = long(letter, ahead);
                let cut = std::str::from_utf8(beginning(text.as_bytes())).unwrap();
                assert!(text.starts_with(cut), "{cut}");
                let spare = COMPAT_TEXT_MAX_BYTES - cut.len();
                assert!(spare < letter.len(), "{letter} after {ahead}: {spare}");
            }
        }
        let no_text = [0x80; 2 * COMPAT_TEXT_MAX_BYTES];
        assert!(beginning(&no_text).len() <= COMPAT_TEXT_MAX_BYTES);
    }
}
