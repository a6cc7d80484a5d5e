//! A window as Envoy's protocol tells it: a unit, and how many of it.

use super::{CalendarUnit, Window};
use crate::units::Nanos;

/// `RateLimitResponse.RateLimit.Unit`, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unit {
    Unknown = 0,
    Second = 1,
    Minute = 2,
    Hour = 3,
    Day = 4,
    /// 30 days.
    Month = 5,
    /// 365 days.
    Year = 6,
    /// Younger than month and year, hence the number.
    Week = 7,
}

impl Unit {
    /// Each at the place of its number.
    pub const ALL: [Self; 8] =
        [Self::Unknown, Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Year, Self::Week];

    /// The one with this number, by which requests name theirs.
    pub fn numbered(number: i32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }

    /// As the protocol's files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
            Self::Year => "YEAR",
            Self::Week => "WEEK",
        }
    }
}

impl Window {
    /// The largest unit that divides it, and how many of it. UNKNOWN where it is no whole number of seconds.
    pub fn in_units(&self) -> (Unit, u64) {
        use Unit::{Day, Hour, Minute, Month, Second, Unknown, Week, Year};
        /// Seconds of each unit as Envoy reckons, longest first.
        const LENGTHS: [(Unit, u64); 7] = [
            (Year, 365 * 86_400),
            (Month, 30 * 86_400),
            (Week, 7 * 86_400),
            (Day, 86_400),
            (Hour, 3_600),
            (Minute, 60),
            (Second, 1),
        ];
        match self {
            Self::Length(length) => {
                if *length == Nanos::ZERO || length.0 % Nanos::SECOND.0 != 0 {
                    return (Unknown, 1);
                }
                let seconds = length.0 / Nanos::SECOND.0;
                // One second divides all that is left, so there is always one.
                let found = LENGTHS.iter().find(|(_, length)| seconds.is_multiple_of(*length));
                found.map_or((Unknown, 1), |&(unit, length)| (unit, seconds / length))
            }
            Self::Calendar(calendar) => {
                let unit = match calendar.unit {
                    CalendarUnit::Hour => Hour,
                    CalendarUnit::Day => Day,
                    CalendarUnit::Week => Week,
                    CalendarUnit::Month => Month,
                    CalendarUnit::Year => Year,
                };
                (unit, 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::limit::Calendar;

    #[test]
    fn every_unit_is_found_by_its_number() {
        for unit in Unit::ALL {
            assert_eq!(Unit::numbered((unit as u8).into()), Some(unit));
        }
        assert_eq!([-1, 8].map(Unit::numbered), [None, None]);
    }

    #[test]
    fn a_window_is_told_in_its_largest_unit() {
        const DAY: u64 = 86_400;
        for (millis, told) in [
            (1, ("UNKNOWN", 1)),
            (500, ("UNKNOWN", 1)),
            (1_000, ("SECOND", 1)),
            (1_500, ("UNKNOWN", 1)),
            (59_000, ("SECOND", 59)),
            (60_000, ("MINUTE", 1)),
            (90_000, ("SECOND", 90)),
            (900_000, ("MINUTE", 15)),
            (3_600_000, ("HOUR", 1)),
            (2 * DAY * 1_000, ("DAY", 2)),
            (7 * DAY * 1_000, ("WEEK", 1)),
            (30 * DAY * 1_000, ("MONTH", 1)),
            (60 * DAY * 1_000, ("MONTH", 2)),
            (365 * DAY * 1_000, ("YEAR", 1)),
            (3_650 * DAY * 1_000, ("YEAR", 10)),
            (366 * DAY * 1_000, ("DAY", 366)),
        ] {
            let (unit, times) = Window::Length(Nanos::from_millis(millis)).in_units();
            assert_eq!((unit.name(), times), told, "{millis} ms");
        }
        for (unit, told) in [
            (CalendarUnit::Hour, Unit::Hour),
            (CalendarUnit::Day, Unit::Day),
            (CalendarUnit::Week, Unit::Week),
            (CalendarUnit::Month, Unit::Month),
            (CalendarUnit::Year, Unit::Year),
        ] {
            let window = Window::Calendar(Calendar { unit, zone: TimeZone::UTC, anchor_day: 1 });
            assert_eq!(window.in_units(), (told, 1), "{unit:?}");
        }
    }
}
