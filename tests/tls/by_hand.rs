//! `tallygate call` and `compare` where the service speaks TLS: as Envoy would come, and told what is wrong where that
//! would not come in.

use crate::{DEMANDING, NAME, folder, harness::command, harness::servers::Authority, serve};

#[test]
fn a_service_is_asked_by_hand_over_tls_and_what_keeps_us_out_is_said() {
    let (house, clients) = (Authority::new("house"), Authority::new("clients"));
    let (folder, mine) = (folder(&house.certify(&[NAME]), &clients), clients.certify(&["ops.mesh"]));
    for (name, text) in [("house", &house.pem()), ("mine.crt", &mine.certificate), ("mine.key", &mine.key)] {
        folder.write(name, text);
    }
    let service = serve(&folder, DEMANDING);
    let plain = service.grpc_address();
    let by_tls = format!("https://{plain}");
    let run = |arguments: &[&[&str]]| {
        let output = command(&folder).args(arguments.concat()).output().unwrap();
        let [told, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), told, error)
    };
    let call: &[&str] = &["call", "shop", "k=v"];
    let trusted: &[&str] = &["--tls-ca-file", "house"];
    let named: &[&str] = &["--tls-name", NAME];
    let shown: &[&str] = &["--tls-cert-file", "mine.crt", "--tls-key-file", "mine.key"];

    let (worked, told, error) = run(&[call, &["--at", &by_tls], trusted, named, shown]);
    assert!(worked && told.contains("OK"), "{told}{error}");
    // Who has the service's settings need not say where it is, nor that it speaks TLS.
    let settings = ["--grpc", &plain, "--grpc-tls-cert-file", "cert", "--grpc-tls-key-file", "key"];
    let (worked, told, error) = run(&[call, &settings, trusted, named, shown]);
    assert!(worked && told.contains("OK"), "{told}{error}");
    let both: &[&str] = &["compare", "--with", &by_tls, "--against", &by_tls, "--only", "code", "--count", "20"];
    let (worked, told, error) = run(&[both, trusted, named, shown]);
    assert!(worked, "{told}{error}");

    let unreachable = format!("cannot reach the service at {by_tls}: ");
    for (arguments, said, why) in [
        (&[call, &["--at", &by_tls], trusted, named][..], &*unreachable, "; if it wants a certificate, show one"),
        (&[call, &["--at", &by_tls], trusted, shown], &unreachable, "not valid for name \"127.0.0.1\""),
        (&[call, &["--at", &by_tls, "--tls-ca-file", "ca"], named, shown], &unreachable, "UnknownIssuer"),
        (&[call, &["--at", &by_tls, "--tls-ca-file", "none"]], "none: ", "No such file"),
        (&[call, &["--at", &by_tls, "--tls-ca-file", "house", "--tls-name", "a b"]], "`a b` is no name", ""),
        (&[call, &["--at", &by_tls], &shown[..2]], "--tls-key-file <FILE>", "required"),
        (&[call, &["--at", "https://unix:/x"], trusted], "nobody speaks TLS on a Unix socket", ""),
        (&[call, &["--at", &plain], trusted], "`--tls-…` is for https://HOST:PORT, and not for ", &plain),
        (&[call, &["--at", &plain]], "cannot reach the service at ", &plain),
    ] {
        let (worked, told, error) = run(arguments);
        assert!(!worked && error.contains(said) && error.contains(why), "{arguments:?}: {told}{error}");
    }
}
