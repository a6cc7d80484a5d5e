//! Headers of the rule files: any name that is safe to add, a template as its value.

use crate::{
    bounds,
    render::{
        Fault, Out, Sink,
        content_type::is_token,
        facts::Facts,
        template::{Filled, Template},
        text::{Escape, is_header_value},
    },
};

/// The headers of one `response`, in the order they are sent.
#[derive(Debug)]
pub struct List {
    headers: Box<[Header]>,
}

/// One of them.
#[derive(Debug)]
pub struct Header {
    name: Box<str>,
    value: Template,
    on: On,
}

/// On which answers a header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Always,
    Deny,
}

/// Names that no answer may set, and why.
const FORBIDDEN: [(&str, &str); 14] = [
    ("connection", HOP_BY_HOP),
    ("keep-alive", HOP_BY_HOP),
    ("proxy-connection", HOP_BY_HOP),
    ("proxy-authenticate", HOP_BY_HOP),
    ("te", HOP_BY_HOP),
    ("trailer", HOP_BY_HOP),
    ("transfer-encoding", HOP_BY_HOP),
    ("upgrade", HOP_BY_HOP),
    ("content-length", "Envoy measures the body itself"),
    ("content-encoding", "the body is sent as it is"),
    ("content-type", "set `content_type` of the body"),
    ("host", "it belongs to requests"),
    ("server", "Envoy writes its own"),
    ("date", "Envoy writes its own"),
];
const HOP_BY_HOP: &str = "it is about the connection, which is Envoy's";

/// Names that make sense once in an answer: appended to the upstream's own they would break it, so they go with
/// refusals only, where there is no upstream.
const SINGLE: [&str; 15] = [
    "retry-after",
    "location",
    "etag",
    "last-modified",
    "expires",
    "age",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-location",
    "content-range",
    "content-security-policy",
    "strict-transport-security",
    "access-control-allow-origin",
    "access-control-allow-credentials",
];

impl List {
    /// Checks that the headers go together.
    ///
    /// # Errors
    ///
    /// A name that is set twice, more headers than [`bounds::HEADERS_PER_LIST_MAX`].
    pub fn new(headers: Vec<Header>) -> Result<Self, Fault> {
        if headers.len() > bounds::HEADERS_PER_LIST_MAX {
            return Err(Fault::new(format!("more than {} headers", bounds::HEADERS_PER_LIST_MAX)));
        }
        for (at, header) in headers.iter().enumerate() {
            if headers.iter().take(at).any(|earlier| earlier.name.eq_ignore_ascii_case(&header.name)) {
                return Err(Fault::new(format!("the header `{}` is set twice", header.name)));
            }
        }
        Ok(Self { headers: headers.into() })
    }

    pub(in crate::render) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.headers.iter().map(|header| &header.value)
    }

    /// Sends those that have something to say; says whether `retry-after` was among them.
    pub(super) fn send<S: Sink>(&self, facts: &Facts<'_>, out: &mut Out<'_, S>) -> bool {
        let due = |header: &&Header| header.on == On::Always || facts.refused;
        let mut retry_after = false;
        for header in self.headers.iter().filter(due) {
            let sent = header.send(facts, out);
            retry_after |= sent && header.name.eq_ignore_ascii_case("retry-after");
        }
        retry_after
    }
}

impl Header {
    /// Compiles a header; `on` is by default `always` for names that begin with `ratelimit` or `x-ratelimit`, else
    /// `deny`.
    ///
    /// # Errors
    ///
    /// A fault of the name ([`check_name`] tells it apart), a fault of the template, or `always` for a header that an
    /// upstream may have sent already and that may stand only once.
    pub fn new(name: &str, value: &str, on: Option<On>) -> Result<Self, Fault> {
        check_name(name)?;
        if on == Some(On::Always) && SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` on accepted requests: it would stand beside the upstream's own");
            return Err(Fault::new(message).help("leave `on` out: it is then sent with refusals"));
        }
        // The end of a YAML block is a line break that nobody meant.
        let value = Template::parse(value.trim(), Escape::Header)?;
        Ok(Self { name: name.into(), value, on: on.unwrap_or_else(|| default_on(name)) })
    }

    /// Sends it unless it has nothing to say: an empty value, or a number that this answer does not have.
    fn send<S: Sink>(&self, facts: &Facts<'_>, out: &mut Out<'_, S>) -> bool {
        out.scratch.clear();
        let filled = self.value.fill(facts, out.scratch);
        // Blanks around a value are no part of it (RFC 9110, section 5.5).
        let value = cut(out.scratch).trim_ascii();
        if filled == Filled::Lacking || value.is_empty() || !is_header_value(value) {
            return false;
        }
        out.sink.header(&self.name, value);
        true
    }
}

/// Checks the name of a header that answers may set.
///
/// # Errors
///
/// What is no token of RFC 9110, and names that belong to the connection, the framing or Envoy.
pub fn check_name(name: &str) -> Result<(), Fault> {
    if let Some((_, reason)) = FORBIDDEN.iter().find(|(forbidden, _)| forbidden.eq_ignore_ascii_case(name)) {
        return Err(Fault::new(format!("the header `{name}` cannot be set")).help(*reason));
    }
    if !is_token(name) {
        let fault = Fault::new(format!("`{}` is not a header's name", name.escape_debug()));
        return Err(fault.help("letters, digits and dashes"));
    }
    if name.len() > bounds::NAME_MAX_CHARS {
        return Err(Fault::new(format!("the header's name is longer than {} characters", bounds::NAME_MAX_CHARS)));
    }
    Ok(())
}

fn default_on(name: &str) -> On {
    let name = name.to_ascii_lowercase();
    if name.starts_with("ratelimit") || name.starts_with("x-ratelimit") { On::Always } else { On::Deny }
}

/// The beginning of a value that is too long, without half of a `%XX`.
fn cut(value: &[u8]) -> &[u8] {
    let Some(kept) = value.get(..bounds::HEADER_VALUE_MAX_BYTES).filter(|kept| kept.len() < value.len()) else {
        return value;
    };
    let tail = kept.len().saturating_sub("%X".len());
    match kept.get(tail..).and_then(|tail| tail.iter().position(|&byte| byte == b'%')) {
        Some(offset) => kept.get(..tail + offset).unwrap_or(kept),
        None => kept,
    }
}
