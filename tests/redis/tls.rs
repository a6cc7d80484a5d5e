//! Redis behind TLS: who is trusted and who is not, and certificates that change while the service runs.

use std::time::Duration;

use tallygate::grpc::proto::rate_limit_response::Code;

use crate::{
    harness::{Folder, Service, command},
    servers::{Authority, Proxy, TlsServer, within},
};

/// What is refused without Redis passes with it.
const RULES: &str = "domain: shop
descriptors:
  - {key: k, limits: [1000000/3650d], on_store_error: deny}
";
/// What must be seen within a second; a busy machine may take a few more.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const HERE: &str = "127.0.0.1";

/// Files of a service, and the arguments that name them.
struct Files(Folder);

impl Files {
    fn new() -> Self {
        Self(Folder::with(&[("shop.yaml", RULES)]))
    }

    /// Starts a service that trusts `ca`, and shows the certificate in `client` where there is one.
    fn serve(&self, url: &str, client: bool) -> Service {
        let [ca, certificate, key] = ["ca", "certificate", "key"].map(|name| self.0.path(name).display().to_string());
        // So that a busy machine does not make a call late.
        let mut arguments = vec!["--store", url, "--store-deadline", "1s", "--store-tls-ca-file", &ca];
        if client {
            arguments.extend(["--store-tls-cert-file", &certificate, "--store-tls-key-file", &key]);
        }
        let service = Service::start(&self.0, &arguments);
        service.until_ready();
        service
    }
}

fn is_counted(service: &Service) -> bool {
    service.ask("k", "v").unwrap().overall_code() == Code::Ok
}

/// Asks until Redis is found to be away, for its TLS; what the log says why.
fn refusal(service: &Service) -> String {
    let mut why = None;
    within(SEEN_WITHIN, "the log says why Redis is away", || {
        assert!(!is_counted(service));
        let log = service.log();
        why = log.lines().find(|line| line.contains("the store is away")).map(str::to_owned);
        why.is_some()
    });
    assert!(service.metrics().contains("result=\"tls\""), "{}", service.metrics());
    why.unwrap()
}

#[test]
fn a_service_counts_over_tls_and_across_a_bad_way() {
    let (authority, files) = (Authority::new("house"), Files::new());
    // By an address, and by a name.
    let server = TlsServer::start(&authority.certify(&[HERE, "localhost"]));
    files.0.write("ca", &authority.pem());
    let proxy = Proxy::to(server.port());
    let service = files.serve(&format!("rediss://localhost:{}", proxy.port()), false);
    assert!(is_counted(&service));
    assert_eq!(server.redis.counters().len(), 1);

    proxy.cut_off();
    within(SEEN_WITHIN, "Redis is away", || !is_counted(&service));
    proxy.reconnect();
    within(SEEN_WITHIN, "Redis is back", || is_counted(&service));
    let by_address = files.serve(&server.url(), false);
    assert!(is_counted(&by_address));
}

#[test]
fn servers_of_a_cluster_are_spoken_to_by_tls() {
    let (authority, files) = (Authority::new("house"), Files::new());
    let server = TlsServer::start_cluster(&authority.certify(&[HERE]), &authority);
    files.0.write("ca", &authority.pem());
    let service = files.serve(&server.url().replace("rediss:", "rediss-cluster:"), false);
    within(SEEN_WITHIN, "it is counted", || is_counted(&service));
    assert_eq!(server.redis.counters().len(), 1);
}

