//! Settings of the gRPC server, checked one by one and against each other.

use std::{path::PathBuf, time::Duration};

use super::{
    ClientName,
    check::{Check, parse_duration_up_to},
};
use crate::bounds::{CLIENT_NAMES_MAX, CONNECTION_AGE_MAX};

/// TLS for gRPC: the files that say how, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcTls {
    /// Our certificate, and those between it and whom clients trust.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// None: anybody may come.
    pub clients: Option<GrpcClients>,
}

/// Who may come: with a certificate that one of these signed, for one of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcClients {
    pub ca: PathBuf,
    pub names: ClientNames,
}

/// The names of clients that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientNames {
    Any,
    Of(Vec<ClientName>),
    /// A line each.
    InFile(PathBuf),
}

impl Check<'_> {
    pub(super) fn grpc_tls(&mut self) -> Option<GrpcTls> {
        let clients = self.grpc_clients();
        let (certificate, key) = (self.file("grpc_tls_cert_file"), self.file("grpc_tls_key_file"));
        let (Some(certificate), Some(key)) = (certificate, key) else {
            self.given("grpc_tls_cert_file", "`grpc_tls_key_file` beside it");
            self.given("grpc_tls_key_file", "`grpc_tls_cert_file` beside it");
            self.given("grpc_tls_client_ca_file", "TLS: `grpc_tls_cert_file` and `grpc_tls_key_file` beside it");
            return None;
        };
        if self.text("grpc").starts_with("unix:") {
            self.given("grpc_tls_cert_file", "a `grpc` with a port: who may use a socket, the rights of its file say");
        }
        Some(GrpcTls { certificate, key, clients })
    }

    fn grpc_clients(&mut self) -> Option<GrpcClients> {
        let listed = self.parse("grpc_tls_client_san", "DNS names, addresses or URIs, comma between them", |text| {
            let names: Option<Vec<_>> = text.split(',').map(ClientName::parse).collect();
            if text.is_empty() { Some(Vec::new()) } else { names.filter(|names| names.len() <= CLIENT_NAMES_MAX) }
        })?;
        let names = match (listed.is_empty(), self.file("grpc_tls_client_san_file")) {
            (true, None) => ClientNames::Any,
            (true, Some(file)) => ClientNames::InFile(file),
            (false, None) => ClientNames::Of(listed),
            (false, Some(_)) => {
                self.given("grpc_tls_client_san_file", "no `grpc_tls_client_san` beside it: which one holds?");
                return None;
            }
        };
        let Some(ca) = self.file("grpc_tls_client_ca_file") else {
            for key in ["grpc_tls_client_san", "grpc_tls_client_san_file"] {
                self.given(key, "`grpc_tls_client_ca_file` beside it: a name that nobody vouches for is none");
            }
            return None;
        };
        Some(GrpcClients { ca, names })
    }

    pub(super) fn max_connection_age(&mut self) -> Option<Duration> {
        Some(self.age("max_connection_age")).filter(|age| !age.is_zero())
    }

    pub(super) fn max_connection_age_grace(&mut self) -> Duration {
        self.age("max_connection_age_grace")
    }

    fn age(&mut self, key: &'static str) -> Duration {
        let parse = |text: &str| parse_duration_up_to(text, CONNECTION_AGE_MAX);
        self.parse(key, "a duration up to `8784h` such as `30s`, `1h` or `24h`", parse).unwrap_or_default()
    }
}
