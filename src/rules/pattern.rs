//! Values with `*`, and regular expressions: tried one after the other, in the order of the file.

/// A compiled wildcard or regular expression.
#[derive(Clone, Debug)]
pub struct Pattern(pub String);

#[derive(Clone, Debug)]
pub struct PatternError {
    pub message: String,
}

impl Pattern {
    pub fn wildcard(text: &str) -> Self {
        Self(format!("glob:{text}"))
    }

    /// # Errors
    ///
    /// What is no regular expression.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        match regex::bytes::Regex::new(text) {
            Ok(_) => Ok(Self(format!("regex:{text}"))),
            Err(_) => Err(PatternError { message: "unclosed group".to_owned() }),
        }
    }
}
