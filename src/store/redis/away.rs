//! Why the server did not decide.

use std::{
    error::{self, Error as _},
    io,
    sync::Arc,
};

use redis::RedisError;
use thiserror::Error;

use super::tls;

/// Why the server did not decide.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Away {
    #[error("no answer within the deadline")]
    Late,
    /// Half of what the caller waits for was less than our own deadline.
    #[error("no answer within what the caller leaves")]
    Hurried,
    #[error("there is no connection")]
    Lost,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: mended by people, through the password file or the server's ACL.
    #[error("the server does not let us in: {0}")]
    Denied(Box<str>),
    #[error("the password cannot be read: {0}")]
    Password(Box<str>),
    /// Mended by people: a certificate of the server or of ours.
    #[error("TLS: {0}")]
    Tls(Box<str>),
    /// Sentinels name none, or one that says it is none.
    #[error("no master: {0}")]
    NoMaster(Box<str>),
    /// What the server said in its first word: `OOM`, `READONLY`, `LOADING`, `MISCONF`, …
    #[error("the server cannot do it: {0}")]
    Unable(Box<str>),
    #[error("the server does not know the script")]
    NoScript,
    #[error("the answer is none of ours")]
    Garbled,
    /// Nothing ran: the keys are another server's.
    #[error("the keys are at port {} of `{}`", .0.port, .0.host)]
    Elsewhere(Elsewhere),
    /// Nothing ran, which says nothing of any server: a slot of a cluster moves, with those of its keys that are there.
    #[error("the keys are on their way from one server to another")]
    Moving,
    /// No call was made.
    #[error("it was away a moment ago")]
    HeldBack,
    #[error("one request meets more counters than one script may")]
    TooMany,
}

/// The server that a call was sent on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Nothing where it is the host that said so.
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// The keys are only on their way there: that server answers to who says `ASKING`.
    pub(super) asking: bool,
}

impl Elsewhere {
    fn of(error: &RedisError, asking: bool) -> Option<Self> {
        // An IPv6 address stands there without brackets.
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        Some(Self { host: host.into(), port: port.parse().ok()?, asking })
    }
}

impl Away {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("NOSCRIPT") => Self::NoScript,
            Some("TRYAGAIN") => Self::Moving,
            Some(code @ ("MOVED" | "ASK")) => match Elsewhere::of(error, code == "ASK") {
                Some(elsewhere) => Self::Elsewhere(elsewhere),
                None => Self::Garbled,
            },
            Some(code @ ("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Denied(code.into()),
            Some(code) => Self::Unable(code.into()),
            None if matches!(error.kind(), redis::ErrorKind::AuthenticationFailed) => Self::Denied("AUTH".into()),
            None if matches!(error.kind(), redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType) => {
                Self::Garbled
            }
            None => match tls_fault(error) {
                Some(why) => Self::Tls(why),
                None => Self::Lost,
            },
        }
    }

    /// Whether nothing more is to be had from the connection that it happened on.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Lost | Self::Tls(_) => true,
            // The server has become a replica: another one may be the master now.
            Self::Unable(word) => &**word == "READONLY",
            _ => false,
        }
    }

    /// Whether it says something of the server: what one request asks too much does not.
    pub(super) fn blames_server(&self) -> bool {
        !matches!(self, Self::TooMany | Self::Moving | Self::HeldBack)
    }

    /// One word for it, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Hurried => "hurried",
            Self::Lost => "lost",
            Self::Denied(_) => "denied",
            Self::Password(_) => "password",
            Self::Tls(_) => "tls",
            Self::NoMaster(_) => "no_master",
            Self::Unable(_) => "unable",
            Self::NoScript => "no_script",
            Self::Garbled => "garbled",
            Self::Elsewhere(_) | Self::Moving => "moving",
            Self::HeldBack => "held_back",
            Self::TooMany => "too_many",
        }
    }
}

/// What TLS has against a connection that was open already: a server of TLS 1.3 says so late what it thinks of our
/// certificate.
fn tls_fault(error: &RedisError) -> Option<Box<str>> {
    let source: &Arc<dyn error::Error + Send + Sync> = error.source()?.downcast_ref()?;
    tls::fault(source.downcast_ref::<io::Error>()?).map(|why| why.to_string().into())
}
