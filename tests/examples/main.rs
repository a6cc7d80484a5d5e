//! The published contracts in `examples/envoy/`: each README is replayed, command by command, against a real Envoy 1.40 and
//! has to come out as it stands there.

#![cfg(feature = "serve")]

#[path = "../envoy/client.rs"]
#[expect(dead_code, reason = "the tests of Envoy look closer at answers")]
mod client;
mod graphql;
#[path = "../envoy/process.rs"]
#[expect(dead_code, reason = "the tests of Envoy also end programs and read what they wrote")]
mod process;
#[path = "../envoy/programs.rs"]
mod programs;
mod replay;
#[path = "../common/redis/mod.rs"]
#[allow(dead_code, reason = "more than one test's servers")]
mod servers;
mod transcript;

use std::{collections::BTreeSet, fs, process::Command};

use replay::{examples, replay};

/// A test for each.
macro_rules! every_readme_comes_true {
    ($($name:ident),+) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),+];

        mod the_readme_comes_true_of {
            $(#[test] fn $name() { super::replay(stringify!($name)); })+
        }
    };
}

every_readme_comes_true!(claid, flash, hexagraph, hexsafe, prolifi);

#[test]
fn the_readmes_come_true_over_redis() {
    servers::run_again_over_redis(&["the_readme_comes_true_of"]);
}

#[test]
fn every_example_is_replayed() {
    let directories = fs::read_dir(examples()).expect("the examples are there");
    let found: BTreeSet<String> = directories
        .map(|entry| entry.expect("it can be listed"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a plain name"))
        .collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, replayed);
}

#[test]
fn every_examples_rules_load_without_a_warning() {
    for name in REPLAYED {
        let rules = examples().join(name).join("rules.yaml");
        let check = Command::new(env!("CARGO_BIN_EXE_tallygate")).arg("check").arg(&rules).output();
        let check = check.expect("the program runs");
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.status.success() && said.ends_with(" 0 warning(s)\n"), "{name}: {said}");
    }
}
