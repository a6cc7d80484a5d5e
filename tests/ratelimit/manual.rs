//! `docs/migrating.md` says nothing that no test has seen.

use std::{fs, path::Path};

const MANUAL: &str = include_str!("../../docs/migrating.md");

/// All Rust below `directory`, one after the other.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: &Path| match (path.is_dir(), path.extension()) {
        (true, _) => sources(path),
        (false, Some(ending)) if ending == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    entries.map(|path| text(&path)).collect()
}

#[test]
fn every_difference_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&root.join("src")) + &sources(&root.join("tests"));
    let (_, differences) = MANUAL.split_once("\n## What is different on purpose\n").unwrap();
    let (differences, _) = differences.split_once("\n## Environment\n").unwrap();
    let rows = differences.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| there "));
    let mut count = 0;
    for row in rows {
        let test = row.trim_end_matches(" |").rsplit_once("| `").and_then(|(_, test)| test.strip_suffix('`'));
        let test = test.unwrap_or_else(|| panic!("no test at the end of: {row}"));
        assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}, for: {row}");
        count += 1;
    }
    assert!(count > 25, "{count} rows");
}
