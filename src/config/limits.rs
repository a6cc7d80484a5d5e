//! Limits of a rule: `limits`, our form, and `rate_limit`, that of envoyproxy/ratelimit.

use std::{borrow::Cow, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{
    fields::{Fields, brief},
    rate::{self, Per, Unit, Wrong},
    report::{Report, Spot},
    shape::{Form, Shape, key},
    suggest::{choice, did_you_mean},
    yaml::{Content, Node},
};
use crate::{
    bounds::{LIMITS_PER_RULE_MAX, NAME_MAX_CHARS},
    limit::{Algorithm, Calendar, CalendarUnit, Limit, Window},
    rules::Mode,
};

pub(super) const LIMIT: Shape = Shape {
    id: "limit",
    name: "a limit",
    keys: &[
        key("rate", Form::Rate, "how much in which window"),
        key("requests", Form::Number(0, u64::MAX), "how much; 0 refuses everything"),
        key("per", Form::Window, "the window: a unit such as `minute`, or a duration such as `30s`"),
        key("name", Form::Text, "what headers, logs and metrics call the window; unique in its rule"),
        key(
            "algorithm",
            Form::Words(&["fixed_window", "sliding_window", "token_bucket"]),
            "how hits are counted; `fixed_window` if nothing is said",
        ),
        key("burst", Form::Number(1, u64::MAX), "token bucket: how much may come at once; else the count"),
        key(
            "align",
            Form::Words(&["epoch", "calendar"]),
            "fixed windows of a unit: counted from 1970-01-01, or begun with the week, the month, the year",
        ),
        key("time_zone", Form::Text, "whose midnight it is: an IANA name such as `Europe/Berlin`"),
        key("anchor_day", Form::Number(1, 31), "the day on which the month starts"),
        key("mode", Form::Words(&["enforce", "shadow"]), "`shadow`: this window refuses nobody"),
    ],
    needs: &[&["rate"], &["requests", "per"]],
    exclusive: &[&["rate", "requests"], &["rate", "per"]],
    unavailable: &[],
};

pub(super) const RATE_LIMIT: Shape = Shape {
    id: "rate_limit",
    name: "`rate_limit`",
    keys: &[
        key(
            "unit",
            Form::WordsInAnyCase(&["second", "minute", "hour", "day", "week", "month", "year"]),
            "the window; weeks begin on Thursday and months have 30 days",
        ),
        key("requests_per_unit", Form::Number(0, u32::MAX as u64), "how much; 0 if nothing is said"),
        key("unlimited", Form::Boolean, "everything is let through"),
        key("name", Form::Text, "what headers, logs, metrics and `replaces` call the limit"),
        key(
            "replaces",
            Form::List(&Form::Map("replaces")),
            "limits that are dropped from a request which this rule matches",
        ),
    ],
    needs: &[&["unit"], &["unlimited"]],
    exclusive: &[],
    unavailable: &[],
};

pub(super) const REPLACES: Shape = Shape {
    id: "replaces",
    name: "an entry of `replaces`",
    keys: &[key("name", Form::Text, "the name of a limit of the domain")],
    needs: &[&["name"]],
    exclusive: &[],
    unavailable: &[],
};

/// One window of a rule, checked.
#[derive(Clone, Debug)]
pub(super) struct OneLimit {
    pub spot: Spot,
    pub limit: Limit,
    /// As written.
    pub name: Option<String>,
    /// What it is called without a written name.
    pub default_name: Cow<'static, str>,
    /// Its own mode; None: its rule's.
    pub shadow: Option<bool>,
}

impl OneLimit {
    /// What it is called, written or not.
    pub(super) fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.default_name)
    }

    /// Whether it is charged as a shadow limit in a rule of this mode.
    pub(super) fn is_shadow(&self, mode: Mode) -> bool {
        self.shadow.unwrap_or(mode == Mode::Shadow)
    }

    /// Complains where its domain cannot count so, or its store not so far.
    pub(super) fn can_be_kept(&self, count_denied: bool, count_max: Option<u64>, report: &mut Report) {
        if count_denied && self.limit.algorithm != Algorithm::FixedWindow {
            let message = "with `count_denied`, limits are fixed windows";
            let help = "refused hits would never leave a counter that slides or drains".to_owned();
            report.error_help(self.spot, message, help);
        }
        let largest = self.limit.largest();
        if let Some(max) = count_max.filter(|max| largest > *max) {
            let help = format!("at most {max}; who may have more needs no limit");
            report.error_help(self.spot, format!("the store does not count exactly up to {largest}"), help);
        }
    }
}

