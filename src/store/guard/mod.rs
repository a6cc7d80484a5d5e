//! What stands between a request and a store beyond this process, so that the store's failing never hurts. Pure: time and
//! randomness are arguments.

pub mod breaker;
pub mod in_flight;
pub mod refusals;
pub mod share;
