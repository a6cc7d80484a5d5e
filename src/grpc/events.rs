//! What happens in the server, for whoever counts and logs it. The server knows neither metrics nor logs.

use std::io;

/// Told as it happens, on whatever thread it happens: an implementation only counts. All default to nothing.
pub trait Events: Send + Sync + 'static {
    /// A connection was dealt to a core.
    fn accepted(&self, core: usize) {
        let _ = core;
    }

    /// A connection of this core ended, however it did.
    fn closed(&self, core: usize) {
        let _ = core;
    }

    /// A connection was told to come back, since this core has far more to do than another.
    fn moved(&self, core: usize) {
        let _ = core;
    }

    /// A connection was closed as it came.
    fn turned_away(&self, why: TurnedAway) {
        let _ = why;
    }

    /// The system had no connection for us; accepting pauses and goes on.
    fn accept_failed(&self, error: &io::Error) {
        let _ = error;
    }

    /// A client connected and did not begin to speak HTTP/2 in time: its connection was closed.
    fn stayed_silent(&self) {}

    /// A decision panicked and was answered by policy, or a connection did and was closed. The panic's own message went
    /// to the panic hook.
    fn panicked(&self) {}

    /// A message larger than is decided, or than there is room for, was answered `OVER_LIMIT`.
    fn too_large(&self) {}

    /// A call was answered with an error: Envoy then lets the request pass, or not, as it is configured. `Cancelled` is
    /// the one that nobody waits for: the client went away before its message was there.
    fn failed(&self, code: tonic::Code) {
        let _ = code;
    }
}

/// Why a connection was closed as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// There are as many as may be.
    TooMany,
    /// Its core takes none: it hangs.
    CoreHangs,
    /// The system had no room to watch it.
    NoRoom,
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Events for Silent {}
