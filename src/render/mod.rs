//! From a decision to what the client and the operator read: headers, body, metadata. Pure; whoever wants the answer
//! brings a [`Sink`] and so chooses the wire format.

pub mod body;
pub mod collect;
pub mod content_type;
pub mod facts;
pub mod headers;
pub mod metadata;
pub mod rehearsal;
pub mod repeat;
mod scene;
pub mod template;
pub mod text;
pub mod time;
pub mod usage_page;

use std::fmt;

pub use body::Body;
pub use collect::Collected;
pub use headers::{
    Headers,
    list::{Header, List, On},
};
pub use rehearsal::{Rehearsed, rehearse, rehearse_page};

use crate::{decision::Decision, request::Request, rules::Value};
use facts::Facts;

/// Takes the parts of an answer as they are rendered, in this order: headers, body, metadata fields.
pub trait Sink {
    /// A response header. Name and value are valid: they need no further checks.
    fn header(&mut self, name: &str, value: &[u8]);
    /// The body of a refused request; the header that names its type has been sent.
    fn body(&mut self, body: &[u8]);
    /// One field of the dynamic metadata, on every answer.
    fn field(&mut self, name: &str, value: Field<'_>);
}

/// The largest whole number below which an f64 holds every one: what a Struct's number can say exactly.
pub const EXACT_MAX: u64 = 1 << 53;

/// What a `uint32` of the protocol can say of a count.
pub fn saturated(count: u64) -> u64 {
    count.min(u64::from(u32::MAX))
}

/// The value of a metadata field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    Text(&'a str),
    /// Written as text above 2⁵³, which a Struct's f64 cannot hold.
    Number(u64),
    Bool(bool),
    Value(&'a Value),
}

/// What answers tell beside what was decided.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Where the counters live.
    pub store: &'a str,
    /// The metadata has the request in it, as envoyproxy/ratelimit's.
    pub repeats_request: bool,
}

/// How a rule answers, compiled. Rules that look alike share one.
#[derive(Debug, Default)]
pub struct Response {
    pub headers: Headers,
    pub retry_after: bool,
    pub body: Body,
}

/// Renders the whole answer into `sink`.
///
/// Envoy appends the headers of an accepted request to the upstream's, so those are rate-limit headers only;
/// `retry-after` and `content-type` go with refusals. `responses` is the list that
/// [`Rule::response`](crate::rules::Rule::response) points into. `scratch` is room to build values in, left empty, so that a warmed-up caller allocates nothing.
pub fn render(
    decision: &Decision<'_>,
    request: &Request<'_>,
    responses: &[Response],
    beside: Beside<'_>,
    scratch: &mut Vec<u8>,
    sink: &mut impl Sink,
) {
    // Shadow limits show in nothing that a client sees.
    if let Some(answer) = decision.answer.as_ref().filter(|answer| !answer.silent)
        && let Some(response) = responses.get(answer.rule.response as usize)
    {
        response.render(&Facts::new(decision, answer, request), scratch, sink);
    }
    metadata::send(decision, beside.store, !beside.repeats_request, sink);
    if beside.repeats_request {
        repeat::send(decision, request, sink);
    }
    scratch.clear();
}

impl Response {
    fn render(&self, facts: &Facts<'_>, scratch: &mut Vec<u8>, sink: &mut impl Sink) {
        let mut out = Out { scratch, sink };
        let own_retry_after = self.headers.send(facts, &mut out);
        if !facts.refused {
            return;
        }
        if let Some(secs) = facts.retry_after_secs
            && self.retry_after
            && !own_retry_after
        {
            out.number("retry-after", secs);
        }
        self.body.send(facts, &mut out);
    }
}

/// A sink and the room to build its values in.
pub(crate) struct Out<'o, S> {
    scratch: &'o mut Vec<u8>,
    sink: &'o mut S,
}

impl<S: Sink> Out<'_, S> {
    /// Sends a header with the value that `write` appends, if it appends any.
    fn header(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(self.scratch);
        if !self.scratch.is_empty() {
            self.sink.header(name, self.scratch);
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.header(name, |scratch| text::push_number(value, scratch));
    }
}

/// What is wrong with a header, a template or a body of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the text, in characters from 0.
    pub at: usize,
    pub message: String,
    /// What was probably meant, or what to do.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of the text as a whole.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { at: 0, message: message.into(), help: None }
    }

    /// A fault at `byte` of `text`.
    pub(crate) fn at_byte(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let at = text.char_indices().take_while(|&(start, _)| start < byte).count();
        Self { at, ..Self::new(message) }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Helps with what was probably meant, if that is known.
    pub(crate) fn help_or(self, meant: Option<String>, otherwise: impl FnOnce() -> String) -> Self {
        self.help(meant.unwrap_or_else(otherwise))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;
