//! Where windows begin and end.

use std::fmt::Write as _;

use jiff::{civil::Date, tz::TimeZone};

use crate::units::{Nanos, Timestamp};

const DAY: u64 = 86_400;

/// A window's length and the edges it starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// Windows of this length, aligned to the Unix epoch: a day is a UTC day, a week begins on Thursday.
    Length(Nanos),
    /// Windows of a calendar unit, as a calendar on the wall shows it.
    Calendar(Calendar),
}

/// A calendar unit in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    pub unit: CalendarUnit,
    /// An IANA zone; UTC by default.
    pub zone: TimeZone,
    /// The day on which months (and years, in January) start: 1 to 31, the last day where a month is shorter.
    pub anchor_day: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalendarUnit {
    Hour,
    Day,
    /// From Monday.
    Week,
    Month,
    Year,
}

impl Window {
    /// The window that contains `now`: its start, and its end, which is the start of the next.
    pub fn around(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Length(length) => {
                let start = Timestamp(now.0 - now.0 % length.0.max(1));
                (start, start.plus(*length))
            }
            Self::Calendar(calendar) => calendar.around(now),
        }
    }

    /// The first edge after `now`.
    pub fn end_after(&self, now: Timestamp) -> Timestamp {
        self.around(now).1
    }

    /// The length of the window that contains `now`.
    pub fn length_at(&self, now: Timestamp) -> Nanos {
        match self {
            Self::Length(length) => *length,
            Self::Calendar(calendar) => {
                let (start, end) = calendar.around(now);
                end.since(start)
            }
        }
    }

    /// The longest any of its windows can be, daylight saving and leap years included.
    pub fn longest(&self) -> Nanos {
        match self {
            Self::Length(length) => *length,
            Self::Calendar(calendar) => Nanos::from_secs(match calendar.unit {
                CalendarUnit::Hour => 2 * 3_600,
                CalendarUnit::Day => 2 * DAY,
                CalendarUnit::Week => 8 * DAY,
                CalendarUnit::Month => 32 * DAY,
                CalendarUnit::Year => 367 * DAY,
            }),
        }
    }

    /// What names a counter beside its descriptor: equal windows share counters, whatever file or rule they are from.
    pub fn identity(&self) -> String {
        match self {
            Self::Length(length) => format!("length:{}", length.0),
            Self::Calendar(calendar) => {
                let mut identity = format!("calendar:{:?}:{}", calendar.unit, calendar.anchor_day);
                let zone = calendar.zone.iana_name().unwrap_or("UTC");
                write!(identity, ":{zone}").expect("a String can be written to");
                identity
            }
        }
    }
}

impl Calendar {
    /// How many [edges](Self::edges_around) there are.
    pub const EDGES: usize = 4;

    /// The edges of the window that contains `now`, and one more on either side.
    pub fn edges_around(&self, now: Timestamp) -> [Timestamp; Self::EDGES] {
        let (start, end) = self.around(now);
        [self.around(Timestamp(start.0.saturating_sub(1))).0, start, end, self.around(end).1]
    }

    fn around(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let Some((start, end)) = self.edges(now) else {
            // Beyond what calendars know (the year 9999): one window that never ends.
            return (Timestamp::EPOCH, Timestamp::MAX);
        };
        (start, end)
    }

    fn edges(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
        let local = self.zone.to_datetime(instant);
        if self.unit == CalendarUnit::Hour {
            return hour_around(now, local);
        }
        let today = local.date();
        // The edge before or at today, and the two after it: where midnight does not exist or comes twice, an edge
        // can fall later in the day than `now`, so the window is chosen by instants, not by dates.
        let edges = self.edge_dates(today)?;
        let instants = edges.map(|date| self.midnight(date));
        instants.windows(2).find_map(|pair| match pair {
            &[Some(start), Some(end)] if start <= now && now < end => Some((start, end)),
            _ => None,
        })
    }

    /// Four consecutive days on which a window starts, `today` between the second and the third or on one of them.
    fn edge_dates(&self, today: Date) -> Option<[Date; 4]> {
        use jiff::ToSpan as _;
        match self.unit {
            CalendarUnit::Hour | CalendarUnit::Day => {
                let first = today.checked_sub(1.day()).ok()?;
                Some([first, today, today.checked_add(1.day()).ok()?, today.checked_add(2.days()).ok()?])
            }
            CalendarUnit::Week => {
                let monday = today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?;
                let at = |weeks: i64| monday.checked_add(weeks.weeks()).ok();
                Some([at(-1)?, at(0)?, at(1)?, at(2)?])
            }
            CalendarUnit::Month => {
                let first = today.first_of_month();
                let at = |months: i64| Some(self.anchored(first.checked_add(months.months()).ok()?));
                if self.anchored(first) <= today {
                    Some([at(-1)?, at(0)?, at(1)?, at(2)?])
                } else {
                    Some([at(-2)?, at(-1)?, at(0)?, at(1)?])
                }
            }
            CalendarUnit::Year => {
                let first = today.first_of_year();
                let at = |years: i64| Some(self.anchored(first.checked_add(years.years()).ok()?));
                if self.anchored(first) <= today {
                    Some([at(-1)?, at(0)?, at(1)?, at(2)?])
                } else {
                    Some([at(-2)?, at(-1)?, at(0)?, at(1)?])
                }
            }
        }
    }

