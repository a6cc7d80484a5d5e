//! Envoy's rate-limit protocol over gRPC, and the server that speaks it.
//!
//! | module | its story |
//! |---|---|
//! | [`proto`] | the protocol as generated from `proto/`: for clients and tests, and the health service |
//! | [`codec`] | the question as a view over its bytes, the answer written once |

pub mod codec;

/// What `proto/` says, generated. The server itself reads and writes the messages by hand, in [`codec`].
#[allow(missing_debug_implementations, clippy::pedantic, reason = "generated")]
pub mod proto {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/proto.rs"));
    }

    pub use generated::{
        envoy::{config::core::v3::*, extensions::common::ratelimit::v3::*, service::ratelimit::v3::*, r#type::v3::*},
        google::protobuf,
    };
}
