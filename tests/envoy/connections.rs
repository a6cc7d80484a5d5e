//! Connections that end for their age and certificates that change, while Envoy goes on asking: no request may feel it.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::{
    certificates::{Authority, Certificate},
    client::get,
    process::eventually,
    stage::{Plan, Stage},
    standstill::again_if_the_machine_stood_still,
};

/// Envoy answers 500 where a decision fails.
pub const RULES: &str = "domain: test\ndescriptors: [{key: api_key, limits: [1000000000/1000d]}]\n";

/// Clients at once.
const CLIENTS: usize = 4;

/// Connections that must have come and gone, two workers of Envoy having one each.
const CONNECTIONS: f64 = 30.0;

#[test]
fn connections_that_end_for_their_age_lose_no_request() {
    again_if_the_machine_stood_still(|| {
        let arguments = &["--max-connection-age", "100ms", "--max-connection-age-grace", "5s"];
        let stage = Plan { rules: RULES, arguments, ..Plan::default() }.start();
        under_load(stage.port, || until_connections(&stage, CONNECTIONS));
    });
}

#[test]
fn certificates_that_change_lose_no_request() {
    again_if_the_machine_stood_still(|| {
        let (house, mesh) = (Authority::new("house"), Authority::new("mesh"));
        let dir = tempfile::tempdir().expect("a directory for the test");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("the directory is ours");
        let envoy = mesh.certify(&["spiffe://mesh/envoy"]);
        write_pair(dir.path(), "tls", &envoy);
        write("ca.crt", &house.pem());
        write("mesh", &mesh.pem());
        let ours = |year| house.certify_until(&["tallygate.internal"], year);
        write_pair(dir.path(), "ours", &ours(2100));

        let [certificate, key, ca] = ["ours.crt", "ours.key", "mesh"].map(path);
        let arguments = [
            ["--max-connection-age", "100ms"],
            ["--grpc-tls-cert-file", &*certificate],
            ["--grpc-tls-key-file", &*key],
            ["--grpc-tls-client-ca-file", &*ca],
            ["--grpc-tls-client-san", "spiffe://mesh/envoy"],
        ];
        let (arguments, cluster) = (arguments.as_flattened(), &*transport_socket(dir.path()));
        let stage = Plan { rules: RULES, arguments, cluster, ..Plan::default() }.start();
        let connections = || stage.metric("tallygate_connections_accepted_total").expect("a number");
        under_load(stage.port, || {
            until_connections(&stage, CONNECTIONS);
            for (year, expires) in [(2101, 4_133_980_800.0), (2102, 4_165_516_800.0)] {
                let (next, before) = (ours(year), connections());
                write("ours.crt", &next.certificate);
                // Meanwhile they do not fit, and those of before serve.
                until_connections(&stage, before + CONNECTIONS);
                write("ours.key", &next.key);
                eventually("the new certificate is live", || {
                    stage.metric("tallygate_tls_certificate_expiry_seconds") == Some(expires)
                });
                until_connections(&stage, connections() + CONNECTIONS);
            }
        });
    });
}

/// What the manual says an Envoy needs, with its files in `dir`.
fn transport_socket(dir: &Path) -> String {
    let page = include_str!("../../docs/tls.md");
    let (_, block) = page.split_once("```yaml cluster\n").expect("the manual shows it");
    let (block, _) = block.split_once("```").expect("a block ends");
    block.replace("/etc/envoy/tls", &dir.display().to_string())
}

fn write_pair(dir: &Path, name: &str, pair: &Certificate) {
    fs::write(dir.join(format!("{name}.crt")), &pair.certificate).expect("the directory is ours");
    fs::write(dir.join(format!("{name}.key")), &pair.key).expect("the directory is ours");
}

fn until_connections(stage: &Stage, connections: f64) {
    eventually("connections have come and gone", || {
        stage.metric("tallygate_connections_accepted_total").is_some_and(|accepted| accepted >= connections)
    });
}

/// Sends requests to Envoy until `done` returns: every one must be let through. How many there were.
pub fn under_load(port: u16, done: impl FnOnce()) -> usize {
    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (failed, done) = thread::scope(|scope| {
        let client = || {
            let mut failed = Vec::new();
            while !over.load(Relaxed) && failed.len() < 10 {
                let answer = get("/").header("x-api-key", "acme").send(port);
                requests.fetch_add(1, Relaxed);
                if answer.status != 200 {
                    failed.push(answer);
                }
            }
            failed
        };
        let clients = [(); CLIENTS].map(|()| scope.spawn(client));
        // Whatever happens, the clients end.
        let done = panic::catch_unwind(AssertUnwindSafe(done));
        over.store(true, Relaxed);
        let failed = clients.map(|client| client.join().expect("a client does not panic"));
        (failed.into_iter().flatten().collect::<Vec<_>>(), done)
    });
    let requests = requests.into_inner();
    assert!(failed.is_empty(), "of {requests} requests {} failed: {:?}", failed.len(), failed[0]);
    done.unwrap_or_else(|panic| panic::resume_unwind(panic));
    requests
}
