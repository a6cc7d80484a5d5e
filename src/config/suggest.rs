//! Suggestions for what was written, and choices of what can be.

pub(super) use crate::spelling::did_you_mean;

/// `did_you_mean`, or else the whole choice.
pub(super) fn choice(written: &str, known: &[&str]) -> String {
    did_you_mean(written, known.iter().copied()).unwrap_or_else(|| format!("one of {}", quoted(known)))
}

/// Words in a row, as messages write them.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