/// What `limits` or `rate_limit` say.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub list: Vec<OneLimit>,
    pub unlimited: bool,
    /// In the form of envoyproxy/ratelimit: addresses are then counted whole.
    pub classic: bool,
    /// Names of limits that are dropped from a request which this rule matches.
    pub replaces: Vec<(Spot, String)>,
}

/// `limits`: a list of windows.
pub(super) fn limits(rule: &Fields<'_, '_>, report: &mut Report) -> Limits {
    let nodes = rule.list("limits", report);
    if let (true, Some(spot)) = (nodes.len() > LIMITS_PER_RULE_MAX, rule.key_spot("limits")) {
        report.error(spot, format!("a rule has at most {LIMITS_PER_RULE_MAX} limits, this one has {}", nodes.len()));
        return Limits::default();
    }
    // Most rules have one, for which `collect` would leave room for four: 40 MB for a hundred thousand rules.
    let mut list = Vec::with_capacity(nodes.len());
    list.extend(nodes.iter().filter_map(|node| one_limit(node, report)));
    Limits { list, ..Limits::default() }
}

fn one_limit(node: &Node<'_>, report: &mut Report) -> Option<OneLimit> {
    if let Content::Scalar(text) = &node.content {
        let (count, per) = right(rate::rate(&text.text), node.spot, report)?;
        let window = window(per, &Alignment::default(), report)?;
        let limit = Limit { count, window, algorithm: Algorithm::FixedWindow };
        return Some(OneLimit { spot: node.spot, limit, name: None, default_name: per.name(), shadow: None });
    }
    let fields = Fields::of(node, &LIMIT, report)?;
    let alignment = Alignment::of(&fields, report);
    let name = name(&fields, report);
    let shadow = fields.word("mode", &[("enforce", false), ("shadow", true)], report);
    let counting = counting(&fields, report);
    let (count, per) = count_and_window(&fields, report)?;
    let (alignment, counting) = (alignment?, counting?);
    let window = match counting {
        Counting::Fixed => window(per, &alignment, report)?,
        Counting::Sliding | Counting::Bucket { .. } => window_without_edges(per, &alignment, counting, report)?,
    };
    let limit = Limit { count, window, algorithm: counting.algorithm(count) };
    Some(OneLimit { spot: node.spot, limit, name, default_name: per.name(), shadow })
}

fn count_and_window(fields: &Fields<'_, '_>, report: &mut Report) -> Option<(u64, Per)> {
    let parts = fields.key_spot("requests").or(fields.key_spot("per"));
    if let Some((spot, text)) = fields.text("rate", report) {
        if let Some(parts) = parts {
            report.error(parts, "a limit has either `rate` or `requests` with `per`, not both");
        }
        return right(rate::rate(text), spot, report);
    }
    if parts.is_none() {
        report.error_help(fields.spot, "the limit has no `rate`", "for example `rate: 120/minute`".to_owned());
        return None;
    }
    let count = fields.number("requests", 0..=u64::MAX, report);
    let per = fields.text("per", report).and_then(|(spot, text)| right(rate::per(text), spot, report));
    for missing in ["requests", "per"].into_iter().filter(|key| fields.node(key).is_none()) {
        report.error(fields.spot, format!("the limit has no `{missing}`"));
    }
    Some((count?, per?))
}

/// How a limit counts, as written.
#[derive(Clone, Copy, Debug)]
enum Counting {
    Fixed,
    Sliding,
    /// Without a burst of its own it holds its count.
    Bucket {
        burst: Option<u64>,
    },
}

impl Counting {
    const fn algorithm(self, count: u64) -> Algorithm {
        match self {
            Self::Fixed => Algorithm::FixedWindow,
            Self::Sliding => Algorithm::SlidingWindow,
            Self::Bucket { burst: Some(burst) } => Algorithm::TokenBucket { burst },
            Self::Bucket { burst: None } => Algorithm::TokenBucket { burst: count },
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Fixed => "fixed_window",
            Self::Sliding => "sliding_window",
            Self::Bucket { .. } => "token_bucket",
        }
    }
}

/// `algorithm` and `burst`; None where one of them is wrong.
fn counting(fields: &Fields<'_, '_>, report: &mut Report) -> Option<Counting> {
    let words = [Counting::Fixed, Counting::Sliding, Counting::Bucket { burst: None }].map(|one| (one.word(), one));
    let counting = match fields.node("algorithm") {
        Some(_) => fields.word("algorithm", &words, report)?,
        None => Counting::Fixed,
    };
    match (counting, fields.key_spot("burst")) {
        (_, None) => Some(counting),
        // None at all would refuse everything, which a count of 0 says more clearly.
        (Counting::Bucket { .. }, Some(_)) => {
            Some(Counting::Bucket { burst: Some(fields.number("burst", 1..=u64::MAX, report)?) })
        }
        (Counting::Fixed | Counting::Sliding, Some(spot)) => {
            let message = format!("`burst` means nothing to a `{}`", counting.word());
            report.error_help(spot, message, "only `algorithm: token_bucket` has one".to_owned());
            None
        }
    }
}

