//! The book of orders: what people decided about single descriptors, put into force beside the rules, and kept over a
//! restart.
//!
//! | file | holds |
//! |---|---|
//! | [`about`] | what an order is about |
//! | [`book`] | the orders, and what changes them |
//! | [`force`] | orders and rules put into force together |
//! | [`kept`] | the file they are kept in |
//! | [`refusal`] | why an order is not carried out |
//! | [`reset`] | counting from nothing again |
//! | [`started`] | the blocks that refusals started, by name |

pub mod about;
pub mod book;
mod force;
pub mod kept;
pub mod refusal;
pub mod reset;
pub mod started;

pub use about::About;
pub use book::{BlockOrder, Book, Done, OverrideOrder};
pub use refusal::Refusal;
pub use reset::ResetDone;
pub use started::Started;

#[cfg(test)]
mod tests;
