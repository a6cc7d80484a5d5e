//! Paths of URLs: normalising, templates, and the tree that finds one.

/// A checked path template such as `/v1/orders/{id}/items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template;
