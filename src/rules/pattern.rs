//! Values with `*`, and regular expressions: tried one after the other, in the order of the file.

/// A compiled wildcard or regular expression.
#[derive(Clone, Debug)]
pub struct Pattern;
