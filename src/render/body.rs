//! The body of a 429.

/// What a refused client reads.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    None,
}
