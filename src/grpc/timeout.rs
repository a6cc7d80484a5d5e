//! How long a client waits, as its call says.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// In [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// So many the protocol allows, which leaves no room for an overflow: 10⁸ hours are 3.6 · 10¹¹ seconds.
const DIGITS_MAX: usize = 8;

/// What `grpc-timeout` says; none where it says nothing that the protocol knows. An Envoy sends `20m` unless it was told
/// otherwise, and nothing where it waits for ever.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(&GRPC_TIMEOUT).and_then(|value| parse(value.as_bytes()))
}

/// Reads one to eight digits and a unit. Zero is no timeout: the protocol wants a positive number.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let timeout = match unit {
        b'H' => Duration::from_hours(number),
        b'M' => Duration::from_mins(number),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    };
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_timeout_and_nothing_else_is() {
        for (text, expected) in [
            ("20m", Some(Duration::from_millis(20))),
            ("1H", Some(Duration::from_hours(1))),
            ("1M", Some(Duration::from_mins(1))),
            ("1S", Some(Duration::from_secs(1))),
            ("1m", Some(Duration::from_millis(1))),
            ("1u", Some(Duration::from_micros(1))),
            ("1n", Some(Duration::from_nanos(1))),
            ("00000020m", Some(Duration::from_millis(20))),
            ("99999999H", Some(Duration::from_hours(99_999_999))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0m", None),
            ("00000000H", None),
            ("100000000n", None),
            ("99999999999999999999999999H", None),
            ("", None),
            ("m", None),
            ("20", None),
            ("20s", None),
            ("20h", None),
            ("20ms", None),
            ("20 m", None),
            (" 20m", None),
            ("20m ", None),
            ("+2m", None),
            ("-2m", None),
            ("2.5m", None),
            ("0x2m", None),
            ("٢m", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
