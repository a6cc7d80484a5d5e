//! `120/minute`: counts, units and durations as text.

use std::borrow::Cow;

use super::fields::brief;
use crate::{
    bounds::{WINDOW_MAX, WINDOW_MIN},
    spelling::nearest,
    units::Nanos,
};

/// A unit of a calendar or of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// What a window is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Per {
    Unit(Unit),
    Length(Nanos),
}

/// What is wrong with a text, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub message: String,
    pub help: Option<String>,
}

impl Wrong {
    fn new(message: String, help: impl Into<Option<String>>) -> Self {
        Self { message, help: help.into() }
    }
}

const DAY: u64 = 86_400;

/// What units are called.
const UNITS: [(&str, Unit); 20] = [
    ("second", Unit::Second),
    ("seconds", Unit::Second),
    ("sec", Unit::Second),
    ("s", Unit::Second),
    ("minute", Unit::Minute),
    ("minutes", Unit::Minute),
    ("min", Unit::Minute),
    ("hour", Unit::Hour),
    ("hours", Unit::Hour),
    ("h", Unit::Hour),
    ("day", Unit::Day),
    ("days", Unit::Day),
    ("d", Unit::Day),
    ("week", Unit::Week),
    ("weeks", Unit::Week),
    ("w", Unit::Week),
    ("month", Unit::Month),
    ("months", Unit::Month),
    ("year", Unit::Year),
    ("years", Unit::Year),
];

impl Unit {
    pub(super) const ALL: [Self; 7] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Its length where it is no calendar's: months of 30 days and years of 365, as envoyproxy/ratelimit has them.
    pub(super) const fn length(self) -> Nanos {
        Nanos::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 30 * DAY,
            Self::Year => 365 * DAY,
        })
    }

    /// The unit that a rate names: `minute`, `minutes`, `min`, …
    fn named(text: &str) -> Option<Self> {
        UNITS.iter().find(|(name, _)| *name == text).map(|(_, unit)| *unit)
    }

    /// Only the calendar says how long a month is: so many of them are no length.
    const fn has_length(self) -> bool {
        !matches!(self, Self::Month | Self::Year)
    }
}