/// A name that stands in headers, metrics and logs.
pub(super) fn name(fields: &Fields<'_, '_>, report: &mut Report) -> Option<String> {
    let (spot, text) = fields.text("name", report)?;
    if text.is_empty() {
        report.error(spot, "`name` is empty");
    } else if text.chars().count() > NAME_MAX_CHARS {
        report.error(spot, format!("`name` has more than {NAME_MAX_CHARS} characters"));
    } else if text.contains(char::is_control) {
        report.error(spot, "`name` has a control character in it");
    } else {
        return Some(text.to_owned());
    }
    None
}

/// Where windows begin, as written.
#[derive(Debug, Default)]
struct Alignment {
    calendar: Option<(Spot, bool)>,
    zone: Option<(Spot, TimeZone)>,
    anchor_day: Option<(Spot, u8)>,
}

impl Alignment {
    /// None where a part of it is wrong: guessing the rest would only produce more errors.
    fn of(fields: &Fields<'_, '_>, report: &mut Report) -> Option<Self> {
        let calendar = match fields.key_spot("align") {
            Some(spot) => Some((spot, fields.word("align", &[("epoch", false), ("calendar", true)], report)?)),
            None => None,
        };
        let zone = match fields.node("time_zone") {
            Some(_) => Some(fields.text("time_zone", report).and_then(|(spot, text)| zone(spot, text, report))?),
            None => None,
        };
        let anchor_day = match fields.key_spot("anchor_day") {
            Some(spot) => Some((spot, u8::try_from(fields.number("anchor_day", 1..=31, report)?).unwrap_or(1))),
            None => None,
        };
        Some(Self { calendar, zone, anchor_day })
    }
}

/// The zones come with the program: what a rule means must not depend on the machine it runs on.
fn zone(spot: Spot, text: &str, report: &mut Report) -> Option<(Spot, TimeZone)> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    if let Ok(zone) = ZONES.get(text) {
        return Some((spot, zone));
    }
    let known: Vec<_> = ZONES.available().map(|name| name.as_str().to_owned()).collect();
    let help = did_you_mean(text, known.iter().map(String::as_str))
        .unwrap_or_else(|| "a name of the IANA database such as `Europe/Berlin`".to_owned());
    report.error_help(spot, format!("there is no time zone `{}`", brief(text)), help);
    None
}

fn window(per: Per, alignment: &Alignment, report: &mut Report) -> Option<Window> {
    let Alignment { calendar, zone, anchor_day } = alignment;
    let zoned = zone.as_ref().map(|(spot, _)| ("time_zone", *spot));
    let anchored = anchor_day.map(|(spot, _)| ("anchor_day", spot));
    let aligned = calendar.filter(|(_, calendar)| *calendar).map(|(spot, _)| ("align", spot));
    let (unit, length) = match per {
        Per::Length(length) => (None, length),
        Per::Unit(Unit::Second | Unit::Minute) => (None, per_length(per)),
        Per::Unit(unit) => (Some(unit), unit.length()),
    };
    let Some(unit) = unit else {
        // A minute begins at the same instant everywhere, so that `align: calendar` is what it has anyway.
        let harmless = matches!(per, Per::Unit(_));
        let useless = zoned.or(anchored).or(aligned.filter(|_| !harmless));
        if let Some((key, spot)) = useless {
            let message = format!("`{key}` means nothing to a window of `{}`", per.name());
            report.error_help(spot, message, "only hour, day, week, month and year have a calendar".to_owned());
            return None;
        }
        return Some(Window::Length(length));
    };
    if let (Some((_, day_spot)), false) = (anchored, matches!(unit, Unit::Month | Unit::Year)) {
        report.error(day_spot, format!("`anchor_day` means nothing to a window of `{}`", unit.word()));
        return None;
    }
    let default = matches!(unit, Unit::Week | Unit::Month | Unit::Year) || zoned.is_some() || anchored.is_some();
    if calendar.map_or(default, |(_, calendar)| calendar) {
        let zone = zone.as_ref().map_or(TimeZone::UTC, |(_, zone)| zone.clone());
        let anchor_day = anchor_day.map_or(1, |(_, day)| day);
        return Some(Window::Calendar(Calendar { unit: calendar_unit(unit)?, zone, anchor_day }));
    }
    if let Some((key, spot)) = zoned.or(anchored) {
        report.error(spot, format!("`{key}` means nothing with `align: epoch`"));
        return None;
    }
    Some(Window::Length(length))
}

