//! Whose trace a request belongs to, as its header `traceparent` says: [W3C Trace Context](https://www.w3.org/TR/trace-context/).
//!
//! `tracestate` beside it is not read: nobody is asked in turn who would want it, and what stands in it is a client's text.

use http::{HeaderMap, HeaderName};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `00-<trace>-<span>-<flags>`: so many bytes it has in version 00, and so many it begins with in those to come.
const LENGTH: usize = 55;

/// The number of a trace; never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// The number of a span within its trace; never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The span of somebody else that a request is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace: TraceId,
    pub span: SpanId,
    /// Whether it is recorded there.
    pub sampled: bool,
}

impl Parent {
    /// What the headers say; none where they say nothing, say it wrongly, or more than once.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let [version] = hex(&known[..2])?;
        let goes_on = match version {
            0 => more.is_empty(),
            // The one that is forbidden.
            0xff => false,
            // What later versions add stands behind another `-`.
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let separated = [2, 35, 52].iter().all(|&place| known[place] == b'-');
        let (trace, span, [flags]) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        let good = goes_on && separated && trace != [0; 16] && span != [0; 8];
        good.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1 })
    }
}

/// Reads pairs of lower-case digits: capital ones are forbidden.
fn hex<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_parent_is_read_to_the_letter_or_not_at_all() {
        let zeros = "0".repeat(32);
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            // Flags that nobody knows yet mean nothing.
            (format!("00-{TRACE}-{SPAN}-fe"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-ff"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-is-to-come"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01.what"), None),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("00-{TRACE}-{SPAN}-01-"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{zeros}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{}-01", &zeros[..16]), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("0-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00_{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}_{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}_01"), None),
            (format!("00-{}g-{SPAN}-01", &TRACE[1..]), None),
            (format!(" 00-{TRACE}-{SPAN}-01"), None),
            (String::new(), None),
        ] {
            let parent = Parent::parse(text.as_bytes());
            assert_eq!(parent.map(|parent| parent.sampled), sampled, "{text}");
            if let Some(parent) = parent {
                assert_eq!((parent.trace.0[0], parent.trace.0[15]), (0x4b, 0x36));
                assert_eq!((parent.span.0[1], parent.span.0[7]), (0xf0, 0xb7));
            }
        }
    }

    #[test]
    fn two_parents_are_none() {
        let value = HeaderValue::from_str(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(Parent::of(&headers), None);
        headers.append(&TRACEPARENT, value.clone());
        assert!(Parent::of(&headers).is_some());
        headers.append(&TRACEPARENT, value);
        assert_eq!(Parent::of(&headers), None);
    }

    proptest! {
        #[test]
        fn what_a_tracer_writes_is_read_and_no_bytes_make_it_panic(
            trace in any::<u128>().prop_filter("no trace", |id| *id != 0),
            span in any::<u64>().prop_filter("no span", |id| *id != 0),
            flags in any::<u8>(),
            cut in 0..LENGTH,
            byte in any::<u8>(),
        ) {
            let mut text = format!("00-{trace:032x}-{span:016x}-{flags:02x}").into_bytes();
            let (trace, span) = (TraceId(trace.to_be_bytes()), SpanId(span.to_be_bytes()));
            prop_assert_eq!(Parent::parse(&text), Some(Parent { trace, span, sampled: flags & 1 == 1 }));
            prop_assert_eq!(Parent::parse(&text[..cut]), None);
            text[cut] = byte;
            let _ = Parent::parse(&text);
        }
    }
}