#[test]
fn a_server_is_refused_for_its_certificate_and_the_log_says_why() {
    let (authority, stranger) = (Authority::new("house"), Authority::new("stranger"));
    let good = authority.certify(&[HERE]);
    for (certificate, ca, why) in [
        (&stranger.certify(&[HERE]), Some(authority.pem()), "UnknownIssuer"),
        (&authority.certify(&["redis.internal"]), Some(authority.pem()), "not valid for name \"127.0.0.1\""),
        (&authority.certify(&["127.0.0.2"]), Some(authority.pem()), "not valid for name \"127.0.0.1\""),
        (&good, None, "/ca: No such file"),
        (&good, Some(String::new()), "/ca: there is no certificate in it"),
        (&good, Some(authority.pem()[..80].to_owned()), "/ca: "),
        (&good, Some(" ".repeat(2 << 20)), "/ca: it has more than 1048576 bytes"),
    ] {
        let (server, files) = (TlsServer::start(certificate), Files::new());
        if let Some(ca) = ca {
            files.0.write("ca", &ca);
        }
        let told = refusal(&files.serve(&server.url(), false));
        assert!(told.contains(why), "{told}: {why}");
    }
}

#[test]
fn a_server_that_wants_a_certificate_gets_ours_and_no_other_will_do() {
    let (authority, clients, files) = (Authority::new("house"), Authority::new("clients"), Files::new());
    let mut server = TlsServer::start(&authority.certify(&[HERE]));
    server.demand(&clients);
    files.0.write("ca", &authority.pem());
    let (ours, other) = (clients.certify(&[]), authority.certify(&[]));
    // A server of TLS 1.3 says so after it has let us in.
    let told = refusal(&files.serve(&server.url(), false));
    assert!(told.contains("CertificateRequired"), "{told}");

    for (certificate, key, why) in [
        (&other.certificate, &other.key, "TLS: received fatal alert"),
        (&ours.certificate, &other.key, "/key: "),
        (&ours.certificate, &String::new(), "/key: "),
        (&String::new(), &ours.key, "/certificate: there is no certificate in it"),
    ] {
        files.0.write("certificate", certificate);
        files.0.write("key", key);
        let told = refusal(&files.serve(&server.url(), true));
        assert!(told.contains(why), "{told}: {why}");
        assert!(!told.contains("PRIVATE"), "{told}");
    }
    files.0.write("certificate", &ours.certificate);
    files.0.write("key", &ours.key);
    let service = files.serve(&server.url(), true);
    assert!(is_counted(&service));
}

#[test]
fn certificates_of_both_are_renewed_while_the_service_runs() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let files = Files::new();
    let mut server = TlsServer::start(&old.certify(&[HERE]));
    server.demand(&old);
    let ours = |by: &Authority| {
        let certificate = by.certify(&[]);
        files.0.write("certificate", &certificate.certificate);
        files.0.write("key", &certificate.key);
    };
    files.0.write("ca", &old.pem());
    ours(&old);
    let service = files.serve(&server.url(), true);
    assert!(is_counted(&service));

    server.show(&new.certify(&[HERE]));
    server.show_out();
    within(SEEN_WITHIN, "the new certificate is not trusted", || !is_counted(&service));
    files.0.write("ca", &new.pem());
    within(SEEN_WITHIN, "the new authority is trusted", || is_counted(&service));

    server.demand(&new);
    server.show_out();
    within(SEEN_WITHIN, "our certificate is not trusted", || !is_counted(&service));
    ours(&new);
    within(SEEN_WITHIN, "our new certificate is trusted", || is_counted(&service));
}

#[test]
fn without_a_file_those_are_trusted_whom_the_machine_trusts() {
    let (authority, files) = (Authority::new("house"), Files::new());
    let server = TlsServer::start(&authority.certify(&[HERE]));
    files.0.write("machine", &authority.pem());
    let start = |machine: &str| {
        let mut serve = command(&files.0);
        serve.env("SSL_CERT_FILE", files.0.path(machine));
        serve.args(["--store", &server.url(), "--store-deadline", "1s"]);
        serve
    };
    let service = Service::start_by(start("machine"), &files.0, &[]);
    service.until_ready();
    assert!(is_counted(&service));

    let ended = start("nowhere").output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && told.contains("`store_tls_ca_file`"), "{told}");
}
