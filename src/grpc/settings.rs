//! What may be set about the server, with what it is otherwise.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use crate::bounds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Threads that serve, each with a runtime of its own; as many as the machine has cores.
    pub cores: NonZeroUsize,
    /// Connections at once; more are closed as they come.
    pub connections_max: usize,
    /// By then a client must have begun to speak HTTP/2.
    pub preface_deadline: Duration,
    /// So long after its headers the whole message must be there.
    pub message_deadline: Duration,
    /// Age at which a connection is closed gracefully, more or less a tenth; None: never.
    pub age_max: Option<Duration>,
    /// How long its calls may then still take.
    pub age_grace: Duration,
    /// How long calls may still take when the server stops.
    pub drain_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cores: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            connections_max: bounds::CONNECTIONS_MAX,
            preface_deadline: bounds::PREFACE_DEADLINE,
            message_deadline: bounds::MESSAGE_DEADLINE,
            age_max: Some(bounds::CONNECTION_AGE),
            age_grace: bounds::CONNECTION_AGE_GRACE,
            drain_grace: bounds::DRAIN_GRACE,
        }
    }
}
