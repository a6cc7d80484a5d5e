//! From the text of a setting to an address.

use std::net::Ipv6Addr;

use thiserror::Error;

use super::{Password, REDIS_PORT, RedisAddress, SENTINEL_PORT, Server, StoreAddress, Topology};
use crate::spelling::did_you_mean;

/// What is wrong with an address. It repeats nothing of what may be a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{why}; for example `{example}`")]
pub struct StoreAddressError {
    pub why: Why,
    /// An address of the kind that was probably meant.
    pub example: &'static str,
}

/// Why an address is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Why {
    #[error("it is neither `memory` nor a URL{}", hint(.meant.as_ref()))]
    NotAUrl { meant: Option<String> },
    #[error("its scheme is none of {}{}", schemes(), hint(.meant.as_ref()))]
    Scheme { meant: Option<String> },
    #[error("in a user or password, `/`, `?` and `#` are written `%2F`, `%3F` and `%23`")]
    Unescaped,
    #[error("in a user or password, `%` and two hexadecimal digits stand for a byte of UTF-8, `%25` for `%` itself")]
    Escape,
    #[error("a URL has no parameters here: what else there is to say are settings of their own")]
    Parameters,
    #[error("the host is missing")]
    NoHost,
    #[error("`{server}` is no HOST:PORT: {why}")]
    Server { server: String, why: &'static str },
    #[error("these are several servers, and one is asked for: several are a cluster or sentinels")]
    Several,
    #[error("the name of the master is missing: it follows the sentinels")]
    NoMaster,
    #[error("`{name}` is no name of a master: letters, digits, `.`, `-` and `_`")]
    Master { name: String },
    #[error("`{text}` is no database: a number")]
    Database { text: String },
    #[error("a cluster has no database but 0")]
    ClusterDatabase,
    #[error("a socket has no host: its path follows three slashes")]
    SocketHost,
    #[error("the path of the socket is missing")]
    NoPath,
    #[error("a socket's path has at most 107 bytes")]
    LongPath,
}

/// A way to write an address.
struct Scheme {
    name: &'static str,
    kind: Kind,
    tls: bool,
    example: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
    Unix,
}

const SCHEMES: [Scheme; 7] = [
    Scheme { name: "redis", kind: Kind::Single, tls: false, example: EXAMPLE },
    Scheme { name: "rediss", kind: Kind::Single, tls: true, example: "rediss://tallygate@redis.internal:6379/0" },
    Scheme {
        name: "redis-sentinel",
        kind: Kind::Sentinel,
        tls: false,
        example: "redis-sentinel://a:26379,b:26379/main",
    },
    Scheme {
        name: "rediss-sentinel",
        kind: Kind::Sentinel,
        tls: true,
        example: "rediss-sentinel://a:26379,b:26379/main",
    },
    Scheme { name: "redis-cluster", kind: Kind::Cluster, tls: false, example: "redis-cluster://a:6379,b:6379" },
    Scheme { name: "rediss-cluster", kind: Kind::Cluster, tls: true, example: "rediss-cluster://a:6379,b:6379" },
    Scheme { name: "redis+unix", kind: Kind::Unix, tls: false, example: "redis+unix:///run/redis/redis.sock" },
];

const EXAMPLE: &str = "redis://redis.internal:6379";

pub(super) fn address(text: &str) -> Result<StoreAddress, StoreAddressError> {
    if text == "memory" {
        return Ok(StoreAddress::Memory);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let topology = socket(path).map_err(|why| StoreAddressError { why, example: "unix:/run/redis/redis.sock" })?;
        let redis = RedisAddress { topology, tls: false, user: None, password: None, database: 0 };
        return Ok(StoreAddress::Redis(redis));
    }
    let Some((name, rest)) = text.split_once("://") else {
        let why = Why::NotAUrl { meant: did_you_mean(text, ["memory"]) };
        return Err(StoreAddressError { why, example: EXAMPLE });
    };
    let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name)) else {
        let why = Why::Scheme { meant: did_you_mean(name, SCHEMES.iter().map(|scheme| scheme.name)) };
        return Err(StoreAddressError { why, example: EXAMPLE });
    };
    let redis = redis(scheme, rest).map_err(|why| StoreAddressError { why, example: scheme.example })?;
    Ok(StoreAddress::Redis(redis))
}

