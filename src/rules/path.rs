//! Paths of URLs: normalising, templates, and the tree that finds one.

/// A checked path template such as `/v1/orders/{id}/items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

#[derive(Clone, Debug)]
pub struct TemplateError {
    pub at: usize,
    pub message: String,
}

impl Template {
    /// # Errors
    ///
    /// What is no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError { at: 0, message: "a path starts with `/`".to_owned() });
        }
        let canonical = text.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        Ok(Self(canonical.collect::<Vec<_>>().join("/")))
    }

    pub fn canonical(&self) -> &str {
        &self.0
    }
}
