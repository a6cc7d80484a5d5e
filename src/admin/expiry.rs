//! Until when an order holds.

use serde_json::{Value, json};

use super::{error::Error, fields::Fields};
use crate::{
    bounds::ORDER_LENGTH_MAX,
    config::duration,
    units::{Nanos, Timestamp},
};

/// Takes `expires_in`: a duration such as `"2h"`, or whole seconds.
///
/// # Errors
///
/// It is missing, no duration, or longer than an order may hold.
pub fn take(fields: &mut Fields, now: Timestamp) -> Result<Timestamp, Error> {
    let length = match fields.required("expires_in")? {
        Value::String(text) => duration(&text),
        Value::Number(secs) => secs.as_u64().map(Nanos::from_secs),
        _ => None,
    };
    let good = length.filter(|length| (Nanos::SECOND..=ORDER_LENGTH_MAX).contains(length));
    good.map(|length| now.plus(length)).ok_or_else(|| {
        let days = ORDER_LENGTH_MAX.ceil_secs() / 86_400;
        Error::bad(format!("`expires_in` is a duration from 1s to {days}d, such as \"2h\", or whole seconds"))
    })
}

/// Adds `expires_at` (RFC 3339, UTC) and `expires_in` (seconds, rounded up) to an answer.
pub fn show(answer: &mut Value, until: Timestamp, now: Timestamp) {
    answer["expires_at"] = json!(rfc3339(until));
    answer["expires_in"] = json!(until.since(now).ceil_secs());
}

/// A point in time as answers show it: UTC, in whole seconds, rounded down. Nobody is told that an order holds when it does
/// not.
pub fn rfc3339(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    jiff::Timestamp::from_second(time.as_second()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

    fn taken(value: &str) -> Result<Timestamp, Error> {
        take(&mut Fields::parse(format!("{{\"expires_in\": {value}}}").as_bytes())?, NOW)
    }

    #[test]
    fn an_order_holds_for_a_duration_or_for_seconds() {
        for (value, secs) in [("\"2h\"", 7_200), ("90", 90), ("\"366d\"", 366 * 86_400), ("\"1s\"", 1)] {
            assert_eq!(taken(value).unwrap(), NOW.plus(Nanos::from_secs(secs)), "{value}");
        }
        for value in ["0", "-1", "1.5", "\"\"", "\"2\"", "\"500ms\"", "\"367d\"", "[]", "\"minute\"", "1e300"] {
            assert!(taken(value).unwrap_err().to_string().starts_with("`expires_in` is a duration"), "{value}");
        }
        assert_eq!(taken("null").unwrap_err().to_string(), "`expires_in` is missing");
    }

    #[test]
    fn an_answer_says_when_it_ends_and_how_far_off_that_is() {
        let mut answer = json!({});
        show(&mut answer, Timestamp(NOW.0 + 1_500_000_000), NOW);
        assert_eq!(answer, json!({"expires_at": "2026-01-01T00:00:01Z", "expires_in": 2}));
    }
}
