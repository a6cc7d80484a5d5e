//! Why an order is not carried out.

use thiserror::Error;

use crate::bounds::ORDERS_MAX;

/// Nothing has changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("no rules were ever loaded")]
    NotReady,
    #[error("there is no domain `{0}`")]
    UnknownDomain(Box<str>),
    #[error("no rule limits this descriptor")]
    NoLimit,
    #[error(
        "the rule `{rule}` counts this descriptor together with others: `\"shared\": true` says that all are meant"
    )]
    Shared { rule: Box<str> },
    #[error("`limits`: {0}")]
    Limits(String),
    #[error("there are {ORDERS_MAX} orders of this kind, which is the most; delete some")]
    TooMany,
}
