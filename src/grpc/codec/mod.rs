//! The protocol's two messages by hand: the question as a view over its bytes ([`receive`]), the answer written once
//! ([`Answer`]). Every call passes here, and prost would allocate every piece of text. Property tests hold both
//! against prost.

mod answer;
mod reader;
mod receive;

pub use answer::{Answer, FRAME_HEADER_BYTES};
pub use reader::{Malformed, What};
pub use receive::receive;
