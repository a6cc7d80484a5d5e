//! `tallygate check` for editors and CI: one JSON document, and an exit code.

use serde_json::{Value, json};

use super::harness::{Folder, command};

const GOOD: &str = "domain: a\ndescriptors:\n  - {key: k, limits: [5/minute, 100/day]}\n";
const WARNED: &str = "domain: b\ndescriptors:\n  - {key: k, exempt: true}\n";

/// What is printed, what is complained of, and the exit code.
fn run(folder: &Folder, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = command(folder).arg("check").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn json_of(folder: &Folder, arguments: &[&str]) -> (Value, Option<i32>) {
    let (stdout, stderr, code) = run(folder, &[&["--format", "json"], arguments].concat());
    assert_eq!(stderr, "", "{arguments:?}");
    (serde_json::from_str(&stdout).expect("one document of JSON"), code)
}

#[test]
fn rules_that_load_are_counted() {
    let folder = Folder::with(&[("good.yaml", GOOD)]);
    let expected = json!({
        "ok": true, "errors": 0, "warnings": 0, "files": ["good.yaml"],
        "domains": 1, "rules": 1, "limits": 2, "diagnostics": [],
    });
    assert_eq!(json_of(&folder, &["good.yaml"]), (expected, Some(0)));
}

#[test]
fn every_error_and_warning_has_its_place_and_nothing_is_counted() {
    let bad = "domain: a\ndescriptors:\n  - {key: k, limits: [5/minut]}\n  - {key: n, cidr_file: nets.txt}\n";
    let folder = Folder::with(&[("bad.yaml", bad), ("nets.txt", "10.0.0.0/8\n\"\u{1b}\n"), ("warned.yaml", WARNED)]);
    let (said, code) = json_of(&folder, &["bad.yaml", "warned.yaml"]);
    assert_eq!(code, Some(1));
    let expected = json!({
        "ok": false, "errors": 2, "warnings": 1, "files": ["bad.yaml", "warned.yaml"],
        "domains": null, "rules": null, "limits": null,
        "diagnostics": [
            {
                "severity": "error", "file": "bad.yaml", "line": 3, "column": 23,
                "message": "`minut` is no window", "help": "did you mean `minute`?",
            },
            {
                "severity": "error", "file": "nets.txt", "line": 2, "column": 1,
                "message": "`\" ` is no network", "help": "for example `10.0.0.0/8` or `2001:db8::/32`",
            },
            {
                "severity": "warning", "file": "warned.yaml", "line": 3, "column": 5,
                "message": "`exempt` without a matched address: clients may choose this value",
                "help": "exempt only what a client cannot choose: a network, by `cidr`",
            },
        ],
    });
    assert_eq!(said, expected, "{said:#}");
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let folder = Folder::with(&[("good.yaml", GOOD), ("warned.yaml", WARNED)]);
    let ok = |arguments: &[&str]| {
        let (said, code) = json_of(&folder, arguments);
        assert_eq!(said["warnings"], 1, "{said:#}");
        (said["ok"].as_bool(), code)
    };
    assert_eq!(ok(&["warned.yaml"]), (Some(true), Some(0)));
    assert_eq!(ok(&["--deny-warnings", "warned.yaml"]), (Some(false), Some(1)));
    let (stdout, _, code) = run(&folder, &["--deny-warnings", "warned.yaml"]);
    assert!(stdout.ends_with("\n1 warning(s), and none is allowed\n"), "{stdout}");
    assert_eq!(code, Some(1));
    assert_eq!(run(&folder, &["--deny-warnings", "good.yaml"]).2, Some(0));
}

#[test]
fn what_keeps_the_files_from_being_read_is_said_on_the_other_stream() {
    let folder = Folder::with(&[("good.yaml", GOOD)]);
    let (stdout, stderr, code) = run(&folder, &["--format", "json", "nowhere.yaml"]);
    assert_eq!((&*stdout, code), ("", Some(1)));
    assert!(stderr.starts_with("tallygate: nowhere.yaml: "), "{stderr}");
    let (_, stderr, code) = run(&folder, &["--format", "yaml", "good.yaml"]);
    assert!(stderr.contains("[possible values: text, json]"), "{stderr}");
    assert_eq!(code, Some(2));
}