impl Per {
    /// `minute`, `30s`: as a limit is called that has no name of its own.
    pub(super) fn name(self) -> Cow<'static, str> {
        let length = match self {
            Self::Unit(unit) => return unit.word().into(),
            Self::Length(length) => length,
        };
        // A length of seven days is no `week`: that one begins on Monday.
        let clocks = [Unit::Second, Unit::Minute, Unit::Hour, Unit::Day];
        if let Some(unit) = clocks.into_iter().find(|unit| unit.length() == length) {
            return unit.word().into();
        }
        let steps = [(DAY * 1_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let millis = length.0 / Nanos::from_millis(1).0;
        let (step, suffix) = steps.into_iter().find(|(step, _)| millis.is_multiple_of(*step)).unwrap_or((1, "ms"));
        format!("{}{suffix}", millis / step).into()
    }
}

/// `COUNT/WINDOW`.
pub(super) fn rate(text: &str) -> Result<(u64, Per), Wrong> {
    let Some((count, window)) = text.split_once('/') else {
        let example = text.trim().parse::<u64>().map_or("120/minute".to_owned(), |count| format!("{count}/minute"));
        return Err(Wrong::new(
            format!("the rate `{}` is not COUNT/WINDOW", brief(text)),
            format!("for example `{example}`"),
        ));
    };
    let digits = count.trim().replace('_', "");
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = plain.then(|| digits.parse().ok()).flatten().ok_or_else(|| {
        let message = format!("the count `{}` of a rate is a whole number from 0 to {}", brief(count.trim()), u64::MAX);
        Wrong::new(message, None)
    })?;
    Ok((count, per(window.trim())?))
}

/// A unit (`minute`) or a duration (`30s`).
pub(super) fn per(text: &str) -> Result<Per, Wrong> {
    if let Some(unit) = Unit::named(text) {
        return Ok(Per::Unit(unit));
    }
    let shown = &brief(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, suffix) = text.split_at(digits);
    if digits.is_empty() {
        return Err(unknown(text, text));
    }
    let millis = match (suffix, Unit::named(suffix)) {
        ("ms", _) => 1,
        ("m", _) => 60_000,
        (_, Some(unit)) if !unit.has_length() => {
            let days = if unit == Unit::Month { 30 } else { 365 };
            let days = digits.parse::<u64>().unwrap_or(1).saturating_mul(days);
            let message = format!("the window `{shown}` has no fixed length");
            return Err(Wrong::new(message, format!("`{}` for one of the calendar, or `{days}d`", unit.word())));
        }
        (_, Some(unit)) => unit.length().0 / Nanos::from_millis(1).0,
        (_, None) => return Err(unknown(text, suffix)),
    };
    let length = digits.parse().ok().and_then(|count: u64| count.checked_mul(millis)).map(Nanos::from_millis);
    match length {
        Some(length) if length < WINDOW_MIN => {
            Err(Wrong::new(format!("the window `{shown}` is shorter than {WINDOW_MIN:?}, the shortest there is"), None))
        }
        Some(length) if length <= WINDOW_MAX => Ok(Per::Length(length)),
        _ => Err(Wrong::new(
            format!(
                "the window `{shown}` is longer than {} days, the longest there is",
                WINDOW_MAX.0 / (DAY * Nanos::SECOND.0)
            ),
            None,
        )),
    }
}

/// [`rate`] as a regular expression: what it takes, but for the sizes of numbers.
pub(super) fn rate_pattern() -> String {
    format!(r"^\s*[0-9_]*[0-9][0-9_]*\s*/\s*({}|{})\s*$", names(|_| true), lengths())
}

/// [`per`] in the same way.
pub(super) fn window_pattern() -> String {
    format!("^({}|{})$", names(|_| true), lengths())
}

/// A duration in the same way.
pub(super) fn duration_pattern() -> String {
    format!("^{}$", lengths())
}

fn lengths() -> String {
    format!("[0-9]+(ms|m|{})", names(Unit::has_length))
}

fn names(which: impl Fn(Unit) -> bool) -> String {
    let names = UNITS.iter().filter(|(_, unit)| which(*unit)).map(|(name, _)| *name);
    names.collect::<Vec<_>>().join("|")
}

fn unknown(text: &str, unit: &str) -> Wrong {
    const UNITS: [&str; 10] = ["second", "minute", "hour", "day", "week", "month", "year", "sec", "min", "ms"];
    let help = if unit == "m" {
        // Half of the world reads minutes, the other half months.
        "`min` or `month`".to_owned()
    } else if matches!(unit, "us" | "µs" | "ns") {
        format!("the shortest window is {WINDOW_MIN:?}")
    } else if let Some(word) = nearest(unit, UNITS) {
        format!("did you mean `{word}`?")
    } else {
        "a unit such as `minute`, or a duration such as `30s`".to_owned()
    };
    Wrong::new(format!("`{}` is no window", brief(text)), help)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    proptest! {
        #[test]
        fn the_patterns_take_what_is_read(
            text in "[0-9_ ]{0,3}/?[ ]?[0-9]{0,2}(sec|second|s|min|m|ms|h|hours|d|weeks|w|months?|years?|x)?[ ]?",
        ) {
            let matches = |pattern: String| Regex::new(&pattern).unwrap().is_match(&text);
            // Sizes are beyond a pattern: a window of 0 s is said to be too short.
            let sized = |wrong: &Wrong| wrong.message.contains("r than ");
            prop_assert_eq!(matches(rate_pattern()), rate(&text).map_or_else(|wrong| sized(&wrong), |_| true));
            prop_assert_eq!(matches(window_pattern()), per(&text).map_or_else(|wrong| sized(&wrong), |_| true));
            let duration = matches!(per(&text), Ok(Per::Length(_))) || per(&text).is_err_and(|wrong| sized(&wrong));
            prop_assert_eq!(matches(duration_pattern()), duration);
        }
    }

    #[test]
    fn rates_are_a_count_and_a_window() {
        let seconds = |secs| Per::Length(Nanos::from_secs(secs));
        for (text, read) in [
            ("120/minute", (120, Per::Unit(Unit::Minute))),
            ("4/s", (4, Per::Unit(Unit::Second))),
            ("1_000 / days", (1_000, Per::Unit(Unit::Day))),
            ("0/w", (0, Per::Unit(Unit::Week))),
            ("5/30s", (5, seconds(30))),
            ("5/5m", (5, seconds(300))),
            ("5/2h", (5, seconds(7_200))),
            ("5/7d", (5, seconds(7 * 86_400))),
            ("5/2weeks", (5, seconds(14 * 86_400))),
            ("5/500ms", (5, Per::Length(Nanos::from_millis(500)))),
            ("18446744073709551615/year", (u64::MAX, Per::Unit(Unit::Year))),
        ] {
            assert_eq!(rate(text), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_says_what_was_meant() {
        for (text, message, help) in [
            ("120", "the rate `120` is not COUNT/WINDOW", "for example `120/minute`"),
            ("x/minute", "the count `x` of a rate is a whole number from 0 to 18446744073709551615", ""),
            ("-1/minute", "the count `-1` of a rate is a whole number from 0 to 18446744073709551615", ""),
            (
                "18446744073709551616/s",
                "the count `18446744073709551616` of a rate is a whole number from 0 to 18446744073709551615",
                "",
            ),
            ("5/m", "`m` is no window", "`min` or `month`"),
            ("5/minuet", "`minuet` is no window", "did you mean `minute`?"),
            ("5/", "`` is no window", "a unit such as `minute`, or a duration such as `30s`"),
            ("5/0s", "the window `0s` is shorter than 1ms, the shortest there is", ""),
            ("5/100us", "`100us` is no window", "the shortest window is 1ms"),
            ("5/4000d", "the window `4000d` is longer than 3660 days, the longest there is", ""),
            (
                "5/99999999999999999999d",
                "the window `99999999999999999999d` is longer than 3660 days, the longest there is",
                "",
            ),
            ("5/3months", "the window `3months` has no fixed length", "`month` for one of the calendar, or `90d`"),
        ] {
            let wrong = rate(text).expect_err(text);
            assert_eq!((&*wrong.message, wrong.help.as_deref().unwrap_or("")), (message, help), "{text}");
        }
    }

    #[test]
    fn windows_are_called_by_their_shortest_name() {
        for (text, name) in [
            ("minute", "minute"),
            ("60s", "minute"),
            ("24h", "day"),
            ("90s", "90s"),
            ("120s", "2m"),
            ("7d", "7d"),
            ("1500ms", "1500ms"),
        ] {
            assert_eq!(per(text).map(Per::name), Ok(name.into()), "{text}");
        }
    }
}
