//! Where counters live, as the setting `store` says it: parsed once, for the settings that say it and the store that
//! goes there, which know nothing of each other.

mod parse;

use std::{fmt, path::PathBuf};

pub use self::parse::{StoreAddressError, Why};
use crate::bounds::REDIS_COUNT_MAX;

/// Where Redis listens unless it is told otherwise.
pub const REDIS_PORT: u16 = 6_379;
/// Where its sentinels do.
pub const SENTINEL_PORT: u16 = 26_379;

/// Where counters live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this process.
    #[default]
    Memory,
    /// In Redis, or in what speaks its protocol.
    Redis(RedisAddress),
}

/// A Redis, and who we are there. What is shown of it has no user and no password: in the eyes of `redis-cli` a lone
/// word before the `@` is a password, and people write it so.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub topology: Topology,
    /// Connections are encrypted, those to sentinels too.
    pub tls: bool,
    /// None: the server's default user. It is meant for the servers that hold counters, not for sentinels.
    pub user: Option<Box<str>>,
    /// As written in the URL, which is no place for it: `store_password_file` is.
    pub password: Option<Password>,
    /// 0 unless the URL says so; always 0 in a cluster.
    pub database: u32,
}

/// How servers stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    Single(Server),
    /// The same, by a socket of this machine.
    Unix(PathBuf),
    /// Sentinels say which server is the master of this name now.
    Sentinel {
        sentinels: Vec<Server>,
        master: Box<str>,
    },
    /// Any of these masters or replicas knows all others.
    Cluster(Vec<Server>),
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// A name or an address; an IPv6 one without brackets.
    pub host: Box<str>,
    pub port: u16,
}

/// What nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

/// Files in PEM that a connection with TLS needs, if any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may have signed the server's certificate; None: whom this machine trusts.
    pub ca: Option<PathBuf>,
    /// How we show who we are; None: not by a certificate.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl StoreAddress {
    /// Reads `memory` or a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and how it should look.
    pub fn parse(text: &str) -> Result<Self, StoreAddressError> {
        parse::address(text)
    }

    /// The largest number that the store counts exactly; None: all of them.
    pub const fn count_max(&self) -> Option<u64> {
        match self {
            Self::Memory => None,
            Self::Redis(_) => Some(REDIS_COUNT_MAX),
        }
    }
}

impl RedisAddress {
    const fn scheme(&self) -> &'static str {
        match (&self.topology, self.tls) {
            (Topology::Single(_), false) => "redis",
            (Topology::Single(_), true) => "rediss",
            (Topology::Unix(_), _) => "redis+unix",
            (Topology::Sentinel { .. }, false) => "redis-sentinel",
            (Topology::Sentinel { .. }, true) => "rediss-sentinel",
            (Topology::Cluster(_), false) => "redis-cluster",
            (Topology::Cluster(_), true) => "rediss-cluster",
        }
    }
}

impl Password {
    /// For the server, and for nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Redis(redis) => redis.fmt(f),
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        if self.user.is_some() || self.password.is_some() {
            f.write_str("***@")?;
        }
        match &self.topology {
            Topology::Single(server) => server.fmt(f)?,
            Topology::Unix(path) => path.display().fmt(f)?,
            Topology::Cluster(servers) => list(servers, f)?,
            Topology::Sentinel { sentinels, master } => {
                list(sentinels, f)?;
                write!(f, "/{master}")?;
            }
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

fn list(servers: &[Server], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, server) in servers.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{server}")?;
    }
    Ok(())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests;
