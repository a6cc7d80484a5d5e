//! Scalars: text, and what YAML 1.1 reads in text without quotes.

use std::borrow::Cow;

/// A value without parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Scalar<'t> {
    /// As written, escapes resolved.
    pub text: Cow<'t, str>,
    /// Written without quotes and not as a block: only then can it be null, a boolean or a number.
    pub plain: bool,
}

impl Scalar<'_> {
    pub(in crate::config) fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    /// A boolean as YAML 1.1 writes them.
    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        if !self.plain {
            return None;
        }
        match &*self.text {
            "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// A whole number as YAML 1.1 and 1.2 write them: `1_000`, `0x10`, `0o17`, `017`, `0b1`.
    pub(in crate::config) fn integer(&self) -> Option<i128> {
        if !self.plain {
            return None;
        }
        let (negative, digits) = match self.text.as_bytes() {
            [b'-', ..] => (true, &self.text[1..]),
            [b'+', ..] => (false, &self.text[1..]),
            _ => (false, &*self.text),
        };
        let magnitude = magnitude(digits)?;
        Some(if negative { -magnitude } else { magnitude })
    }

    /// Any number; only `metadata` knows fractions.
    pub(in crate::config) fn number(&self) -> Option<f64> {
        if let Some(integer) = self.integer() {
            #[expect(clippy::cast_precision_loss, reason = "numbers of metadata are f64 wherever they go")]
            return Some(integer as f64);
        }
        let numeric = self.text.bytes().any(|byte| byte.is_ascii_digit())
            && self.text.bytes().all(|byte| byte.is_ascii_digit() || b"+-._eE".contains(&byte));
        if !self.plain || !numeric {
            return None;
        }
        self.text.replace('_', "").parse().ok().filter(|number: &f64| number.is_finite())
    }
}

fn magnitude(digits: &str) -> Option<i128> {
    /// The digits of 2⁶⁴ in base 2, and room for as many underscores: nothing that a rule may say is longer.
    const LENGTH_MAX: usize = 128;
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    let digits_only = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if digits.len() > LENGTH_MAX || !digits_only || digits.starts_with('_') {
        return None;
    }
    i128::from_str_radix(&digits.replace('_', ""), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar<'_> {
        Scalar { text: text.into(), plain: true }
    }

    #[test]
    fn whole_numbers_are_read_as_yaml_1_1_and_1_2_write_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("1_000", Some(1_000)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0b101", Some(5)),
            ("18446744073709551616", Some(1 << 64)),
            ("089", None),
            ("1.5", None),
            ("1e3", None),
            ("", None),
            ("_1", None),
            ("--1", None),
            ("0x-1", None),
            ("12a", None),
            ("１２", None),
        ] {
            assert_eq!(plain(text).integer(), number, "{text}");
        }
        assert_eq!(plain(&"9".repeat(1_000)).integer(), None);
        assert_eq!(Scalar { text: "5".into(), plain: false }.integer(), None);
    }

    #[test]
    fn booleans_nulls_and_fractions_are_those_of_yaml_1_1() {
        assert_eq!(plain("yes").boolean(), Some(true));
        assert_eq!(plain("Off").boolean(), Some(false));
        assert_eq!(plain("yEs").boolean(), None);
        assert_eq!(Scalar { text: "yes".into(), plain: false }.boolean(), None);
        assert!(plain("").is_null() && plain("~").is_null() && plain("null").is_null());
        assert!(!Scalar { text: "".into(), plain: false }.is_null());
        assert_eq!(plain("1.5").number(), Some(1.5));
        assert_eq!(plain("1e3").number(), Some(1_000.0));
        assert_eq!(plain("0x10").number(), Some(16.0));
        assert_eq!(plain("nan").number(), None);
        assert_eq!(plain("2026-07-05").number(), None);
    }
}
