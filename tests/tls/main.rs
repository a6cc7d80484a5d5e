//! gRPC over TLS as operators meet it: who comes in and who does not, certificates that change while the service runs,
//! and those who would keep others out.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod by_hand;
#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "../service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;
mod tls_client;

use std::{fs, net::TcpStream, os::unix::fs::symlink};

use harness::{
    Folder, Service, command, eventually,
    servers::{Authority, Certificate},
};
use tallygate::bounds::HANDSHAKES_MAX;
use tls_client::Client;
use tokio_rustls::rustls::HandshakeKind;

/// One window that does not end while a test runs.
const RULES: &str = "domain: shop\ndescriptors:\n  - {key: k, limits: [1000000/3650d]}\n";

const NAME: &str = "tallygate.internal";

/// A folder with rules, a certificate, its key, and who signs those of clients.
fn folder(ours: &Certificate, clients: &Authority) -> Folder {
    let ca = clients.pem();
    Folder::with(&[("shop.yaml", RULES), ("cert", &ours.certificate), ("key", &ours.key), ("ca", &ca)])
}

/// Starts a service that speaks TLS, with more arguments where the values are names of files.
fn serve(folder: &Folder, files: &[&str]) -> Service {
    let mut arguments = vec!["--grpc-tls-cert-file", "cert", "--grpc-tls-key-file", "key"];
    arguments.extend_from_slice(files);
    let service = Service::start(folder, &arguments);
    service.until_ready();
    service
}

const DEMANDING: &[&str] = &["--grpc-tls-client-ca-file", "ca"];

/// How many handshakes have failed for this reason.
fn failed(service: &Service, reason: &str) -> u64 {
    let failed = service.metric(&format!("tallygate_tls_handshakes_failed_total{{reason=\"{reason}\"}}"));
    failed.parse().unwrap()
}

/// Waits until there are so many at least: tonic's client comes again when it was let in and shown out.
fn until_failed(service: &Service, reason: &str, times: u64) {
    eventually(&format!("{times} handshakes failed: {reason}"), || failed(service, reason) >= times);
}

