//! Why the server did not decide.

use redis::RedisError;
use thiserror::Error;

/// Why the server did not decide.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Away {
    #[error("no answer within the deadline")]
    Late,
    #[error("there is no connection")]
    Lost,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: mended by people, through the password file or the server's ACL.
    #[error("the server does not let us in: {0}")]
    Denied(Box<str>),
    #[error("the password cannot be read: {0}")]
    Password(Box<str>),
    /// What the server said in its first word: `OOM`, `READONLY`, `LOADING`, `MISCONF`, …
    #[error("the server cannot do it: {0}")]
    Unable(Box<str>),
    #[error("the server does not know the script")]
    NoScript,
    #[error("the answer is none of ours")]
    Garbled,
    #[error("one request meets more counters than one script may")]
    TooMany,
}

impl Away {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("NOSCRIPT") => Self::NoScript,
            Some(code @ ("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Denied(code.into()),
            Some(code) => Self::Unable(code.into()),
            None if matches!(error.kind(), redis::ErrorKind::AuthenticationFailed) => Self::Denied("AUTH".into()),
            None if matches!(error.kind(), redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType) => {
                Self::Garbled
            }
            None => Self::Lost,
        }
    }

    /// One word for it, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Denied(_) => "denied",
            Self::Password(_) => "password",
            Self::Unable(_) => "unable",
            Self::NoScript => "no_script",
            Self::Garbled => "garbled",
            Self::TooMany => "too_many",
        }
    }
}