/// What follows `://`.
fn redis(scheme: &Scheme, rest: &str) -> Result<RedisAddress, Why> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // First of all: what follows would take the password for a host, and say so.
    if path.contains('@') && !matches!(scheme.kind, Kind::Unix) {
        return Err(Why::Unescaped);
    }
    if path.contains(['?', '#']) {
        return Err(Why::Parameters);
    }
    // A lone `@` in a password is forgiven: hosts have none.
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let named = |text: &str| (!text.is_empty()).then(|| unescaped(text)).transpose();
    let (user, password) = (named(user)?, named(password)?.map(Password));
    let below: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (topology, database) = match scheme.kind {
        Kind::Single if hosts.contains(',') => return Err(Why::Several),
        Kind::Single => (Topology::Single(server(hosts, REDIS_PORT)?), number(&below)?),
        Kind::Sentinel => {
            let sentinels = servers(hosts, SENTINEL_PORT)?;
            let (name, database) = below.split_first().ok_or(Why::NoMaster)?;
            (Topology::Sentinel { sentinels, master: master(name)? }, number(database)?)
        }
        Kind::Cluster if !matches!(below[..], [] | ["0"]) => return Err(Why::ClusterDatabase),
        Kind::Cluster => (Topology::Cluster(servers(hosts, REDIS_PORT)?), 0),
        Kind::Unix if !hosts.is_empty() => return Err(Why::SocketHost),
        Kind::Unix => (socket(path)?, 0),
    };
    Ok(RedisAddress { topology, tls: scheme.tls, user, password, database })
}

fn socket(path: &str) -> Result<Topology, Why> {
    match path.trim_matches('/').len() {
        0 => Err(Why::NoPath),
        // The kernel's `sun_path` holds 108 bytes, the last of them zero.
        _ if path.len() > 107 => Err(Why::LongPath),
        _ => Ok(Topology::Unix(path.into())),
    }
}

fn servers(text: &str, default_port: u16) -> Result<Vec<Server>, Why> {
    text.split(',').map(|text| server(text, default_port)).collect()
}

fn server(text: &str, default_port: u16) -> Result<Server, Why> {
    let wrong = |why| Why::Server { server: text.to_owned(), why };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
            let host: Ipv6Addr = host.parse().map_err(|_| wrong("what stands in brackets is no IPv6 address"))?;
            (host.to_string(), port)
        }
        None if text.matches(':').count() > 1 => return Err(wrong("an IPv6 address stands in brackets")),
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
                return Err(wrong("a host has letters, digits, `.`, `-` and `_`"));
            }
            (host.to_owned(), port)
        }
    };
    if host.is_empty() {
        return Err(Why::NoHost);
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Some(default_port),
        None => return Err(wrong("a `:` and the port follow the bracket")),
        Some(port) => digits(port).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0),
    };
    let port = port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?;
    Ok(Server { host: host.into(), port })
}

/// Sentinel takes no other names either.
fn master(name: &str) -> Result<Box<str>, Why> {
    let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if good { Ok(name.into()) } else { Err(Why::Master { name: name.to_owned() }) }
}

fn number(database: &[&str]) -> Result<u32, Why> {
    match database {
        [] => Ok(0),
        [one] => digits(one).ok_or_else(|| Why::Database { text: (*one).to_owned() }),
        more => Err(Why::Database { text: more.join("/") }),
    }
}

/// Without the sign that Rust would let in.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `p%40ss` is `p@ss`.
fn unescaped(text: &str) -> Result<Box<str>, Why> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend(pieces.next().unwrap_or_default().bytes());
    for piece in pieces {
        let (byte, rest) = piece.as_bytes().split_at_checked(2).ok_or(Why::Escape)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(Why::Escape);
        let byte = digit(byte[0])? * 16 + digit(byte[1])?;
        bytes.push(u8::try_from(byte).map_err(|_| Why::Escape)?);
        bytes.extend(rest);
    }
    String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| Why::Escape)
}

fn schemes() -> String {
    SCHEMES.iter().map(|scheme| format!("`{}`", scheme.name)).collect::<Vec<_>>().join(", ")
}

fn hint(meant: Option<&String>) -> String {
    meant.map(|meant| format!("; {meant}")).unwrap_or_default()
}
