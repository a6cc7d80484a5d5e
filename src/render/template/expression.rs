//! What a template inserts: a variable or a literal, and the filters behind it.
//!
//! | variable | is |
//! |---|---|
//! | `message` | a sentence for people on a refusal (`Retry after 1 min`), else empty |
//! | `retry_after` | seconds until this same request would pass |
//! | `limit`, `remaining`, `available`, `used` | the reported window's figures; `available` is what is really left on a refusal |
//! | `reset` | seconds until the reported window is as good as untouched; on a refusal the wait |
//! | `window` | the reported window's name |
//! | `policies` | every window: `120;w=60, 4;w=1` |
//! | `rule`, `domain` | their names |
//! | `denied` | whether the request is refused |
//! | `descriptor.KEY`, `descriptor["any key"]` | a value of the request; empty where there is none |
//!
//! A usage page has others:
//!
//! | variable | is |
//! |---|---|
//! | `window.NAME.current`, `.limit`, `.remaining`, `.reset` | the figures of the first window of this name |
//! | `window["any name"]["limit"]` | the same, for names with other signs in them |
//! | `domain`, `descriptor.KEY` | as above |
//!
//! | filter | of | gives |
//! |---|---|---|
//! | `humanize` | seconds | `1 min`, `2 h` |
//! | `epoch` | seconds from now | seconds since the Unix epoch |
//! | `http_date` | seconds from now | `Sun, 06 Nov 1994 08:49:37 GMT` |
//! | `json` | anything, last and only in JSON | a JSON value, text with its quotes |

use super::Filled;
use crate::{
    bounds,
    render::{
        facts::{self, Facts, WindowFacts},
        text::{Escape, push_number},
        time::{push_http_date, push_humanized},
    },
};

/// What one `{{ … }}` inserts.
#[derive(Debug)]
pub struct Insert {
    pub source: Source,
    /// `| json`: text gets its quotes.
    pub quoted: bool,
}

/// Where the inserted bytes come from.
#[derive(Debug)]
pub enum Source {
    Number(Number),
    Text(Text),
    Denied,
    Humanized(Number),
    /// Seconds since the Unix epoch.
    Epoch(Number),
    HttpDate(Number),
}

/// A number, by name or as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    RetryAfter,
    Limit,
    Remaining,
    Available,
    Reset,
    Used,
    /// One figure of the window of this name: on usage pages.
    Window(Box<str>, Part),
    Literal(u64),
}

/// A figure of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Current,
    Limit,
    Remaining,
    Reset,
}

/// Which variables there are, by what the template is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Headers and bodies of answers.
    Answer,
    UsagePage,
}

/// A text, by name or as it stands.
#[derive(Debug)]
pub enum Text {
    Message,
    Policies,
    Name(Name),
}

/// A text that already lies somewhere, so that it can be compared as it is.
#[derive(Debug)]
pub enum Name {
    Rule,
    Window,
    Domain,
    Descriptor(Box<[u8]>),
    Literal(Box<str>),
}

/// What a variable's name stands for.
#[derive(Debug)]
pub enum Value {
    Number(Number),
    Text(Text),
    Denied,
}

/// The variables of answers, as faults list them.
pub const VARIABLES: [&str; 13] = [
    "message",
    "retry_after",
    "limit",
    "remaining",
    "available",
    "reset",
    "used",
    "denied",
    "policies",
    "rule",
    "window",
    "domain",
    "descriptor",
];

/// The variables of usage pages, as faults list them.
pub const USAGE_PAGE_VARIABLES: [&str; 6] = [
    "window.NAME.current",
    "window.NAME.limit",
    "window.NAME.remaining",
    "window.NAME.reset",
    "descriptor.KEY",
    "domain",
];

/// The figures of a window, as they are written.
const PARTS: [(&str, Part); 4] =
    [("current", Part::Current), ("limit", Part::Limit), ("remaining", Part::Remaining), ("reset", Part::Reset)];

/// The filters.
pub const FILTERS: [&str; 4] = ["humanize", "epoch", "http_date", "json"];

impl Vocabulary {
    /// The variable of this name, those aside that need a key.
    pub(super) fn value(self, name: &str) -> Option<Value> {
        match self {
            Self::Answer => Value::of_answer(name),
            Self::UsagePage => (name == "domain").then_some(Value::Text(Text::Name(Name::Domain))),
        }
    }

    /// Whether windows can be asked for by name.
    pub(super) fn has_windows(self) -> bool {
        self == Self::UsagePage
    }

    /// All variables, as faults list them.
    pub(super) fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Answer => &VARIABLES,
            Self::UsagePage => &USAGE_PAGE_VARIABLES,
        }
    }
}

impl Part {
    /// The figure that is written so.
    pub(super) fn named(name: &str) -> Option<Self> {
        PARTS.into_iter().find(|(written, _)| *written == name).map(|(_, part)| part)
    }

