//! TLS handshakes under way, between accepting a connection and dealing it to a core.
//!
//! They run on the runtime that accepts: on a core's, the calls of others would wait for their arithmetic. Only what has
//! shaken hands takes one of the places for connections, so that nobody uses those up who is not let in.

use std::{collections::VecDeque, fmt::Display, io, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, CertificateError, OtherError, ServerConfig},
};

use super::{
    events::{Events, HandshakeFailure},
    tls::NotListed,
    wire::{Accepted, Ground},
};
use crate::bounds::{HANDSHAKE_DEADLINE, HANDSHAKES_MAX};

/// Handshakes under way.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    tasks: JoinSet<Result<Accepted, Failed>>,
    /// Oldest first.
    under_way: VecDeque<AbortHandle>,
}

/// One that came to nothing.
#[derive(Debug)]
struct Failed {
    peer: Option<SocketAddr>,
    failure: HandshakeFailure,
    why: String,
}

impl Handshakes {
    /// Begins one. Where there are as many as may be, the oldest makes room: each has as long as so many others take to
    /// come, which is enough for who means it, and nobody keeps others out by being slow.
    pub fn begin<E: Events>(&mut self, socket: std::net::TcpStream, config: Arc<ServerConfig>, events: &E) {
        if self.under_way.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
            events.handshake_failed(None, HandshakeFailure::Crowded, &"another one began");
        }
        let task = self.tasks.spawn(async move {
            let peer = socket.peer_addr().ok();
            match timeout(HANDSHAKE_DEADLINE, shake_hands(socket, config)).await {
                Ok(Ok(accepted)) => Ok(accepted),
                Ok(Err(error)) => Err(Failed::by(&error, peer)),
                Err(_) => Err(Failed::late(peer)),
            }
        });
        self.under_way.push_back(task);
    }

    /// The next connection that comes of one; none where none is under way. What failed is told.
    pub async fn next<E: Events>(&mut self, events: &E) -> Option<Accepted> {
        loop {
            let (id, shaken) = match self.tasks.join_next_with_id().await? {
                Ok((id, shaken)) => (id, Some(shaken)),
                Err(ended) => {
                    if ended.is_panic() {
                        events.panicked();
                    }
                    (ended.id(), None)
                }
            };
            self.under_way.retain(|task| task.id() != id);
            match shaken {
                Some(Ok(accepted)) => return Some(accepted),
                Some(Err(Failed { peer, failure, why })) => events.handshake_failed(peer, failure, &why),
                None => {}
            }
        }
    }
}

async fn shake_hands(socket: std::net::TcpStream, config: Arc<ServerConfig>) -> io::Result<Accepted> {
    let socket = Ground::Settled(TcpStream::from_std(socket)?);
    let mut session = TlsAcceptor::from(config).accept(socket).await?;
    session.get_mut().0.lift()?;
    Ok(Accepted::Tls(Box::new(session)))
}

impl Failed {
    fn late(peer: Option<SocketAddr>) -> Self {
        Self { peer, failure: HandshakeFailure::Late, why: format!("it was not done within {HANDSHAKE_DEADLINE:?}") }
    }

    fn by(error: &io::Error, peer: Option<SocketAddr>) -> Self {
        use rustls::Error::{
            AlertReceived, InvalidCertificate, InvalidMessage, NoApplicationProtocol, NoCertificatesPresented,
            PeerIncompatible,
        };
        let failed = |failure, why: &dyn Display| Self { peer, failure, why: why.to_string() };
        let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
            return failed(HandshakeFailure::Lost, error);
        };
        let failure = match tls {
            InvalidCertificate(CertificateError::Other(OtherError(other))) if other.is::<NotListed>() => {
                return failed(HandshakeFailure::Name, other);
            }
            InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => HandshakeFailure::Expired,
            InvalidCertificate(_) => HandshakeFailure::Untrusted,
            InvalidMessage(_) => HandshakeFailure::NotTls,
            NoCertificatesPresented => HandshakeFailure::NoCertificate,
            AlertReceived(_) => HandshakeFailure::Refused,
            NoApplicationProtocol | PeerIncompatible(_) => HandshakeFailure::Incompatible,
            _ => HandshakeFailure::Other,
        };
        failed(failure, tls)
    }
}
