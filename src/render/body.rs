//! The body of a 429.

use super::Fault;

/// What a refused client reads.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    None,
    ProblemJson,
    Template {
        content_type: String,
        text: String,
    },
}

impl Body {
    /// # Errors
    ///
    /// A content type or a template that does not parse.
    pub fn template(content_type: &str, text: &str) -> Result<Self, Fault> {
        if let Some(at) = text.find("{{ }}") {
            return Err(Fault { at, message: "an expression is missing".to_owned(), help: None });
        }
        Ok(Self::Template { content_type: content_type.to_owned(), text: text.to_owned() })
    }
}
