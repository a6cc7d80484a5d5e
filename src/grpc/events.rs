//! What happens in the server, for whoever counts and logs it. The server knows neither metrics nor logs.

use std::{fmt::Display, io, net::SocketAddr};

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

    /// A call waits, for its message or for whoever decides it.
    fn waits(&self) {}

    /// One that waited is over, however it ended.
    fn waits_no_more(&self) {}

    /// The client gave a call up that was being decided: nobody waits for its answer.
    fn given_up(&self) {}

    /// A call of another service than ours, by its path.
    fn passed_on(&self, path: &str) {
        let _ = path;
    }

    /// A connection was closed as it came.
    fn turned_away(&self, why: TurnedAway) {
        let _ = why;
    }

    /// The system had no connection for us; accepting pauses and goes on.
    fn accept_failed(&self, error: &io::Error) {
        let _ = error;
    }

    /// A TLS handshake came to nothing. Of who was sent away to make room for another, nobody knows the address.
    fn handshake_failed(&self, peer: Option<SocketAddr>, failure: HandshakeFailure, why: &dyn Display) {
        let _ = (peer, failure, why);
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

/// Why a TLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It was not done by the deadline.
    Late,
    /// There were too many: the oldest made room.
    Crowded,
    /// The client went away.
    Lost,
    /// What it says is no TLS.
    NotTls,
    /// It speaks no version, cipher or protocol that we do.
    Incompatible,
    /// It shows no certificate.
    NoCertificate,
    /// Nobody whom we trust signed its certificate.
    Untrusted,
    /// Its certificate has expired, or does not hold yet.
    Expired,
    /// Its certificate bears none of the names that may come.
    Name,
    /// It does not like our certificate, or anything else of ours.
    Refused,
    Other,
}

impl HandshakeFailure {
    /// What it is called in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Crowded => "crowded",
            Self::Lost => "lost",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::NoCertificate => "no_certificate",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::Name => "name",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    pub const ALL: [Self; 11] = [
        Self::Late,
        Self::Crowded,
        Self::Lost,
        Self::NotTls,
        Self::Incompatible,
        Self::NoCertificate,
        Self::Untrusted,
        Self::Expired,
        Self::Name,
        Self::Refused,
        Self::Other,
    ];
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Events for Silent {}
