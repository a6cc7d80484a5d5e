//! Envoy's rate-limit protocol over gRPC, and the server that speaks it.
//!
//! | module | its story |
//! |---|---|
//! | [`proto`] | the protocol as generated from `proto/`: for clients and tests, and the health service |
//! | [`codec`] | the question as a view over its bytes, the answer written once |
//! | [`listen`] | where to listen: a port or a Unix socket |
//! | [`server`] | cores that serve, a loop that accepts, an end in order |
//! | [`service`] | `ShouldRateLimit`: the message read, the request decided, the answer written |
//! | `accept`, `deal` | a connection goes to the core with the least work; when file handles run out, accepting pauses |
//! | [`tls`], `handshakes` | TLS by files that may change; handshakes, on their way from accepting to a core |
//! | `core` | one thread with a runtime of its own, and its connections |
//! | `places` | how many connections there may be, and who makes room when they are many |
//! | `wire`, `connection` | the socket; HTTP/2 on it, from the preface to the GOAWAY |
//! | `turn` | what came is read, all its calls are answered, all answers leave in one write |
//! | `portion` | how much that may be: it is fitted to what it costs |
//! | `seat`, `client` | what the connections of a core share; the other end of one |
//! | `call` | one call on its stream: answered at once, or by a task of its own |
//! | `unary`, `received`, `message`, `timeout`, `reply` | ours: its message and how long it may take in, its answer out |
//! | `others` | those of tonic's services |
//! | [`decide`] | whoever decides, as the server sees it |
//! | [`health`] | what is told to health checks |
//! | [`events`], [`settings`] | what is told to the caller; what may be set |

pub mod codec;
pub mod decide;
pub mod events;
pub mod health;
pub mod listen;
pub mod server;
pub mod service;
pub mod settings;
pub mod tls;

mod accept;
mod call;
mod client;
mod connection;
mod core;
mod deal;
mod handshakes;
mod message;
mod others;
mod places;
mod portion;
mod received;
mod reply;
mod seat;
mod timeout;
mod turn;
mod unary;
mod unread;
mod wire;

pub use self::core::CoreError;
pub use decide::{Answered, Call, Decide, Decided, Failure};
pub use events::{Events, HandshakeFailure, Silent, TurnedAway};
pub use health::Health;
pub use listen::{Address, Listener};
pub use server::{Service, run};
pub use settings::Settings;
pub use tls::Tls;

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
