//! The keys of counters: readable as far as nobody's secrets are concerned, and of bounded length.

use std::io::Write as _;

use crate::charge::CounterKey;

/// What the keys of all counters of a domain begin with. Braces make it alone choose the slot of a cluster, and never more
/// of it than we mean.
pub(super) fn prefix(domain: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(domain.len() + 64);
    out.extend_from_slice(b"tallygate:{");
    for &byte in domain.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(byte),
            _ => write!(out, "%{byte:02x}").expect("a Vec can be written to"),
        }
    }
    out.extend_from_slice(b"}:");
    out
}

/// Writes what follows [`prefix`] in the key of a counter.
pub(super) fn write(key: CounterKey, out: &mut Vec<u8>) {
    write!(out, "{:032x}", key.0).expect("a Vec can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_domain_in_the_only_braces_and_its_counter_in_hexadecimal() {
        for (domain, begins) in [
            ("shop", "tallygate:{shop}:"),
            ("a.b_c-d/E9", "tallygate:{a.b_c-d/E9}:"),
            ("{a}%: ", "tallygate:{%7ba%7d%25%3a%20}:"),
            ("ü", "tallygate:{%c3%bc}:"),
        ] {
            let mut key = prefix(domain);
            write(CounterKey(0xabc), &mut key);
            assert_eq!(String::from_utf8_lossy(&key), format!("{begins}{:029}abc", 0));
        }
    }
}
