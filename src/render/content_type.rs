//! The type of a body (RFC 9110, section 8.3), and what it says about escaping.

use super::{Fault, text::Escape};
use crate::bounds;

/// A checked `type/subtype`, with its parameters as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    text: Box<str>,
    escape: Escape,
}

impl ContentType {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// What is not a type, a subtype and parameters; a charset other than UTF-8, which bodies are written in.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > bounds::HEADER_VALUE_MAX_BYTES {
            return Err(Fault::new(format!(
                "the content type is longer than {} bytes",
                bounds::HEADER_VALUE_MAX_BYTES
            )));
        }
        let text = text.trim_matches([' ', '\t']);
        let (essence, mut parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
        let essence = essence.trim_end_matches([' ', '\t']);
        let subtype = match essence.split_once('/') {
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => subtype,
            _ => {
                let fault = Fault::new(format!("`{}` is not a content type", essence.escape_debug()));
                return Err(fault.help("such as `application/json`"));
            }
        };
        while !parameters.is_empty() {
            parameters = parameter(text, parameters)?;
        }
        Ok(Self { text: text.into(), escape: escape(essence, subtype) })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn escape(&self) -> Escape {
        self.escape
    }

    pub fn is_json(&self) -> bool {
        self.escape == Escape::Json
    }
}

fn escape(essence: &str, subtype: &str) -> Escape {
    let subtype = subtype.to_ascii_lowercase();
    // A suffix says what the format is built on (RFC 6839).
    let base = subtype.rsplit_once('+').map_or(subtype.as_str(), |(_, suffix)| suffix);
    match base {
        "json" => Escape::Json,
        "xml" => Escape::Markup,
        _ if essence.eq_ignore_ascii_case("text/html") => Escape::Markup,
        _ => Escape::Plain,
    }
}

/// Checks the parameter at the start of `rest`, a tail of `text`, with its semicolon; returns what follows.
fn parameter<'t>(text: &str, rest: &'t str) -> Result<&'t str, Fault> {
    let at = text.len() - rest.len();
    let fault = |message: &str| Fault::at_byte(text, at, message);
    let rest = rest.strip_prefix(';').ok_or_else(|| fault("expected `;`"))?.trim_start_matches([' ', '\t']);
    let (name, rest) = rest.split_once('=').ok_or_else(|| fault("a parameter without `=`"))?;
    if !is_token(name) {
        return Err(fault("a parameter's name is letters, digits and a few signs"));
    }
    let (value, rest) = if let Some(quoted) = rest.strip_prefix('"') {
        let end = quoted.find('"').ok_or_else(|| fault("a parameter without its closing quote"))?;
        let (value, rest) = quoted.split_at(end);
        // No escapes: no registered parameter needs a quote inside of its value.
        if value.bytes().any(|byte| !(0x20..=0x7E).contains(&byte) || byte == b'\\') {
            return Err(fault("a parameter's value is printable ASCII without backslashes"));
        }
        (value, rest.strip_prefix('"').unwrap_or_default())
    } else {
        let (value, rest) = rest.split_at(rest.find([';', ' ', '\t']).unwrap_or(rest.len()));
        if !is_token(value) {
            return Err(fault("a parameter's value is letters, digits and a few signs, or stands in quotes"));
        }
        (value, rest)
    };
    let utf8 = value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii");
    if name.eq_ignore_ascii_case("charset") && !utf8 {
        return Err(fault("bodies are written in UTF-8").help("leave the charset out"));
    }
    Ok(rest.trim_start_matches([' ', '\t']))
}

/// A token of RFC 9110, section 5.6.2: what names of headers, types and parameters are made of.
pub fn is_token(text: &str) -> bool {
    let is_token_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_says_how_to_escape() {
        for (text, expected) in [
            ("application/json", Escape::Json),
            ("Application/Problem+JSON; charset=utf-8", Escape::Json),
            ("application/vnd.api+json;charset=\"UTF-8\"; v=1", Escape::Json),
            ("text/html; charset=us-ascii", Escape::Markup),
            ("text/xml", Escape::Markup),
            ("application/xml", Escape::Markup),
            ("image/svg+xml", Escape::Markup),
            ("application/xhtml+xml", Escape::Markup),
            ("text/plain", Escape::Plain),
            ("application/x-ndjson", Escape::Plain),
            ("application/html", Escape::Plain),
            ("text/javascript", Escape::Plain),
        ] {
            let content_type = ContentType::parse(text).unwrap();
            assert_eq!((content_type.escape(), content_type.as_str()), (expected, text), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "json",
            "/json",
            "text/",
            "text/plain/x",
            "text/pl ain",
            "text/plain;",
            "text/plain; charset",
            "text/plain; =x",
            "text/plain; a=",
            "text/plain; a=\"x",
            "text/plain; a=\"x\ny\"",
            "text/plain; a=b c",
            "text/plain; charset=utf-7",
            "text/plain\r\nx: y",
            "text/plaïn",
            "text/plain; a=\"\"\"",
        ] {
            assert!(ContentType::parse(text).is_err(), "{text:?}");
        }
    }
}
