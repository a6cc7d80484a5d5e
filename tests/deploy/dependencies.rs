//! The table of dependencies against Cargo.toml.

use std::{collections::BTreeSet, env, process::Command};

use serde_json::Value;

use crate::files::{list, root, text, word};

/// What Cargo.toml names, of all kinds.
fn named() -> BTreeSet<String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--offline", "--no-deps", "--format-version", "1"]).current_dir(root());
    let said = cargo.output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let package = list(&metadata, "/packages").iter().find(|package| package["name"] == "tallygate");
    list(package.expect("this package"), "/dependencies").iter().map(|of| word(of, "/name").to_owned()).collect()
}

/// The first cells of the page's tables, each in backquotes.
fn explained() -> Vec<String> {
    let page = text("docs/dependencies.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn every_dependency_has_its_row_and_every_row_its_dependency() {
    let explained = explained();
    let rows: BTreeSet<String> = explained.iter().cloned().collect();
    assert_eq!(rows.len(), explained.len(), "no dependency has two rows");
    assert_eq!(rows, named(), "docs/dependencies.md (left) and Cargo.toml (right)");
}

#[test]
fn every_row_says_what_for_why_and_what_it_may_do() {
    for line in text("docs/dependencies.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{line}");
    }
}
