//! A client of TLS: whom it trusts, what it shows, and what it was shown.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tallygate::grpc::proto::{
    RateLimitResponse, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        version::{TLS12, TLS13},
    },
};
use tonic::transport::{Channel, Endpoint};

use crate::harness::{
    Service, descriptor, request,
    servers::{Authority, Certificate},
};

static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static OLD: &[&SupportedProtocolVersion] = &[&TLS12];

/// A client that trusts one authority.
#[derive(Clone)]
pub struct Client {
    trusts: String,
    shows: Option<(String, String)>,
    versions: &'static [&'static SupportedProtocolVersion],
    protocols: Vec<Vec<u8>>,
}

impl Client {
    pub fn trusting(authority: &Authority) -> Self {
        Self { trusts: authority.pem(), shows: None, versions: BOTH, protocols: vec![b"h2".to_vec()] }
    }

    /// The same that shows a certificate.
    pub fn showing(self, certificate: &Certificate) -> Self {
        Self { shows: Some((certificate.certificate.clone(), certificate.key.clone())), ..self }
    }

    /// The same that knows nothing newer than TLS 1.2.
    pub fn of_old(self) -> Self {
        Self { versions: OLD, ..self }
    }

    /// The same that wants to speak something else.
    pub fn speaking(self, protocol: &str) -> Self {
        Self { protocols: vec![protocol.as_bytes().to_vec()], ..self }
    }

    /// Shakes hands with the service.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        shake_hands(self.config(), address).await
    }

    /// How it shook hands the second time, with what it remembers of the first.
    pub fn second_handshake(&self, service: &Service) -> Option<HandshakeKind> {
        let (config, address) = (self.config(), service.grpc_address());
        let connect = || service.block_on(shake_hands(config.clone(), &address)).unwrap();
        connect();
        connect().get_ref().1.handshake_kind()
    }

    /// The first certificate that the service shows.
    pub fn shown(&self, service: &Service) -> Vec<u8> {
        let address = service.grpc_address();
        let session = service.block_on(self.connect(&address)).unwrap();
        session.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// One call on a connection of its own, as tonic makes it.
    pub fn ask(&self, service: &Service) -> Result<RateLimitResponse, Box<dyn std::error::Error>> {
        let address = service.grpc_address();
        service.block_on(async {
            let mut client = RateLimitServiceClient::new(self.channel(address).await?);
            let asked = request(vec![descriptor("k", "v")]);
            Ok(client.should_rate_limit(asked).await?.into_inner())
        })
    }

    pub fn is_let_in(&self, service: &Service) -> bool {
        self.ask(service).is_ok_and(|answer| answer.overall_code() == Code::Ok)
    }

    async fn channel(&self, address: String) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_static("http://tallygate.internal");
        endpoint.connect_with_connector(Connector { client: self.clone(), address }).await
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut trusted = RootCertStore::empty();
        trusted.add(CertificateDer::from_pem_slice(self.trusts.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(self.versions).unwrap().with_root_certificates(trusted);
        let mut config = match &self.shows {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.protocols);
        Arc::new(config)
    }
}

async fn shake_hands(config: Arc<ClientConfig>, address: &str) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("tallygate.internal").unwrap(), socket).await
}

/// Shakes hands for tonic.
struct Connector {
    client: Client,
    address: String,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (client, address) = (self.client.clone(), self.address.clone());
        Box::pin(async move { client.connect(&address).await.map(TokioIo::new) })
    }
}
