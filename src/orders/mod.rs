//! The book of orders: what people decided about single descriptors, put into force beside the rules, and kept over a
//! restart.
//!
//! | file | holds |
//! |---|---|
//! | [`about`] | what an order is about |
//! | [`book`] | the orders, and what changes them |
//! | [`standing`] | the orders, as entries that merge |
//! | [`share`] | the same orders on all replicas |
//! | [`entry`] | an order as the store that they share keeps it |
//! | [`force`] | orders and rules put into force together |
//! | [`kept`] | the file they are kept in |
//! | [`refusal`] | why an order is not carried out |
//! | [`reset`] | counting from nothing again |
//! | [`started`] | the blocks that refusals started, by name |

pub mod about;
pub mod book;
mod entry;
mod force;
pub mod kept;
pub mod refusal;
pub mod reset;
pub mod share;
pub mod standing;
pub mod started;

pub use about::About;
pub use book::{Book, Done};
pub use refusal::Refusal;
pub use reset::ResetDone;
pub use share::Told;
pub use standing::{BlockOrder, OverrideOrder};
pub use started::Started;

#[cfg(test)]
mod tests;
