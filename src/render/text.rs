//! Escaping: text that clients sent, put where it can do no harm.
//!
//! Nothing here fails and nothing allocates beyond the room `out` already has: every byte sequence has a harmless form
//! in every place it may stand in.

use crate::bounds;

/// What stands in for bytes that are not text, or not text that the place can hold.
const REPLACEMENT: char = '\u{FFFD}';

/// The place a value is put into, which says what must not appear there as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A header's value: anything but printable ASCII is percent-encoded, so no value can end a line.
    Header,
    /// Inside a JSON string. `<`, `>` and `&` are escaped too: JSON gets pasted into pages.
    Json,
    /// Text or attributes of HTML and XML. Everything but letters, digits and `-._` becomes a numeric reference, so
    /// that a value cannot even leave an attribute without quotes.
    Markup,
    /// A type whose escapes nobody knows: text of the rule files as it is. Values of requests never get here, which
    /// the templates' parser sees to.
    Plain,
}

impl Escape {
    /// Appends `bytes`, escaped and cut, between two characters, to [`bounds::INSERT_MAX_BYTES`].
    pub fn write(self, bytes: &[u8], out: &mut Vec<u8>) {
        self.write_up_to(bounds::INSERT_MAX_BYTES, bytes, out);
    }

    fn write_up_to(self, room: usize, bytes: &[u8], out: &mut Vec<u8>) {
        // Nearly every value there is, and several times as fast as character by character.
        if bytes.len() <= room && bytes.iter().all(|&byte| self.leaves(byte)) {
            return out.extend_from_slice(bytes);
        }
        let mut cut = Cut { end: out.len().saturating_add(room), out };
        match self {
            Self::Header => {
                let _ = bytes.iter().try_for_each(|&byte| cut.push_percent(byte));
            }
            Self::Json => each_char(bytes, |c| push_json(c, &mut cut)),
            Self::Markup => each_char(bytes, |c| push_markup(c, &mut cut)),
            Self::Plain => each_char(bytes, |c| cut.push_char(c)),
        }
    }

    /// Whether a byte stands for itself here, whatever stands around it.
    fn leaves(self, byte: u8) -> bool {
        match self {
            Self::Header => (0x20..=0x7E).contains(&byte),
            Self::Json => (0x20..=0x7E).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&'),
            Self::Markup => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'),
            Self::Plain => byte.is_ascii(),
        }
    }
}

/// Whether `value` can stand in a header as it is: what [`Escape::Header`] leaves.
pub fn is_header_value(value: &[u8]) -> bool {
    value.iter().all(|byte| (0x20..=0x7E).contains(byte))
}

/// Appends `number` in decimal digits.
pub fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// There is no room for the next character.
struct Full;

/// Writes whole characters until the first that no longer fits.
struct Cut<'o> {
    out: &'o mut Vec<u8>,
    end: usize,
}

impl Cut<'_> {
    fn push(&mut self, unit: &[u8]) -> Result<(), Full> {
        if self.out.len() + unit.len() > self.end {
            return Err(Full);
        }
        self.out.extend_from_slice(unit);
        Ok(())
    }

    fn push_char(&mut self, c: char) -> Result<(), Full> {
        self.push(c.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn push_percent(&mut self, byte: u8) -> Result<(), Full> {
        if (0x20..=0x7E).contains(&byte) {
            return self.push(&[byte]);
        }
        self.push(&[b'%', hex(u32::from(byte) >> 4), hex(u32::from(byte))])
    }
}

/// Calls `push` for each character of `bytes`, with the replacement for what is not UTF-8, until it has no room.
fn each_char(bytes: &[u8], mut push: impl FnMut(char) -> Result<(), Full>) {
    for chunk in bytes.utf8_chunks() {
        let broken = (!chunk.invalid().is_empty()).then_some(REPLACEMENT);
        if chunk.valid().chars().chain(broken).try_for_each(&mut push).is_err() {
            return;
        }
    }
}

fn push_json(c: char, out: &mut Cut<'_>) -> Result<(), Full> {
    match c {
        '"' => out.push(b"\\\""),
        '\\' => out.push(b"\\\\"),
        '\n' => out.push(b"\\n"),
        '\r' => out.push(b"\\r"),
        '\t' => out.push(b"\\t"),
        // U+2028 and U+2029 end a line in older JavaScript, into which JSON gets pasted as well.
        '\0'..='\x1F' | '<' | '>' | '&' | '\x7F' | '\u{2028}' | '\u{2029}' => {
            let code = u32::from(c);
            out.push(&[b'\\', b'u', hex(code >> 12), hex(code >> 8), hex(code >> 4), hex(code)])
        }
        _ => out.push_char(c),
    }
}

fn push_markup(c: char, out: &mut Cut<'_>) -> Result<(), Full> {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' => out.push_char(c),
        '\t' => out.push(b"&#9;"),
        '\n' => out.push(b"&#10;"),
        '\r' => out.push(b"&#13;"),
        // What XML 1.0, section 2.2, cannot hold, not even as a reference; and DEL, which HTML cannot.
        '\0'..='\x1F' | '\x7F' | '\u{FFFE}' | '\u{FFFF}' => out.push_char(REPLACEMENT),
        ' '..='~' => {
            let code = u32::from(c);
            out.push(&[b'&', b'#', b'x', hex(code >> 4), hex(code), b';'])
        }
        _ => out.push_char(c),
    }
}

