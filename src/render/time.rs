//! Times as people and HTTP write them.

use jiff::tz::TimeZone;

use super::text::push_number;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Appends a length of time for people: one unit, rounded up, so that nobody comes back too early.
///
/// A unit begins at three quarters of itself for minutes (59 s is `1 min`) and at one and a half for hours and days,
/// where rounding up would otherwise nearly double the wait; what is exactly one of a unit is said in it.
///
/// | seconds | said |
/// |---|---|
/// | 0 to 45 | `45 s` |
/// | to 90 minutes | `1 min`, `90 min`; an hour is `1 h` |
/// | to 36 hours | `2 h`, `36 h`; a day is `1 d` |
/// | more | `2 d` |
pub fn push_humanized(secs: u64, out: &mut Vec<u8>) {
    let (count, unit) = match (secs, secs.div_ceil(MINUTE), secs.div_ceil(HOUR)) {
        (0..=45, ..) => (secs, " s"),
        (_, 60, _) => (1, " h"),
        (_, minutes @ ..=90, _) => (minutes, " min"),
        (.., 24) => (1, " d"),
        (.., hours @ ..=36) => (hours, " h"),
        _ => (secs.div_ceil(DAY), " d"),
    };
    push_number(count, out);
    out.extend_from_slice(unit.as_bytes());
}

/// Appends a point in time as HTTP writes it (IMF-fixdate, RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Points beyond the year 9999, which no [`Timestamp`](crate::units::Timestamp) reaches, are written as the epoch.
pub fn push_http_date(epoch_secs: u64, out: &mut Vec<u8>) {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

    let instant = i64::try_from(epoch_secs).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
    let date = TimeZone::UTC.to_datetime(instant.unwrap_or_default());
    let day_name = usize::try_from(date.weekday().to_monday_zero_offset()).ok().and_then(|day| DAYS.get(day));
    let month_name = usize::try_from(date.month() - 1).ok().and_then(|month| MONTHS.get(month));

    out.extend_from_slice(day_name.unwrap_or(&"").as_bytes());
    out.extend_from_slice(b", ");
    push_two_digits(date.day(), out);
    out.push(b' ');
    out.extend_from_slice(month_name.unwrap_or(&"").as_bytes());
    out.push(b' ');
    // From 1970 to 9999: always four digits.
    push_number(u64::from(date.year().unsigned_abs()), out);
    for (separator, part) in [(b' ', date.hour()), (b':', date.minute()), (b':', date.second())] {
        out.push(separator);
        push_two_digits(part, out);
    }
    out.extend_from_slice(b" GMT");
}

fn push_two_digits(number: i8, out: &mut Vec<u8>) {
    let number = number.unsigned_abs();
    out.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn humanized(secs: u64) -> String {
        let mut out = Vec::new();
        push_humanized(secs, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn http_date(secs: u64) -> String {
        let mut out = Vec::new();
        push_http_date(secs, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lengths_are_said_in_one_unit_and_rounded_up() {
        let table = [
            (0, "0 s"),
            (1, "1 s"),
            (45, "45 s"),
            (46, "1 min"),
            (59, "1 min"),
            (60, "1 min"),
            (61, "2 min"),
            (3_540, "59 min"),
            (3_541, "1 h"),
            (3_600, "1 h"),
            (3_601, "61 min"),
            (5_400, "90 min"),
            (5_401, "2 h"),
            (7_200, "2 h"),
            (7_201, "3 h"),
            (82_801, "1 d"),
            (86_400, "1 d"),
            (86_401, "25 h"),
            (129_600, "36 h"),
            (129_601, "2 d"),
            (2_592_000, "30 d"),
            (u64::MAX, "213503982334602 d"),
        ];
        for (secs, said) in table {
            assert_eq!(humanized(secs), said, "{secs} s");
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(1_709_164_799), "Wed, 28 Feb 2024 23:59:59 GMT");
        assert_eq!(http_date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(http_date(u64::MAX), http_date(0));
    }

    proptest! {
        #[test]
        fn nobody_is_told_to_come_back_too_early(secs in 0..100 * DAY) {
            let said = humanized(secs);
            let (count, unit) = said.split_once(' ').unwrap();
            let length = match unit { "s" => 1, "min" => MINUTE, "h" => HOUR, _ => DAY };
            prop_assert!(count.parse::<u64>().unwrap() * length >= secs);
        }
    }
}
