//! `RateLimit-Policy: "minute";q=120;w=60, "second";q=4;w=1` and `RateLimit: "second";r=3;t=1`:
//! draft-ietf-httpapi-ratelimit-headers-11, structured fields (RFC 9651) that any parser of such reads.

use crate::{
    bounds,
    decision::Figure,
    render::{
        Out, Sink,
        facts::{self, Facts},
        text::{Escape, push_number},
    },
};

/// The largest integer of a structured field (RFC 9651, section 3.3.1): fifteen digits.
const INTEGER_MAX: u64 = 999_999_999_999_999;

pub(super) fn send<S: Sink>(facts: &Facts<'_>, out: &mut Out<'_, S>) {
    let Some(reported) = facts.figure else { return };
    out.header("RateLimit-Policy", |value| {
        for figure in facts.figures {
            push_member(value, |value| push_policy(figure, value));
        }
    });
    out.header("RateLimit", |value| push_member(value, |value| push_limit(reported, value)));
}

/// Adds a member to a list, or nothing where it finds no room: a list cut inside of a member is no list.
fn push_member(value: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    let before = value.len();
    if before > 0 {
        value.extend_from_slice(b", ");
    }
    push(value);
    if value.len() > bounds::HEADER_VALUE_MAX_BYTES {
        value.truncate(before);
    }
}

fn push_policy(figure: &Figure<'_>, value: &mut Vec<u8>) {
    push_name(&figure.limit.name, value);
    push_parameter(b'q', facts::limit(figure), value);
    // Whole seconds above zero: a window below a second has none.
    if let Some(secs) = facts::window_secs(figure) {
        push_parameter(b'w', secs, value);
    }
}

fn push_limit(figure: &Figure<'_>, value: &mut Vec<u8>) {
    push_name(&figure.limit.name, value);
    push_parameter(b'r', figure.remaining, value);
    push_parameter(b't', figure.reset_secs, value);
}

fn push_parameter(key: u8, number: u64, value: &mut Vec<u8>) {
    debug_assert!(key.is_ascii_lowercase(), "a structured field's key");
    value.extend_from_slice(&[b';', key, b'=']);
    push_number(number.min(INTEGER_MAX), value);
}

/// A string of structured fields (RFC 9651, section 3.3.3). It knows only printable ASCII; the rest of a name is
/// percent-encoded.
fn push_name(name: &str, value: &mut Vec<u8>) {
    value.push(b'"');
    if name.contains(['"', '\\']) {
        for &byte in name.as_bytes() {
            if matches!(byte, b'"' | b'\\') {
                value.push(b'\\');
            }
            Escape::Header.write(&[byte], value);
        }
    } else {
        Escape::Header.write(name.as_bytes(), value);
    }
    value.push(b'"');
}
