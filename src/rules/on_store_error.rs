//! What a rule does while its counters cannot be reached.

/// What becomes of a rule's hits while the shared store does not answer (`on_store_error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// This process counts by itself, against its share of each limit: the limit, divided by the number of replicas and
    /// rounded up.
    #[default]
    Local,
    /// Let through, uncounted: being there matters more than the limit.
    Allow,
    /// Refused: the limit protects what cannot take more. Shadow limits refuse nobody, then as ever.
    Deny,
}
