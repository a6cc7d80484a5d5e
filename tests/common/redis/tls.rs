//! A server that is spoken to by TLS.

use std::{fs, path::PathBuf};

use super::{
    RedisServer,
    certificates::{Authority, Certificate},
    ports::free_port,
    process::eventually,
};

/// A Redis server that listens with TLS too; the test itself asks it without.
pub struct TlsServer {
    pub redis: RedisServer,
    port: u16,
}

impl TlsServer {
    /// Starts one that shows this certificate and wants none.
    pub fn start(certificate: &Certificate) -> Self {
        let mut server = Self { redis: RedisServer::start(), port: free_port() };
        server.show(certificate);
        server.listen();
        server
    }

    /// Starts a cluster of one, whose servers are named by their ports with TLS.
    pub fn start_cluster(certificate: &Certificate, authority: &Authority) -> Self {
        let bus = free_port().to_string();
        let redis = RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
        let mut server = Self { redis, port: free_port() };
        server.show(certificate);
        // Without an authority, a cluster does not begin to speak TLS.
        let file = server.write("servers.crt", &authority.pem());
        server.redis.ask::<()>(&["CONFIG", "SET", "tls-ca-cert-file", &file, "tls-cluster", "yes"]);
        server.listen();
        // Or it would go on naming the port that it had at its start.
        server.redis.ask::<()>(&["CONFIG", "SET", "cluster-announce-tls-port", &server.port.to_string()]);
        server.redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        eventually("the cluster serves", || {
            server.redis.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        server
    }

    fn listen(&self) {
        let port = self.port.to_string();
        self.redis.ask::<()>(&["CONFIG", "SET", "tls-auth-clients", "no", "tls-port", &port]);
    }

    /// Starts a sentinel that calls it a master of this name, and is asked by TLS with the same certificate.
    pub fn start_sentinel(&self, master: &str) -> Self {
        let [certificate, key] =
            ["server.crt", "server.key"].map(|name| self.redis.dir().join(name).display().to_string());
        let (of_master, port) = (self.port, free_port());
        let configuration = format!(
            "sentinel monitor {master} 127.0.0.1 {of_master} 1\ntls-auth-clients no\n\
             tls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        );
        Self { redis: RedisServer::start_sentinel(&configuration), port }
    }

    /// The port with TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `--store` takes.
    pub fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    /// From now on it shows this certificate to those who come.
    pub fn show(&mut self, certificate: &Certificate) {
        let (file, key) =
            (self.write("server.crt", &certificate.certificate), self.write("server.key", &certificate.key));
        self.redis.ask::<()>(&["CONFIG", "SET", "tls-cert-file", &file, "tls-key-file", &key]);
    }

    /// From now on those who come must show a certificate that this authority signed.
    pub fn demand(&mut self, by: &Authority) {
        let file = self.write("clients.crt", &by.pem());
        self.redis.ask::<()>(&["CONFIG", "SET", "tls-ca-cert-file", &file, "tls-auth-clients", "yes"]);
    }

    /// Shows out those who are in.
    pub fn show_out(&self) {
        self.redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.redis.dir().join(name);
        fs::write(&path, text).expect("the directory is ours");
        path.display().to_string()
    }
}
