//! Reading what is in the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tallygate::config::{settings, unchecked};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file.
pub fn documents(path: &str) -> Vec<Value> {
    unchecked::documents(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The only document of a YAML file.
pub fn document(path: &str) -> Value {
    let mut documents = documents(path);
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// The one of these that is such an object.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "several objects are a {kind}");
    object
}

/// All files below a directory of the repository, by their paths in it.
pub fn below(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("a directory") {
            let path = directory.join(entry.expect("an entry").file_name());
            if root().join(&path).is_dir() {
                open.push(path);
            } else {
                found.push(path.to_str().expect("names are plain").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The list at a JSON pointer.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no list at {pointer} of {value}"))
}

/// The text at a JSON pointer.
pub fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// The setting behind `--some-name`.
pub fn is_flag(flag: &str) -> bool {
    let key = flag.strip_prefix("--").unwrap_or_default().replace('-', "_");
    settings::ALL.iter().any(|setting| setting.key == key)
}

#[test]
fn every_yaml_file_can_be_read() {
    let mut read = 0;
    for path in below("deploy") {
        // Templates are none until Helm has filled them in, and what Prometheus reads promtool looks at (tests/watch): one has
        // more aliases than a rule file may.
        let of_others = path.contains("/templates/") || path.starts_with("deploy/prometheus/");
        if Path::new(&path).extension().is_some_and(|ending| ending == "yaml") && !of_others {
            assert!(!documents(&path).is_empty(), "{path}");
            read += 1;
        }
    }
    assert!(read >= 10, "only {read} files were found");
}

#[test]
fn what_the_manual_links_to_is_there() {
    let mut links = 0;
    for page in ["docs/deploy.md", "docs/dependencies.md", "SECURITY.md"] {
        let text = text(page);
        let directory = Path::new(page).parent().expect("a file stands in a directory");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.starts_with("http") {
                assert!(root().join(directory).join(link).exists(), "{page}: {link}");
                links += 1;
            }
        }
    }
    assert!(links >= 10, "only {links} links were found");
}
