//! The body of a 429.

use super::{
    Fault, Out, Sink,
    content_type::ContentType,
    facts::{self, Facts},
    template::Template,
    text::{Escape, push_number},
    time::push_humanized,
};

/// What a refused client reads.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    None,
    /// `application/problem+json` (RFC 9457) with the type and the `violated-policies` of
    /// draft-ietf-httpapi-ratelimit-headers-11.
    ProblemJson,
    Template {
        content_type: ContentType,
        template: Template,
    },
}

const PROBLEM_JSON: &str = "application/problem+json";
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

impl Body {
    /// A body of the rules.
    ///
    /// # Errors
    ///
    /// A content type that is none ([`ContentType::parse`] tells it apart), a fault of the template, or a template that could fill more than
    /// [`bounds::BODY_MAX_BYTES`](crate::bounds::BODY_MAX_BYTES).
    pub fn template(content_type: &str, text: &str) -> Result<Self, Fault> {
        let content_type = ContentType::parse(content_type)?;
        let template = Template::parse(text, content_type.escape())?;
        template.fits_a_body()?;
        Ok(Self::Template { content_type, template })
    }

    /// What its `content-type` header says; none where there is no body.
    pub fn content_type(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::ProblemJson => Some(PROBLEM_JSON),
            Self::Template { content_type, .. } => Some(content_type.as_str()),
        }
    }

    /// Whether it must parse as JSON, whatever is inserted.
    pub fn is_json(&self) -> bool {
        match self {
            Self::None => false,
            Self::ProblemJson => true,
            Self::Template { content_type, .. } => content_type.is_json(),
        }
    }

    pub(super) fn template_of(&self) -> Option<&Template> {
        if let Self::Template { template, .. } = self { Some(template) } else { None }
    }

    /// Sends the type and the body of a refusal.
    pub(super) fn send<S: Sink>(&self, facts: &Facts<'_>, out: &mut Out<'_, S>) {
        let Some(content_type) = self.content_type() else { return };
        out.sink.header("content-type", content_type.as_bytes());
        out.scratch.clear();
        match self {
            Self::None => {}
            Self::ProblemJson => push_problem(facts, out.scratch),
            // A number that is lacking stands as 0: the text around it must stay whole.
            Self::Template { template, .. } => _ = template.fill(facts, out.scratch),
        }
        out.sink.body(out.scratch);
    }
}

/// The problem as JSON. A refusal that shows no window (`deny`, `expose: never`) is of no type but its status.
fn push_problem(facts: &Facts<'_>, out: &mut Vec<u8>) {
    let Some(reported) = facts.figure else {
        out.extend_from_slice(br#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":""#);
        facts.push_message(out);
        out.extend_from_slice(b"\"}");
        return;
    };
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(QUOTA_EXCEEDED.as_bytes());
    out.extend_from_slice(br#"","title":"Quota exceeded","status":429,"detail":"Policy "#);
    Escape::Json.write(reported.limit.name.as_bytes(), out);
    out.extend_from_slice(b" allows ");
    push_number(facts::limit(reported), out);
    if let Some(secs) = facts::window_secs(reported) {
        out.extend_from_slice(b" in ");
        push_humanized(secs, out);
    }
    out.extend_from_slice(b". ");
    facts.push_message(out);
    out.extend_from_slice(br#"","violated-policies":["#);
    let mut separator = "";
    // A window that refuses is said to have nothing left, and no other is: what let this request pass had room.
    for figure in facts.figures.iter().filter(|figure| figure.remaining == 0) {
        out.extend_from_slice(separator.as_bytes());
        out.push(b'"');
        Escape::Json.write(figure.limit.name.as_bytes(), out);
        out.push(b'"');
        separator = ",";
    }
    out.extend_from_slice(b"]}");
}
