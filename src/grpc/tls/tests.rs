//! What goes live of files that change, and what does not.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A certificate and its key in PEM, until the first day of a year.
fn pair(year: i32) -> [String; 2] {
    let mut params = CertificateParams::new(["tallygate".into()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
}

fn files(folder: &Path, [certificate, key]: &[String; 2]) -> GrpcTls {
    let files = GrpcTls { certificate: folder.join("cert"), key: folder.join("key"), clients: None };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    files
}

#[test]
fn what_changed_goes_live_when_it_is_seen_twice_and_what_will_not_do_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (pair(2100), pair(2200));
    let (tls, shown) = Tls::read(files(folder.path(), &first)).unwrap();
    assert_eq!(shown.expires_secs, 4_102_444_800);
    let of_first = tls.live();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let look = || match tls.look() {
        Looked::Same => "same",
        Looked::Live(_) => "live",
        Looked::Refused(_) => "refused",
    };
    let [certificate, key] = &second;
    // What is written before each look, and what that leads to.
    for (file, text, led_to) in [
        ("key", &*first[1], "same"),
        ("cert", certificate, "same"),
        ("cert", &first[0], "same"),
        ("cert", certificate, "same"),
        ("cert", certificate, "refused"),
        ("cert", certificate, "same"),
        ("key", &key[..40], "same"),
        ("key", key, "same"),
    ] {
        write(file, text);
        assert_eq!((look(), Arc::ptr_eq(&tls.live(), &of_first)), (led_to, true), "{file}");
    }
    assert_eq!((look(), Arc::ptr_eq(&tls.live(), &of_first)), ("live", false));
    assert_eq!([look(), look()], ["same", "same"]);

    fs::remove_file(folder.path().join("key")).unwrap();
    assert_eq!([look(), look(), look()], ["same", "refused", "same"]);
    write("key", key);
    assert_eq!([look(), look(), look()], ["same", "live", "same"], "as before, and told again");
}

#[test]
fn the_first_of_a_chain_to_expire_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = pair(2100);
    for (years, expires_secs) in [([2200, 2300], 4_102_444_800), ([2050, 2300], 2_524_608_000)] {
        let chain = years.map(|year| pair(year)[0].clone()).concat();
        let files = files(folder.path(), &[format!("{certificate}{chain}"), key.clone()]);
        assert_eq!(Tls::read(files).unwrap().1, Shown { expires_secs }, "{years:?}");
    }
    assert!(expiry(&CertificateDer::from(&b"0\x03abc"[..])).is_err());
}