/// Sliding windows and token buckets look back from every instant: no calendar says where they begin, and a month is 30
/// days. A month that slides would be 28 or 31 long by the day it is asked.
fn window_without_edges(per: Per, alignment: &Alignment, counting: Counting, report: &mut Report) -> Option<Window> {
    let Alignment { calendar, zone, anchor_day } = alignment;
    let aligned = calendar.filter(|(_, calendar)| *calendar).map(|(spot, _)| ("align: calendar", spot));
    let zoned = zone.as_ref().map(|(spot, _)| ("time_zone", *spot));
    let anchored = anchor_day.map(|(spot, _)| ("anchor_day", spot));
    if let Some((key, spot)) = aligned.or(zoned).or(anchored) {
        let message = format!("`{key}` means nothing to a `{}`", counting.word());
        report.error_help(spot, message, "only a `fixed_window` follows a calendar".to_owned());
        return None;
    }
    Some(Window::Length(per_length(per)))
}

const fn per_length(per: Per) -> crate::units::Nanos {
    match per {
        Per::Unit(unit) => unit.length(),
        Per::Length(length) => length,
    }
}

const fn calendar_unit(unit: Unit) -> Option<CalendarUnit> {
    Some(match unit {
        Unit::Second | Unit::Minute => return None,
        Unit::Hour => CalendarUnit::Hour,
        Unit::Day => CalendarUnit::Day,
        Unit::Week => CalendarUnit::Week,
        Unit::Month => CalendarUnit::Month,
        Unit::Year => CalendarUnit::Year,
    })
}

fn right<T>(read: Result<T, Wrong>, spot: Spot, report: &mut Report) -> Option<T> {
    read.map_err(|Wrong { message, help }| report.error_help(spot, message, help)).ok()
}

/// `rate_limit`: one window, as envoyproxy/ratelimit has it.
pub(super) fn rate_limit(node: &Node<'_>, report: &mut Report) -> Option<Limits> {
    let fields = Fields::of(node, &RATE_LIMIT, report)?;
    // That service takes an empty one for none.
    let named = fields.text("name", report).is_none_or(|(_, text)| !text.is_empty());
    let name = named.then(|| name(&fields, report)).flatten();
    let replaces = replaces(&fields, name.as_deref(), report);
    let unlimited = fields.boolean("unlimited", report).unwrap_or(false);
    let unit = classic_unit(&fields, unlimited, report);
    // Without a number nothing is let through, as there.
    let count = match fields.node("requests_per_unit") {
        Some(_) => fields.number("requests_per_unit", 0..=u64::from(u32::MAX), report),
        None => Some(0),
    };
    if unlimited {
        return Some(Limits { unlimited, classic: true, replaces, ..Limits::default() });
    }
    let (unit, count) = (unit?, count?);
    let limit = Limit { count, window: Window::Length(unit.length()), algorithm: Algorithm::FixedWindow };
    let one = OneLimit { spot: fields.spot, limit, name, default_name: unit.word().into(), shadow: None };
    Some(Limits { list: vec![one], unlimited, classic: true, replaces })
}

fn classic_unit(fields: &Fields<'_, '_>, unlimited: bool, report: &mut Report) -> Option<Unit> {
    let written = fields.text("unit", report);
    let unit = written.and_then(|(_, text)| Unit::ALL.into_iter().find(|unit| unit.word().eq_ignore_ascii_case(text)));
    match (written, unit, unlimited) {
        (Some((spot, _)), Some(_), true) => report.error(spot, "`unlimited` and a `unit` exclude each other"),
        // The service whose form this is reads it all the same.
        (Some((spot, text)), None, true) => {
            report.warning(spot, format!("the `unit` `{}` is not read beside `unlimited`", brief(text)), None);
        }
        (Some((spot, text)), None, false) => {
            let help = choice(&text.to_lowercase(), &Unit::ALL.map(Unit::word));
            report.error_help(spot, format!("`unit` cannot be `{}`", brief(text)), help);
        }
        (None, _, false) if fields.node("unit").is_none() => report.error(fields.spot, "`rate_limit` has no `unit`"),
        _ => {}
    }
    unit
}

fn replaces(fields: &Fields<'_, '_>, own: Option<&str>, report: &mut Report) -> Vec<(Spot, String)> {
    let mut names = Vec::new();
    for node in fields.list("replaces", report) {
        let Some(entry) = Fields::of(node, &REPLACES, report) else { continue };
        match entry.text("name", report) {
            Some((spot, name)) if Some(name) == own => {
                report.error(spot, format!("the limit `{}` replaces itself", brief(name)));
            }
            Some((spot, name)) if !name.is_empty() => names.push((spot, name.to_owned())),
            _ => report.error(node.spot, "an entry of `replaces` has no `name`"),
        }
    }
    names
}
