//! A name by which a client may come in.

use tokio_rustls::rustls::pki_types::ServerName;
use webpki::EndEntityCert;

/// A name that a client's certificate must bear (a Subject Alternative Name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientName {
    /// A DNS name or an address, borne as a server's certificate would bear it: `*.mesh.internal` in a certificate covers
    /// `envoy.mesh.internal` here.
    Host(ServerName<'static>),
    /// A URI, as SPIFFE's: equal byte for byte.
    Uri(Box<str>),
}

impl ClientName {
    /// Reads a name; None if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.split_once("://") {
            Some((scheme, rest)) => {
                let good = !scheme.is_empty() && !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                good.then(|| Self::Uri(text.into()))
            }
            None => ServerName::try_from(text.to_owned()).ok().map(Self::Host),
        }
    }

    /// Whether `certificate` bears it.
    pub fn is_borne_by(&self, certificate: &EndEntityCert<'_>) -> bool {
        match self {
            Self::Host(name) => certificate.verify_is_valid_for_subject_name(name).is_ok(),
            Self::Uri(uri) => certificate.valid_uri_names().any(|borne| borne == &**uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn what_is_no_name_is_none() {
        for good in ["envoy", "envoy.mesh.internal", "10.0.0.7", "fd00::7", "spiffe://mesh/ns/edge/sa/envoy", " envoy "]
        {
            assert!(ClientName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "*.mesh.internal", "two words", "://x", "spiffe://", "spiffe://a b", "spiffe://ä", "-x-.y"] {
            assert!(ClientName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_bears_its_names_and_no_others() {
        let mut params =
            CertificateParams::new(["envoy.mesh".into(), "*.edge.mesh".into(), "10.0.0.7".into()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://mesh/envoy".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = EndEntityCert::try_from(certificate.der()).unwrap();
        for (name, borne) in [
            ("envoy.mesh", true),
            ("ENVOY.mesh", true),
            ("a.edge.mesh", true),
            ("10.0.0.7", true),
            ("spiffe://mesh/envoy", true),
            ("mesh", false),
            ("a.b.edge.mesh", false),
            ("10.0.0.8", false),
            ("spiffe://mesh/envoy/", false),
            ("spiffe://mesh/ENVOY", false),
            ("spiffe://mesh", false),
        ] {
            assert_eq!(ClientName::parse(name).unwrap().is_borne_by(&certificate), borne, "{name}");
        }
    }
}
