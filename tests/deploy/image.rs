//! The Dockerfile, as far as it can be read without a Docker engine.

use std::{collections::BTreeSet, env, fs, process::Command};

use tallygate::config::settings;

use crate::files::{root, text};

/// The instructions of the Dockerfile, each on one line, without remarks.
fn instructions() -> Vec<String> {
    let text = text("deploy/Dockerfile");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let joined = lines.map(|line| line.strip_suffix('\\').map_or_else(|| format!("{line}\n"), str::to_owned));
    joined.collect::<String>().lines().map(str::to_owned).collect()
}

/// What follows this word, of each instruction that begins with it.
fn arguments(instruction: &str) -> Vec<String> {
    let begins = format!("{instruction} ");
    instructions().iter().filter_map(|line| line.strip_prefix(&begins)).map(|rest| rest.trim().to_owned()).collect()
}

/// What is copied into the first stage from the repository.
fn copied() -> BTreeSet<String> {
    let copies = arguments("COPY").into_iter().filter(|copy| !copy.starts_with("--from"));
    let sources = copies.flat_map(|copy| {
        let mut words: Vec<String> = copy.split_whitespace().map(str::to_owned).collect();
        words.pop();
        words
    });
    sources.collect()
}

#[test]
fn it_copies_what_is_sent_to_it_and_all_of_that_exists() {
    let copied = copied();
    for source in &copied {
        assert!(root().join(source).exists(), "{source}");
    }
    let ignore = text(".dockerignore");
    let sent: BTreeSet<String> = ignore.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(sent, copied, "what .dockerignore lets through is what the Dockerfile copies");
    assert!(ignore.lines().any(|line| line == "*"), ".dockerignore begins with leaving everything out");
}

#[test]
fn what_it_copies_is_enough_for_cargo() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    for source in copied() {
        let from = root().join(&source);
        let to = dir.path().join(&source);
        fs::create_dir_all(to.parent().expect("it stands in the directory")).expect("the directory is ours");
        if from.is_dir() {
            // Cargo wants to know what is there, not what stands in it.
            fs::create_dir_all(&to).expect("the directory is ours");
            for name in ["main.rs", "lib.rs"].into_iter().filter(|name| from.join(name).exists()) {
                fs::copy(from.join(name), to.join(name)).expect("a copy");
            }
        } else {
            fs::copy(from, to).expect("a copy");
        }
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--offline", "--no-deps", "--format-version", "1"]).current_dir(dir.path());
    let said = cargo.output().expect("cargo runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn it_builds_this_program_with_the_compiler_that_it_asks_for() {
    let manifest = text("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a rust-version");
    let stages = arguments("FROM");
    assert!(stages[0].starts_with(&format!("rust:{}-", version.trim_matches('"'))), "{stages:?}");
    assert_eq!(stages.last().map(String::as_str), Some("scratch"));

    let built = arguments("RUN").concat();
    assert!(built.contains("cargo build --locked --release --bin tallygate --target"), "{built}");
    assert!(!built.contains("test-clock"), "whoever can reach a test clock says what time it is");
    assert!(built.contains("target-feature=+crt-static"), "there is no libc in an empty image");
}

#[test]
fn it_runs_as_nobody_and_says_nothing_that_a_setting_would_be_overridden_by() {
    let users = arguments("USER");
    let user = users.last().expect("a user");
    assert!(user.split(':').all(|id| id.parse().is_ok_and(|id: u32| id > 0)), "`{user}` is not two numbers");
    let built = arguments("RUN").concat();
    for entry in arguments("ENTRYPOINT") {
        let program = entry.trim_matches(['[', ']', '"']);
        assert!(built.contains(&format!("/image{program}")), "{program} is put nowhere");
    }
    // In the compatibility mode our own variables beat the old service's: one in the image would beat them all.
    assert!(arguments("ENV").is_empty(), "{:?}", arguments("ENV"));

    let ports = ["grpc", "http"].map(|key| {
        let setting = settings::ALL.iter().find(|setting| setting.key == key).expect("a setting");
        setting.default.rsplit(':').next().expect("a port")
    });
    assert_eq!(arguments("EXPOSE"), [ports.join(" ")]);
}
