//! Paths of URLs: normalising. [`template`] reads what rules say about them, [`tree`] finds the template of a path.
//!
//! Envoy sends `:path` as the client wrote it. Whatever one handler of the API would answer must be one path here, or
//! a client walks around its limit with a slash.

pub mod template;
pub mod tree;

use smallvec::SmallVec;

pub use template::{Template, TemplateError};
pub use tree::Tree;

/// Room for a rewritten path on the stack; longer ones are rare and cost an allocation.
type Rewritten = SmallVec<[u8; 256]>;

/// A normalised path: `/`, or segments that each begin with `/` and are not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'v>(Text<'v>);

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one lookup; a box is the allocation it saves")]
enum Text<'v> {
    Borrowed(&'v [u8]),
    Rewritten(Rewritten),
}

impl<'v> Path<'v> {
    /// The path of `value`: what stands before `?` or `#`, with `//` merged, then `.` and `..` resolved (never above
    /// the root), unreserved `%XX` decoded (RFC 3986, 6.2.2) and one final `/` dropped.
    ///
    /// Escapes that stay are written in upper case, and a `%` that begins none as `%25`, so that normalising twice is
    /// normalising once. None for what does not begin with `/`: it matches no template.
    pub fn parse(value: &'v [u8]) -> Option<Self> {
        let end = value.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(value.len());
        let value = &value[..end];
        if value.first() != Some(&b'/') {
            return None;
        }
        if needs_rewriting(value) {
            return Some(Self(Text::Rewritten(rewrite(value))));
        }
        let without_final = value.strip_suffix(b"/").filter(|shorter| !shorter.is_empty());
        Some(Self(Text::Borrowed(without_final.unwrap_or(value))))
    }

    /// The normalised text.
    pub fn text(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(text) => text,
            Self::Rewritten(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

/// Whether anything but a final slash must change. May say yes to a path that is fine (`/.well-known`), never no to one
/// that is not.
fn needs_rewriting(path: &[u8]) -> bool {
    path.contains(&b'%') || path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn rewrite(path: &[u8]) -> Rewritten {
    let mut out = Rewritten::new();
    for segment in path.split(|&byte| byte == b'/') {
        let start = out.len();
        out.push(b'/');
        decode_into(segment, &mut out);
        match &out[start + 1..] {
            b"" | b"." => out.truncate(start),
            b".." => {
                // Each byte is scanned and dropped once, so climbing is linear in all.
                let parent = out[..start].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            _ => {}
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Appends `segment` with unreserved escapes decoded and the others in upper case.
fn decode_into(segment: &[u8], out: &mut Rewritten) {
    let mut rest = segment;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        rest = match rest[at..] {
            [_, high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = hex_value(high) << 4 | hex_value(low);
                if is_unreserved(byte) {
                    out.push(byte);
                } else {
                    out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
                &rest[at + 3..]
            }
            _ => {
                out.extend_from_slice(b"%25");
                &rest[at + 1..]
            }
        };
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// RFC 3986, 2.3: the bytes that mean the same with and without escaping.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(value: &[u8]) -> Option<Vec<u8>> {
        Path::parse(value).map(|path| path.text().to_vec())
    }

    #[test]
    fn one_place_has_one_spelling() {
        for (value, path) in [
            ("/", "/"),
            ("//", "/"),
            ("/?a=/b", "/"),
            ("/v1/orders", "/v1/orders"),
            ("/v1/orders/", "/v1/orders"),
            ("/v1/orders//", "/v1/orders"),
            ("//v1///orders", "/v1/orders"),
            ("/v1/orders?id=1", "/v1/orders"),
            ("/v1/orders/?id=1", "/v1/orders"),
            ("/v1/orders#top?x", "/v1/orders"),
            ("/v1/./orders/.", "/v1/orders"),
            ("/v1/x/../orders", "/v1/orders"),
            ("/v1/orders/x/..", "/v1/orders"),
            ("/../../v1", "/v1"),
            ("/..", "/"),
            ("/v1/..", "/"),
            ("/v1//../orders", "/orders"),
            ("/v1/%2e%2E/orders", "/orders"),
            ("/v1/.%2e/orders", "/orders"),
            ("/%76%31/%7Eme", "/v1/~me"),
            ("/v1/a%2fb", "/v1/a%2Fb"),
            ("/v1/%3Fx", "/v1/%3Fx"),
            ("/v1/%00%ff", "/v1/%00%FF"),
            ("/v1/100%", "/v1/100%25"),
            ("/v1/%4", "/v1/%254"),
            ("/v1/%zz", "/v1/%25zz"),
            ("/v1/%%34%31", "/v1/%2541"),
            ("/.well-known/x", "/.well-known/x"),
            ("/v1/...", "/v1/..."),
            ("/v1/..x", "/v1/..x"),
            ("/V1", "/V1"),
        ] {
            assert_eq!(normal(value.as_bytes()).as_deref(), Some(path.as_bytes()), "{value}");
        }
        assert_eq!(normal(b"/\xff/\x00").as_deref(), Some(&b"/\xff/\x00"[..]));
    }

    #[test]
    fn what_does_not_begin_with_a_slash_is_no_path() {
        for value in ["", "v1", "*", "?", "#/", "http://host/v1", "%2Fv1"] {
            assert_eq!(normal(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn climbing_and_escaping_through_a_huge_path_is_one_pass() {
        let climbing: Vec<u8> = b"/a".repeat(16_384).into_iter().chain(b"/..".repeat(16_385)).collect();
        assert_eq!(normal(&climbing).unwrap(), b"/");
        let escapes = [b"/".as_slice(), &b"%".repeat(65_536)].concat();
        assert_eq!(normal(&escapes).unwrap().len(), 1 + 3 * 65_536);
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(value in prop_oneof![
            "/[a.%/2eEfF?#]{0,24}".prop_map(String::into_bytes),
            any::<Vec<u8>>().prop_map(|tail| [b"/", tail.as_slice()].concat()),
        ]) {
            let once = normal(&value).unwrap();
            prop_assert_eq!(normal(&once), Some(once.clone()));
            prop_assert!(once == b"/" || !once.ends_with(b"/"));
            let dots = once.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."));
            prop_assert!(!dots && !once.windows(2).any(|pair| pair == b"//"));
        }

        #[test]
        fn what_needs_no_rewriting_is_not_changed_by_it(value in "/[a./]{0,12}") {
            let rewritten = rewrite(value.as_bytes()).to_vec();
            prop_assert_eq!(normal(value.as_bytes()), Some(rewritten));
        }
    }
}
