//! TLS towards a server: whom we trust, and how we show who we are.

use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

use crate::pem::{PemError, PemFile};

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
pub enum TlsClientError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 to servers whose certificate one of `trusted` has signed. A server that asks for a certificate is shown
/// `own`: the certificate and its key.
///
/// # Errors
///
/// What is wrong with `own`.
pub fn configuration(
    trusted: impl Into<Arc<RootCertStore>>,
    own: Option<(&PemFile, &PemFile)>,
) -> Result<ClientConfig, TlsClientError> {
    // Named, not found: where two providers are compiled in, rustls would not know which, and panic.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(trusted);
    let Some((certificate, key)) = own else { return Ok(builder.with_no_client_auth()) };
    let config = builder.with_client_auth_cert(certificate.certificates()?, key.private_key()?);
    config.map_err(|why| key.blame(why).into())
}
