//! Values as Go programs read them from their environment.

use std::fmt::Write as _;

/// What Go takes for a boolean (`strconv.ParseBool`).
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// What Go takes for a duration (`time.ParseDuration`): numbers with units, one after the other. In whole milliseconds.
pub(super) fn millis(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-6), ("us", 1e-3), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3)];
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * millis;
        rest = after;
    }
    let sane = !text.is_empty() && sum < 1e15;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a sane number of milliseconds")]
    sane.then_some(sum as u64)
}

/// `HOST:PORT`, an IPv6 address in brackets.
pub(super) fn host_and_port(host: &str, port: &str) -> String {
    let host = host.trim();
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Directories below each other, empty ones left out.
pub(super) fn path(parts: &[String]) -> String {
    let first = parts.first().map(|root| root.trim_end_matches('/')).unwrap_or_default();
    let below = parts.iter().skip(1).map(|part| part.trim_matches('/')).filter(|part| !part.is_empty());
    below.fold(first.to_owned(), |path, part| path + "/" + part)
}

/// Text as it stands in the user or password of a URL.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String can be written to");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_go_and_no_others() {
        for (text, value) in [("true", Some(true)), ("T", Some(true)), ("1", Some(true)), ("False", Some(false))] {
            assert_eq!(boolean(text), value, "{text}");
        }
        for text in ["yes", "on", "", "tRue", "2"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, value) in [
            ("10s", Some(10_000)),
            ("24h", Some(86_400_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("100ms", Some(100)),
            ("999us", Some(0)),
            ("0", Some(0)),
            ("", None),
            ("10", None),
            ("-1s", None),
            ("1d", None),
            ("s", None),
            ("1..5s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(millis(text), value, "{text}");
        }
    }

    #[test]
    fn hosts_with_colons_stand_in_brackets() {
        for (host, joined) in [("0.0.0.0", "0.0.0.0:1"), ("::", "[::]:1"), ("[::1]", "[::1]:1"), ("a.b", "a.b:1")] {
            assert_eq!(host_and_port(host, "1"), joined);
        }
    }

    #[test]
    fn directories_are_joined_whatever_slashes_they_have() {
        let path = |parts: [&str; 3]| super::path(&parts.map(str::to_owned));
        assert_eq!(path(["/data", "ratelimit", "config"]), "/data/ratelimit/config");
        assert_eq!(path(["/data/", "/ratelimit/", "config/"]), "/data/ratelimit/config");
        assert_eq!(path(["/srv/runtime_data/current", "", "config"]), "/srv/runtime_data/current/config");
        assert_eq!(path(["here", "", ""]), "here");
    }
}
