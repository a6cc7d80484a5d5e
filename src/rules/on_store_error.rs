//! What a rule does while the store is away.

/// How a rule's charges are decided while the store that holds its counters cannot be asked (`on_store_error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// This process counts, up to its replica's share of the limit.
    #[default]
    Local,
    /// Everything passes.
    Allow,
    /// Everything is refused.
    Deny,
}
