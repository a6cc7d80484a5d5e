//! One service, asked as Envoy asks it.

use std::{error::Error, io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use super::Answer;
use crate::{
    grpc::{
        Address,
        proto::{RateLimitRequest, RateLimitResponse, rate_limit_service_client::RateLimitServiceClient},
    },
    pem::{PemError, PemFile, trusted_by_this_machine},
    tls_client,
};

/// A service that has not answered by then will not: Envoy waits for 20 milliseconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// What an address begins with where TLS is spoken.
pub const BY_TLS: &str = "https://";

/// How TLS is spoken to services that are.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who has signed their certificates; none: whom this machine trusts.
    pub ca: Option<PathBuf>,
    /// What is shown to those that ask for it: a certificate and its key.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Whose certificate it has to be; none: that of the host.
    pub name: Option<String>,
}

/// A connection to a service.
#[derive(Debug)]
pub struct Side {
    name: Name,
    client: RateLimitServiceClient<Channel>,
}

impl Side {
    /// Connects to the service at `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// Why it cannot be reached.
    pub async fn connect(address: &str, tls: &Tls) -> anyhow::Result<Self> {
        let by_tls = address.strip_prefix(BY_TLS);
        let url = match by_tls {
            // TLS is ours to speak, under what is plain HTTP/2 to the client.
            Some(address) => format!("http://{address}"),
            None if address.starts_with("unix:") => address.to_owned(),
            None => format!("http://{address}"),
        };
        let name = Name { address: address.to_owned(), may_want_a_certificate: by_tls.is_some() && tls.own.is_none() };
        let endpoint = Endpoint::from_shared(url).map_err(|error| name.unreachable(&error))?;
        let endpoint = endpoint.connect_timeout(ANSWER_DEADLINE);
        let channel = match by_tls {
            Some(host_and_port) => {
                let connect = Connect::new(host_and_port, tls)?;
                endpoint.connect_with_connector(service_fn(move |_| connect.clone().connect())).await
            }
            None => endpoint.connect().await,
        };
        let channel = channel.map_err(|error| name.unreachable(&error))?;
        Ok(Self { name, client: RateLimitServiceClient::new(channel) })
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// What it answered instead, or why it could not be asked, for people.
    pub async fn call(&mut self, request: &RateLimitRequest) -> anyhow::Result<RateLimitResponse> {
        self.answer(request).await.map_err(|status| match status.source() {
            Some(error) => self.name.unreachable(error),
            None => anyhow!("{} answers {:?}: {}", self.name.address, status.code(), status.message()),
        })
    }

    /// The same, to be compared.
    ///
    /// # Errors
    ///
    /// What it answered instead: messages are for people, and no part of what services have in common.
    pub async fn ask(&mut self, request: &RateLimitRequest) -> Answer {
        self.answer(request).await.map_err(|status| format!("{:?}", status.code()))
    }

    async fn answer(&mut self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        match timeout(ANSWER_DEADLINE, self.client.should_rate_limit(Request::new(request.clone()))).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {ANSWER_DEADLINE:?}"))),
        }
    }
}

/// What a service is called where it cannot be reached.
#[derive(Debug)]
struct Name {
    address: String,
    /// It speaks TLS, and was shown none. One that wants it hangs up, and what it says is often lost with the connection.
    may_want_a_certificate: bool,
}

impl Name {
    /// What lies deepest is what is wrong.
    fn unreachable(&self, error: &dyn Error) -> anyhow::Error {
        let mut deepest = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        let hint = if self.may_want_a_certificate { "; if it wants a certificate, show one" } else { "" };
        anyhow!("cannot reach the service at {}: {deepest}{hint}", self.address)
    }
}

/// Opens connections by TLS.
#[derive(Clone)]
struct Connect {
    host: Box<str>,
    port: u16,
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Connect {
    fn new(host_and_port: &str, tls: &Tls) -> anyhow::Result<Self> {
        let Address::Tcp { host, port } = Address::parse(host_and_port)? else {
            bail!("nobody speaks TLS on a Unix socket: write {host_and_port} without {BY_TLS}");
        };
        let trusted = match &tls.ca {
            Some(file) => PemFile::read(file)?.trusted()?,
            None => trusted_by_this_machine().context("this machine trusts nobody: say whom to trust")?,
        };
        let own = tls
            .own
            .as_ref()
            .map(|(certificate, key)| Ok::<_, PemError>((PemFile::read(certificate)?, PemFile::read(key)?)));
        let own = own.transpose()?;
        let mut config = tls_client::configuration(trusted, own.as_ref().map(|(certificate, key)| (certificate, key)))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = tls.name.as_deref().unwrap_or(&host);
        let name = ServerName::try_from(name)
            .with_context(|| format!("`{name}` is no name that a certificate can have"))?
            .to_owned();
        Ok(Self { host, port, tls: TlsConnector::from(Arc::new(config)), name })
    }

    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        Ok(TokioIo::new(self.tls.connect(self.name, stream).await?))
    }
}
