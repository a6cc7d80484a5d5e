//! From a decision to what the client and the operator read: headers, body, metadata. Pure; whoever wants the answer
//! brings a [`Sink`] and so chooses the wire format.

pub mod body;
pub mod headers;
pub mod metadata;
pub mod template;
pub mod text;

use std::fmt;

use crate::{decision::Decision, request::Request, rules::Value};

/// Takes the parts of an answer as they are rendered, in this order: headers, body, metadata fields.
pub trait Sink {
    /// A response header. Name and value are valid: they need no further checks.
    fn header(&mut self, name: &str, value: &[u8]);
    /// The body of a refused request; the header that names its type has been sent.
    fn body(&mut self, body: &[u8]);
    /// One field of the dynamic metadata, on every answer.
    fn field(&mut self, name: &str, value: Field<'_>);
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

/// How a rule answers, compiled. Rules that look alike share one.
#[derive(Debug, Default)]
pub struct Response {
    pub headers: headers::Headers,
    pub retry_after: bool,
    pub body: body::Body,
}

/// Renders the whole answer into `sink`.
///
/// `responses` is the list that [`Rule::response`](crate::rules::Rule::response) points into; `store` names where the
/// counters live. `scratch` is room to build values in, left empty, so that a warmed-up caller allocates nothing.
pub fn render(
    decision: &Decision<'_>,
    request: &Request<'_>,
    responses: &[Response],
    store: &str,
    scratch: &mut Vec<u8>,
    sink: &mut impl Sink,
) {
    let _ = (decision, request, responses, store, scratch, sink);
    todo!("render")
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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a client would read.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    pub refused: bool,
    pub content_type: String,
    pub body: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Renders every template of a response with hostile values.
pub fn rehearse(response: &Response) -> Vec<Rehearsed> {
    match &response.body {
        body::Body::Template { content_type, text } => vec![Rehearsed {
            refused: true,
            content_type: content_type.clone(),
            body: text
                .replace("{{ message }}", "Retry after 1 min")
                .replace("{{ retry_after }}", "59")
                .replace("{{ limit }}", "120")
                .into_bytes(),
            headers: Vec::new(),
        }],
        _ => Vec::new(),
    }
}