    /// Every way to write a figure.
    pub(super) fn names() -> [&'static str; 4] {
        PARTS.map(|(written, _)| written)
    }

    fn of(self, window: &WindowFacts<'_>) -> u64 {
        match self {
            Self::Current => window.current,
            Self::Limit => window.limit,
            Self::Remaining => window.remaining,
            Self::Reset => window.reset_secs,
        }
    }
}

impl Value {
    fn of_answer(name: &str) -> Option<Self> {
        Some(match name {
            "message" => Self::Text(Text::Message),
            "policies" => Self::Text(Text::Policies),
            "rule" => Self::Text(Text::Name(Name::Rule)),
            "window" => Self::Text(Text::Name(Name::Window)),
            "domain" => Self::Text(Text::Name(Name::Domain)),
            "retry_after" => Self::Number(Number::RetryAfter),
            "limit" => Self::Number(Number::Limit),
            "remaining" => Self::Number(Number::Remaining),
            "available" => Self::Number(Number::Available),
            "reset" => Self::Number(Number::Reset),
            "used" => Self::Number(Number::Used),
            "denied" => Self::Denied,
            _ => return None,
        })
    }
}

impl Insert {
    pub(super) fn write(&self, facts: &Facts<'_>, escape: Escape, out: &mut Vec<u8>) -> Filled {
        let number = self.source.number();
        let found = number.and_then(|number| number.of(facts));
        let secs = found.unwrap_or(0);
        if self.is_text() && self.quoted {
            out.push(b'"');
        }
        match &self.source {
            Source::Number(_) => push_number(secs, out),
            Source::Epoch(_) => push_number(facts.epoch_secs(secs), out),
            Source::Humanized(_) => push_humanized(secs, out),
            Source::HttpDate(_) => push_http_date(facts.epoch_secs(secs), out),
            Source::Denied => out.extend_from_slice(if facts.refused { b"true" } else { b"false" }),
            // Both are made of letters, digits and `,;=` and blanks, which stand for themselves everywhere.
            Source::Text(Text::Message) => facts.push_message(out),
            Source::Text(Text::Policies) => facts.push_policies(out),
            Source::Text(Text::Name(name)) => escape.write(name.of(facts), out),
        }
        if self.is_text() && self.quoted {
            out.push(b'"');
        }
        if number.is_some() && found.is_none() { Filled::Lacking } else { Filled::Whole }
    }

    /// The most bytes it can insert.
    pub(super) fn longest(&self) -> usize {
        match self.source {
            // Twenty digits, or 30 bytes of a date and its quotes.
            Source::Number(_) | Source::Epoch(_) | Source::Humanized(_) | Source::HttpDate(_) | Source::Denied => 32,
            // The sixteen policies a rule may have are shorter than that, and so are our sentences.
            Source::Text(_) => bounds::INSERT_MAX_BYTES + "\"\"".len(),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self.source, Source::Text(_) | Source::Humanized(_) | Source::HttpDate(_))
    }
}

impl Source {
    pub(in crate::render) fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) | Self::Humanized(number) | Self::Epoch(number) | Self::HttpDate(number) => {
                Some(number)
            }
            Self::Text(_) | Self::Denied => None,
        }
    }
}

impl Number {
    /// Its value; none where this answer has no such figure.
    pub(super) fn of(&self, facts: &Facts<'_>) -> Option<u64> {
        match self {
            Self::RetryAfter => facts.retry_after_secs,
            Self::Limit => facts.figure.map(facts::limit),
            Self::Remaining => facts.figure.map(|figure| figure.remaining),
            Self::Available => facts.figure.map(|figure| figure.available),
            Self::Reset => facts.figure.map(|figure| figure.reset_secs),
            Self::Used => facts.figure.map(|figure| figure.used),
            Self::Window(name, part) => {
                facts.windows.iter().find(|window| *window.name == **name).map(|it| part.of(it))
            }
            Self::Literal(number) => Some(*number),
        }
    }
}

impl Text {
    pub(super) fn is_empty(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Message => !facts.refused,
            Self::Policies => !facts.figures.iter().any(|figure| facts::window_secs(figure).is_some()),
            Self::Name(name) => name.of(facts).is_empty(),
        }
    }
}

impl Name {
    pub(super) fn of<'a>(&'a self, facts: &Facts<'a>) -> &'a [u8] {
        match self {
            Self::Rule => facts.rule.name.as_bytes(),
            Self::Window => facts.window().as_bytes(),
            Self::Domain => facts.domain_name().as_bytes(),
            Self::Descriptor(key) => facts.descriptor_value(key).unwrap_or_default(),
            Self::Literal(text) => text.as_bytes(),
        }
    }
}
