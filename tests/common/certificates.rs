//! Certificates for tests: who signs them, for whom they are.

#![allow(dead_code, reason = "each of those who share it takes what it needs")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// One whom nobody trusts yet. Where two have one name, the key of the wrong one is tried.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there are random numbers");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are good"))
    }

    /// What those who trust it have, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, addresses and URIs.
    pub fn certify(&self, names: &[&str]) -> Certificate {
        self.certify_until(names, 4096)
    }

    /// One that expires with the first day of a year.
    pub fn certify_until(&self, names: &[&str], year: i32) -> Certificate {
        let (uris, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("names are names");
        let uri = |uri: &str| SanType::URI(uri.try_into().expect("URIs are ASCII"));
        params.subject_alt_names.extend(uris.into_iter().map(uri));
        params.not_after = date_time_ymd(year, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "whom it certifies");
        let key = KeyPair::generate().expect("there are random numbers");
        let certificate = params.signed_by(&key, &self.0).expect("the parameters are good");
        Certificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