/// The hexadecimal digit of the lowest four bits.
fn hex(bits: u32) -> u8 {
    b"0123456789ABCDEF"[(bits & 0xF) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: Escape, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape.write(bytes, &mut out);
        out
    }

    #[test]
    fn numbers_are_written_in_digits() {
        for number in [0, 7, 10, 99, 100, 4_294_967_295, u64::MAX - 1, u64::MAX] {
            let mut out = b"x".to_vec();
            push_number(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn each_place_has_its_escapes() {
        use Escape::{Header, Json, Markup, Plain};
        let table: [(Escape, &[u8], &str); 13] = [
            (Header, b"acme 100%", "acme 100%"),
            (Header, b"a\r\nx: 1\0", "a%0D%0Ax: 1%00"),
            (Header, "Ä".as_bytes(), "%C3%84"),
            (Header, b"\x7F\xFF", "%7F%FF"),
            (Json, br#"say "hi" \ "#, r#"say \"hi\" \\ "#),
            (Json, b"\r\n\t\0\x1F\x7F", r"\r\n\t\u0000\u001F\u007F"),
            (Json, b"</script>&", r"\u003C/script\u003E\u0026"),
            (Json, "ü\u{2028}😀".as_bytes(), "ü\\u2028😀"),
            (Json, b"a\xFFb\xE2\x82", "a\u{FFFD}b\u{FFFD}"),
            (Markup, b"<a b='c'>", "&#x3C;a&#x20;b&#x3D;&#x27;c&#x27;&#x3E;"),
            (Markup, b"ok-1._\n\r\0\x7F\xFF", "ok-1._&#10;&#13;\u{FFFD}\u{FFFD}\u{FFFD}"),
            (Markup, "ü\u{FFFF}".as_bytes(), "ü\u{FFFD}"),
            (Plain, "as <it> is, ü".as_bytes(), "as <it> is, ü"),
        ];
        for (escape, raw, expected) in table {
            assert_eq!(String::from_utf8(escaped(escape, raw)).unwrap(), expected, "{escape:?} of {raw:?}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let out = escaped(Escape::Json, "ü".repeat(bounds::INSERT_MAX_BYTES).as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), "ü".repeat(bounds::INSERT_MAX_BYTES / 2));
        let out = escaped(Escape::Header, &[0xFF; bounds::INSERT_MAX_BYTES]);
        assert_eq!(String::from_utf8(out).unwrap(), "%FF".repeat(bounds::INSERT_MAX_BYTES / 3));
    }

    #[test]
    fn what_is_left_as_it_is_needs_no_escape() {
        for escape in [Escape::Header, Escape::Json, Escape::Markup, Escape::Plain] {
            for byte in 0..=u8::MAX {
                // The byte behind it is left nowhere, so that both take the long way.
                let alone = escaped(escape, &[byte]) == [byte];
                let with_company = escaped(escape, &[byte, 0xFF]).starts_with(&[byte]);
                assert_eq!(escape.leaves(byte), alone, "{escape:?} of {byte:#x}");
                assert!(!alone || with_company, "{escape:?} of {byte:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless_everywhere(bytes: Vec<u8>) {
            let header = escaped(Escape::Header, &bytes);
            prop_assert!(is_header_value(&header));

            let json = [b"\"".as_slice(), &escaped(Escape::Json, &bytes), b"\""].concat();
            let text: String = serde_json::from_slice(&json).expect("a JSON string");
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));

            let markup = String::from_utf8(escaped(Escape::Markup, &bytes)).expect("UTF-8");
            prop_assert!(!markup.contains(['<', '>', '"', '\'', ' ', '=', '`', '\n', '\r', '\0']));
        }
    }
}