    /// The anchor day of the month that `first` begins, or its last day where it is shorter.
    fn anchored(&self, first: Date) -> Date {
        let day = i8::try_from(self.anchor_day.clamp(1, 31)).unwrap_or(1).min(first.days_in_month());
        first.with().day(day).build().unwrap_or(first)
    }

    /// The first instant of `date` in the zone; where midnight is skipped, the instant that follows the gap.
    fn midnight(&self, date: Date) -> Option<Timestamp> {
        let zoned = date.to_zoned(self.zone.clone()).ok()?;
        u64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp)
    }
}

/// Hours of the zone's clock: they differ from UTC's only where the offset is not whole hours.
fn hour_around(now: Timestamp, local: jiff::civil::DateTime) -> Option<(Timestamp, Timestamp)> {
    let into_hour = u64::try_from(local.minute()).ok()? * 60 + u64::try_from(local.second()).ok()?;
    let whole_second = now.0 - now.0 % Nanos::SECOND.0;
    let start = Timestamp(whole_second.checked_sub(into_hour * Nanos::SECOND.0)?);
    Some((start, start.plus(Nanos::from_secs(3_600))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calendar(unit: CalendarUnit, zone: &str, anchor_day: u8) -> Window {
        let zone = jiff::tz::TimeZone::get(zone).expect("a bundled zone");
        Window::Calendar(Calendar { unit, zone, anchor_day })
    }

    fn instant(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = text.parse().expect("a timestamp");
        Timestamp(u64::try_from(instant.as_nanosecond()).expect("after 1970"))
    }

    #[test]
    fn calendar_windows_start_where_the_calendar_says() {
        use CalendarUnit::{Day, Hour, Month, Week, Year};
        let rows = [
            // unit, zone, anchor, now, start, end
            (Week, "UTC", 1, "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Week, "UTC", 1, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Month, "UTC", 1, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Month, "UTC", 31, "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            (Month, "UTC", 31, "2026-02-27T23:59:59Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            (Month, "UTC", 15, "2026-01-03T00:00:00Z", "2025-12-15T00:00:00Z", "2026-01-15T00:00:00Z"),
            (Year, "UTC", 1, "2026-11-22T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Year, "UTC", 6, "2026-01-02T00:00:00Z", "2025-01-06T00:00:00Z", "2026-01-06T00:00:00Z"),
            (Month, "Europe/Berlin", 1, "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            // Daylight saving: a day of 23 and one of 25 hours.
            (Day, "Europe/Berlin", 1, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Day, "Europe/Berlin", 1, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Midnight does not exist: the day begins at one o'clock.
            (Day, "America/Havana", 1, "2026-03-08T05:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
            (Day, "America/Havana", 1, "2026-03-08T04:59:59Z", "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z"),
            (Hour, "Asia/Kolkata", 1, "2026-11-22T10:15:00Z", "2026-11-22T09:30:00Z", "2026-11-22T10:30:00Z"),
        ];
        for (unit, zone, anchor, now, start, end) in rows {
            let around = calendar(unit, zone, anchor).around(instant(now));
            assert_eq!(around, (instant(start), instant(end)), "{unit:?} in {zone} from day {anchor} at {now}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_exactly_one_window_and_windows_touch(
            now in 0u64..100 * 366 * DAY * 1_000_000_000, anchor in 1u8..=31,
            unit in prop::sample::select(vec![
                CalendarUnit::Hour, CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year,
            ]),
            zone in prop::sample::select(vec!["UTC", "America/Havana", "Europe/Berlin", "Asia/Kolkata",
                "Australia/Lord_Howe", "Pacific/Apia"]),
        ) {
            let window = calendar(unit, zone, anchor);
            let now = Timestamp(now + 400 * DAY * 1_000_000_000);
            let (start, end) = window.around(now);
            prop_assert!(start <= now && now < end);
            prop_assert!(end.since(start) <= window.longest());
            prop_assert_eq!(window.around(start), (start, end));
            prop_assert_eq!(window.around(Timestamp(end.0 - 1)), (start, end));
            prop_assert_eq!(window.around(end).0, end);
        }
    }
}
