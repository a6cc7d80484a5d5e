//! Why an order is not carried out.

use crate::store::redis::Away;

/// Nothing has changed, unless one says otherwise. What people are told of it is the admin API's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No rules were ever loaded.
    NotReady,
    UnknownDomain(Box<str>),
    /// No rule limits the descriptor.
    NoLimit,
    /// The rule counts the descriptor together with others, and nobody said that all are meant.
    Shared {
        rule: Box<str>,
    },
    /// What is wrong with the limits of an override.
    Limits(String),
    /// The store of counters cannot be asked: why. What it keeps may have changed all the same, and so may
    /// orders.
    StoreAway(Away),
    /// There are as many orders of this kind as there may be.
    TooMany,
}
