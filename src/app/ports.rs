//! The HTTP ports: where the settings say, all bound before anything is served.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use axum::Router;
use tokio::{
    net::{TcpListener, lookup_host},
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    bounds::{ADMIN_CONNECTIONS_MAX, DEBUG_CONNECTIONS_MAX, HTTP_CONNECTIONS_MAX},
    config::settings::Settings,
    grpc::listen,
    serve_http::{Ends, Served, serve_http},
};

/// All of them, bound.
pub(super) struct Ports {
    pub(super) http: TcpListener,
    /// None: the metrics have no port of their own.
    pub(super) metrics: Option<TcpListener>,
    /// The debug pages; none unless they are asked for.
    pub(super) debug: Option<TcpListener>,
    admin: AdminPort,
}

enum AdminPort {
    Own(TcpListener),
    /// The listener of the debug pages, which hears what one of this address would.
    OfDebug(IpAddr),
}

/// What is served.
pub(super) struct Pages {
    pub(super) http: Router,
    pub(super) metrics: Router,
    pub(super) debug: Router,
    /// The debug pages, and the admin API beside them.
    pub(super) debug_and_admin: Router,
    pub(super) admin: Router,
}

impl Ports {
    /// Binds them.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound, with its setting.
    pub(super) async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let http = bind("http", &settings.http).await?;
        let metrics = bind_if_asked_for("metrics", settings.metrics.as_ref()).await?;
        // Before the admin port: where one covers both, there is no room for another.
        let debug = bind_if_asked_for("debug", settings.debug.as_ref()).await?;
        let admin = match &settings.debug {
            Some(debug) => under(debug, &settings.admin).await?,
            None => None,
        };
        let admin = match admin {
            Some(address) => AdminPort::OfDebug(address),
            None => AdminPort::Own(bind("admin", &settings.admin).await?),
        };
        Ok(Self { http, metrics, debug, admin })
    }

    /// Where the admin API is to be asked.
    pub(super) fn admin(&self) -> io::Result<SocketAddr> {
        match (&self.admin, &self.debug) {
            (AdminPort::Own(listener), _) => listener.local_addr(),
            (AdminPort::OfDebug(address), Some(debug)) => Ok(SocketAddr::new(*address, debug.local_addr()?.port())),
            (AdminPort::OfDebug(address), None) => Ok(SocketAddr::new(*address, 0)),
        }
    }

    /// Serves `pages` until told to stop.
    pub(super) fn serve(self, pages: Pages, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let Pages { http, metrics, debug, debug_and_admin, admin } = pages;
        tasks.spawn(serve_http(self.http, to_all(http), HTTP_CONNECTIONS_MAX, stopped.clone()));
        if let Some(listener) = self.metrics {
            tasks.spawn(serve_http(listener, to_all(metrics), HTTP_CONNECTIONS_MAX, stopped.clone()));
        }
        match (self.admin, self.debug) {
            (AdminPort::OfDebug(address), Some(listener)) => {
                let serve = by_connection(address, debug_and_admin, debug);
                let connections_max = ADMIN_CONNECTIONS_MAX + DEBUG_CONNECTIONS_MAX;
                tasks.spawn(serve_http(listener, serve, connections_max, stopped.clone()));
            }
            (admin_port, debug_port) => {
                if let AdminPort::Own(listener) = admin_port {
                    tasks.spawn(serve_http(listener, to_all(admin), ADMIN_CONNECTIONS_MAX, stopped.clone()));
                }
                if let Some(listener) = debug_port {
                    tasks.spawn(serve_http(listener, to_all(debug), DEBUG_CONNECTIONS_MAX, stopped.clone()));
                }
            }
        }
    }
}

fn to_all(router: Router) -> impl Fn(Ends) -> Option<Served> {
    move |_| Some(router.clone().into())
}

/// `everything` for a connection that a listener at the address `admin` would have heard, `debug` for any other; those
/// are closed where there are many, so that they never keep the admin API's from coming in.
fn by_connection(admin: IpAddr, everything: Router, debug: Router) -> impl Fn(Ends) -> Option<Served> {
    let places = Arc::new(Semaphore::new(DEBUG_CONNECTIONS_MAX));
    move |ends| {
        if hears(admin, ends) {
            return Some(everything.clone().into());
        }
        let place = Arc::clone(&places).try_acquire_owned().ok()?;
        Some(Served { router: debug.clone(), place: Some(place) })
    }
}

/// Whether a listener at `address` would hear this connection; all of loopback counts as one.
fn hears(address: IpAddr, Ends { local, peer }: Ends) -> bool {
    let (address, local, peer) = (address.to_canonical(), local.ip().to_canonical(), peer.ip().to_canonical());
    if address.is_unspecified() {
        return address.is_ipv6() || local.is_ipv4();
    }
    // A packet from elsewhere that claims to be for loopback is dropped by the system; that it is from there is
    // checked all the same.
    local == address || address.is_loopback() && local.is_loopback() && peer.is_loopback()
}

/// The address of `admin`, if a listener at `debug` hears what one there would.
async fn under(debug: &str, admin: &str) -> anyhow::Result<Option<IpAddr>> {
    let first = async |setting: &str, text: &str| {
        let addresses = addresses(text).await.with_context(|| format!("setting `{setting}` is `{text}`"))?;
        addresses.first().copied().with_context(|| format!("setting `{setting}` is `{text}`, which is no address"))
    };
    let (debug, admin) = (first("debug", debug).await?, first("admin", admin).await?);
    Ok(covers(debug, admin).then_some(admin.ip()))
}

fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let all = match wide.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    wide.port() == narrow.port() && (all || wide.ip() == narrow.ip())
}

async fn bind_if_asked_for(setting: &str, address: Option<&String>) -> anyhow::Result<Option<TcpListener>> {
    match address {
        Some(address) => bind(setting, address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(setting: &str, text: &str) -> anyhow::Result<TcpListener> {
    let listening = async { listen::tcp(addresses(text).await?) };
    listening.await.with_context(|| format!("cannot listen on {text} (setting `{setting}`)"))
}

/// What `HOST:PORT` names, to be tried in this order. Without a host it is all addresses, as Go writes it: those of IPv6,
/// which are those of IPv4 too, or the latter alone where the machine has no other.
async fn addresses(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        let all = [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(all.map(|ip| SocketAddr::new(ip, port)).into());
    }
    Ok(lookup_host(text).await?.collect())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_reaches_the_admin_api_where_its_own_listener_would_have_heard_it() {
        for (admin, local, peer, reaches) in [
            ("127.0.0.1", "127.0.0.1:6070", "127.0.0.1:999", true),
            ("127.0.0.1", "127.0.0.2:6070", "127.0.0.1:999", true),
            ("127.0.0.1", "[::ffff:127.0.0.1]:6070", "[::ffff:127.0.0.1]:999", true),
            ("127.0.0.1", "[::1]:6070", "[::1]:999", true),
            ("::1", "127.0.0.1:6070", "127.0.0.1:999", true),
            ("127.0.0.1", "192.0.2.1:6070", "192.0.2.1:999", false),
            ("127.0.0.1", "192.0.2.1:6070", "127.0.0.1:999", false),
            ("127.0.0.2", "127.0.0.1:6070", "192.0.2.9:999", false),
            ("127.0.0.1", "[::ffff:192.0.2.1]:6070", "[::ffff:192.0.2.9]:999", false),
            ("192.0.2.1", "192.0.2.1:6070", "192.0.2.9:999", true),
            ("192.0.2.1", "[::ffff:192.0.2.1]:6070", "[::ffff:192.0.2.9]:999", true),
            ("192.0.2.1", "192.0.2.2:6070", "192.0.2.9:999", false),
            ("192.0.2.1", "127.0.0.1:6070", "127.0.0.1:999", false),
            ("0.0.0.0", "[::ffff:192.0.2.1]:6070", "[::ffff:192.0.2.9]:999", true),
            ("0.0.0.0", "[2001:db8::1]:6070", "[2001:db8::9]:999", false),
            ("::", "[2001:db8::1]:6070", "[2001:db8::9]:999", true),
            ("::", "192.0.2.1:6070", "192.0.2.9:999", true),
        ] {
            let ends = Ends { local: local.parse().unwrap(), peer: peer.parse().unwrap() };
            assert_eq!(hears(admin.parse().unwrap(), ends), reaches, "{admin}: {peer} to {local}");
        }
    }

    #[test]
    fn guests_are_bounded_and_keep_nobody_of_the_admin_api_out() {
        let ends = |text: &str| Ends { local: text.parse().unwrap(), peer: text.parse().unwrap() };
        let serve = by_connection([127, 0, 0, 1].into(), Router::new(), Router::new());
        let mut guests: Vec<Served> = (0..DEBUG_CONNECTIONS_MAX).filter_map(|_| serve(ends("192.0.2.1:1"))).collect();
        assert_eq!(guests.len(), DEBUG_CONNECTIONS_MAX);
        assert!(serve(ends("192.0.2.1:1")).is_none());
        assert!(serve(ends("127.0.0.1:1")).is_some_and(|served| served.place.is_none()));
        guests.pop();
        assert!(serve(ends("192.0.2.1:1")).is_some());
    }

    #[tokio::test]
    async fn one_listener_is_enough_where_one_covers_the_other() {
        for (debug, admin, covered) in [
            ("0.0.0.0:6070", "127.0.0.1:6070", true),
            ("[::]:6070", "127.0.0.1:6070", true),
            (":::6070", "[::1]:6070", true),
            (":6070", "127.0.0.1:6070", true),
            ("127.0.0.1:6070", "127.0.0.1:6070", true),
            ("0.0.0.0:6070", "[::1]:6070", false),
            ("0.0.0.0:6071", "127.0.0.1:6070", false),
            ("127.0.0.1:6070", "0.0.0.0:6070", false),
            ("192.0.2.1:6070", "127.0.0.1:6070", false),
        ] {
            assert_eq!(under(debug, admin).await.unwrap().is_some(), covered, "{admin} under {debug}");
        }
        let error = under("0.0.0.0:6070", "nowhere").await.unwrap_err();
        assert_eq!(error.to_string(), "setting `admin` is `nowhere`");
    }

    #[tokio::test]
    async fn all_addresses_are_those_of_ipv4_too() {
        for text in [":0", "[::]:0", ":::0", "0.0.0.0:0"] {
            if text.contains("::") && TcpListener::bind("[::1]:0").await.is_err() {
                continue; // a machine without IPv6
            }
            let listener = bind("http", text).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            assert!(connected.is_ok(), "{text}: {connected:?}");
        }
    }
}
