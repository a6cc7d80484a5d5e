//! `tallygate compare` between two services that run.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "envoy/client.rs"]
#[allow(dead_code, reason = "shared with the tests behind Envoy")]
mod client;
#[path = "service/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the service")]
mod harness;

use std::process::Output;

use harness::{Folder, Service, command};
use serde_json::Value;

/// Windows that do not end while a test runs.
const RULES: &str = "domain: shop
descriptors:
  - key: api_key
    limits: [5/3650d]
    descriptors: [{key: path, path: '/v1/{id}', limits: [3/3650d]}]
  - {key: plan, value: gold*, limits: [7/3650d]}
";

fn serve(rules: &str) -> (Folder, Service) {
    let folder = Folder::with(&[("shop.yaml", rules)]);
    let service = Service::start(&folder, &[]);
    service.until_ready();
    (folder, service)
}

fn compare(folder: &Folder, ours: &Service, theirs: &Service, arguments: &[&str]) -> Output {
    let [ours, theirs] = [ours, theirs].map(Service::grpc_address);
    command(folder).args(["compare", "--with", &ours, "--against", &theirs]).args(arguments).output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[test]
fn services_with_the_same_rules_answer_alike_whatever_they_are_asked() {
    let (folder, ours) = serve(RULES);
    let (_other, theirs) = serve(RULES);
    let done = compare(&folder, &ours, &theirs, &["--count", "600"]);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains(": 600 alike, 0 differ, 0 of them"), "{}", text(&done.stdout));
    // Limits were met.
    assert_ne!(ours.decided(r#"domain="shop",rule="api_key",limit="3650d",outcome="refused""#), 0);
}

#[test]
fn every_difference_is_told_with_the_request_that_showed_it() {
    let (folder, ours) = serve(RULES);
    let (_other, theirs) = serve(&RULES.replace("5/3650d", "4/3650d"));
    folder.write(
        "requests.jsonl",
        "{\"domain\": \"shop\", \"descriptors\": [{\"entries\": [{\"key\": \"api_key\", \"value\": \"acme\"}]}], \"hits_addend\": 5}\n\
         \n\
         {\"domain\": \"shop\", \"descriptors\": [{\"entries\": [{\"key\": \"plan\", \"value\": \"gold-1\"}]}]}\n",
    );
    let file = folder.path("requests.jsonl");
    let requests = ["--requests", file.to_str().unwrap()];
    let only = compare(&folder, &ours, &theirs, &[&requests[..], &["--only", "code,limit"]].concat());
    assert_eq!(only.status.code(), Some(1), "{}", text(&only.stderr));
    let told = text(&only.stdout);
    for line in [
        "request 1: {\"domain\":\"shop\",\"descriptors\":[{\"entries\":[{\"key\":\"api_key\",\"value\":\"acme\"}]}],\"hits_addend\":5}\n",
        "  code: OK here, OVER_LIMIT there\n",
        "  code: 1\n",
        "  limit: 1\n",
        ": 1 alike, 1 differ, 0 of them at the end of a window\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("remaining"), "{told}");

    let all = compare(&folder, &ours, &theirs, &[&requests[..], &["--json", "--ignore", "code"]].concat());
    let report: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!((&report["requests"], &report["differ"]), (&2.into(), &1.into()), "{report}");
    let fields: Vec<&str> = report["by_field"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.contains(&"limit") && fields.contains(&"metadata") && !fields.contains(&"code"), "{fields:?}");
    assert_eq!(report["shown"][0]["request"]["domain"], "shop");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let (folder, ours) = serve(RULES);
    let gone = {
        let (_folder, gone) = serve(RULES);
        gone.grpc_address()
    };
    folder.write("bad.jsonl", "{\"domain\": \"shop\"}\n{\"domain\": 1}\n");
    let (ours_at, bad) = (ours.grpc_address(), folder.path("bad.jsonl"));
    let bad = bad.to_str().unwrap();
    for (arguments, told) in [
        (vec!["--against", gone.as_str()], format!("cannot reach the service at {gone}: Connection refused")),
        (
            vec!["--against", &ours_at, "--only", "cod"],
            "there is no field `cod` to compare; did you mean `code`?".into(),
        ),
        (vec!["--against", &ours_at, "--requests", bad], format!("{bad}:2: invalid type: integer `1`")),
        (vec!["--against", &ours_at, "--requests", "/nowhere"], "cannot read the requests in /nowhere".into()),
    ] {
        let done = command(&folder).args(["compare", "--with", &ours_at]).args(&arguments).output().unwrap();
        let said = text(&done.stderr);
        assert!(said.contains(&told), "{arguments:?}: {said}");
        assert!(!done.status.success());
    }
}