#[test]
fn calls_are_decided_over_tls_by_clients_of_both_versions() {
    let house = Authority::new("house");
    let service = serve(&folder(&house.certify_until(&[NAME], 4096), &house), &[]);
    let client = Client::trusting(&house);
    assert!(client.is_let_in(&service));
    assert!(client.clone().of_old().is_let_in(&service));
    // The first day of the year 4096.
    assert_eq!(service.metric("tallygate_tls_certificate_expiry_seconds"), "67090118400");
    assert!(service.log().contains("the certificate for gRPC is live expires=\"4096-01-01T00:00:00Z\""));

    let address = service.grpc_address();
    let session = service.block_on(client.connect(&address)).unwrap();
    assert_eq!(session.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let other = client.speaking("http/1.1");
    assert!(service.block_on(other.connect(&address)).is_err());
    until_failed(&service, "incompatible", 1);
}

#[test]
fn who_does_not_trust_us_does_not_come_and_who_speaks_plain_text_is_told_apart() {
    let (house, stranger) = (Authority::new("house"), Authority::new("stranger"));
    let service = serve(&folder(&house.certify(&[NAME]), &house), &[]);
    assert!(Client::trusting(&stranger).ask(&service).is_err());
    until_failed(&service, "refused", 1);
    // The service's own client knows no TLS.
    assert!(service.ask("k", "v").is_err());
    until_failed(&service, "not_tls", 1);
    for reason in ["refused", "not_tls"] {
        let (log, reason) = (service.log(), format!("reason=\"{reason}\" peer=127.0.0.1:"));
        let mut lines = log.lines().filter(|line| line.contains("a TLS handshake failed: "));
        assert!(lines.any(|line| line.contains(&reason)), "{reason}");
    }
    assert!(Client::trusting(&house).is_let_in(&service));
}

#[test]
fn clients_come_in_by_a_certificate_of_theirs_and_by_nothing_else() {
    let (house, clients, stranger) = (Authority::new("house"), Authority::new("clients"), Authority::new("clients"));
    let folder = folder(&house.certify(&[NAME]), &clients);
    folder.write("names", "# who may come\nenvoy.edge.mesh\n\nspiffe://mesh/envoy\n");
    let listed = [DEMANDING, &["--grpc-tls-client-san", "envoy.edge.mesh, spiffe://mesh/envoy"]].concat();
    let in_file = [DEMANDING, &["--grpc-tls-client-san-file", "names"]].concat();
    let client = || Client::trusting(&house);
    for arguments in [listed, in_file] {
        let service = serve(&folder, &arguments);
        for name in ["envoy.edge.mesh", "*.edge.mesh", "spiffe://mesh/envoy"] {
            let certificate = clients.certify(&[name]);
            assert!(client().showing(&certificate).is_let_in(&service), "{name}");
            assert!(client().showing(&certificate).of_old().is_let_in(&service), "{name}");
        }
        for (certificate, reason) in [
            (None, "no_certificate"),
            (Some(stranger.certify(&["envoy.edge.mesh"])), "untrusted"),
            (Some(clients.certify_until(&["envoy.edge.mesh"], 2020)), "expired"),
            (Some(clients.certify(&["other.mesh", "spiffe://mesh/other"])), "name"),
            (Some(clients.certify(&[])), "name"),
        ] {
            let before = failed(&service, reason);
            for client in [client(), client().of_old()] {
                let client = match &certificate {
                    Some(certificate) => client.showing(certificate),
                    None => client,
                };
                assert!(!client.is_let_in(&service), "{reason}");
            }
            until_failed(&service, reason, before + 2);
        }
        let told = "a TLS handshake failed: the client's certificate is for none of the names that may come, but for \
                    other.mesh, spiffe://mesh/other reason=\"name\"";
        assert!(service.log().contains(told), "{}", service.log());
        assert_eq!(service.metric("tallygate_connections_accepted_total"), "6", "who is not let in takes no place");
    }
    let any = serve(&folder, DEMANDING);
    assert!(client().showing(&clients.certify(&[])).is_let_in(&any), "without a list every name will do");
}

#[test]
fn nobody_comes_in_by_a_session_of_before() {
    let house = Authority::new("house");
    let folder = folder(&house.certify(&[NAME]), &house);
    let service = serve(&folder, DEMANDING);
    // Of the older version, whose clients know at once what they may come back by.
    let client = Client::trusting(&house).showing(&house.certify(&[])).of_old();
    assert_eq!(client.second_handshake(&service), Some(HandshakeKind::Full));
}

#[test]
fn those_who_say_nothing_or_only_begin_do_not_keep_others_out() {
    let house = Authority::new("house");
    let service = serve(&folder(&house.certify(&[NAME]), &house), &[]);
    let address = service.grpc_address();
    let silent: Vec<TcpStream> = (0..HANDSHAKES_MAX + 50).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for _ in 0..20 {
        assert!(Client::trusting(&house).is_let_in(&service));
    }
    until_failed(&service, "crowded", 50);
    drop(silent);

    let begun: Vec<TcpStream> = (0..HANDSHAKES_MAX + 50)
        .map(|_| {
            let mut socket = TcpStream::connect(&address).unwrap();
            // The beginning of a ClientHello.
            std::io::Write::write_all(&mut socket, b"\x16\x03\x01\x02\x00\x01").unwrap();
            socket
        })
        .collect();
    for _ in 0..20 {
        assert!(Client::trusting(&house).is_let_in(&service));
    }
    drop(begun);
}

#[test]
fn a_certificate_is_changed_while_the_service_runs_and_only_a_pair_that_fits_goes_live() {
    let house = Authority::new("house");
    let (first, second) = (house.certify_until(&[NAME], 4096), house.certify_until(&[NAME], 4095));
    let folder = folder(&first, &house);
    let service = serve(&folder, &[]);
    let client = Client::trusting(&house);
    let of_before = client.shown(&service);

    folder.write("cert", &second.certificate);
    eventually("a pair that does not fit is refused", || service.metric("tallygate_tls_last_reload_success") == "0");
    assert!(
        service.log().contains("key: it is not the key of the certificate in cert: gRPC goes on with"),
        "{}",
        service.log()
    );
    assert_eq!(client.shown(&service), of_before);
    assert!(client.is_let_in(&service));

    folder.write("key", &second.key);
    eventually("the new certificate is shown", || client.shown(&service) != of_before);
    eventually("it is told", || service.metric("tallygate_tls_certificate_expiry_seconds") == "67058582400");
    assert_eq!(service.metric("tallygate_tls_last_reload_success"), "1");
    assert_eq!(service.metric("tallygate_tls_reloads_total{result=\"failure\"}"), "1", "said once");

    folder.remove("key");
    eventually("a key that is gone is missed", || service.metric("tallygate_tls_last_reload_success") == "0");
    assert!(client.is_let_in(&service));
    assert!(!service.log().contains("PRIVATE"), "{}", service.log());
}

#[test]
fn a_secret_that_is_swapped_goes_live_with_whom_it_trusts_and_names() {
    let (house, old, new) = (Authority::new("house"), Authority::new("old"), Authority::new("new"));
    let folder = Folder::with(&[("shop.yaml", RULES)]);
    let ours = house.certify(&[NAME]);
    // As Kubernetes lays it out: a directory a version, a link to it, and links through that.
    let version = |name: &str, clients: &Authority, names: &str| {
        let dir = folder.path(name);
        fs::create_dir(&dir).unwrap();
        for (file, text) in [("cert", &*ours.certificate), ("key", &ours.key), ("ca", &clients.pem()), ("names", names)]
        {
            fs::write(dir.join(file), text).unwrap();
        }
    };
    version("..one", &old, "one");
    symlink("..one", folder.path("..data")).unwrap();
    for file in ["cert", "key", "ca", "names"] {
        symlink(format!("..data/{file}"), folder.path(file)).unwrap();
    }
    let service = serve(&folder, &[DEMANDING, &["--grpc-tls-client-san-file", "names"]].concat());
    let client = Client::trusting(&house);
    let [of_old, of_new] = [old.certify(&["one"]), new.certify(&["two"])].map(|one| client.clone().showing(&one));
    assert_eq!([&of_old, &of_new].map(|client| client.is_let_in(&service)), [true, false]);

    version("..two", &new, "two");
    symlink("..two", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    eventually("the new version is live", || of_new.is_let_in(&service));
    assert!(!of_old.is_let_in(&service));
}

#[test]
fn files_that_will_not_do_stop_the_start_and_are_named() {
    let house = Authority::new("house");
    let (ours, other) = (house.certify(&[NAME]), house.certify(&[NAME]));
    for (file, text, said) in [
        ("cert", "", "cert: there is no certificate in it"),
        ("cert", "-----BEGIN CERTIFICATE-----\nxx\n", "cert: "),
        ("key", "", "key: "),
        ("key", &other.key, "key: it is not the key of the certificate in cert"),
        ("ca", "", "ca: there is no certificate in it"),
        ("names", "# nobody\n", "names: there is no name in it"),
        ("names", "envoy\n*.mesh\n", "names: line 2 is no DNS name, address or URI"),
    ] {
        let folder = folder(&ours, &house);
        folder.write("names", "envoy\n");
        folder.write(file, text);
        let files = ["--grpc-tls-cert-file", "cert", "--grpc-tls-key-file", "key"];
        let mut serve = command(&folder);
        serve.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        // What is read after them and is not there: a start that should have ended by then ends all the same.
        serve.args(["--usage-secret-file", "nowhere"]);
        let output = serve.args(files).args(DEMANDING).args(["--grpc-tls-client-san-file", "names"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(said) && told.contains("TLS for gRPC"), "{file}: {told}");
        assert!(!told.contains("PRIVATE"), "{told}");
    }
}
