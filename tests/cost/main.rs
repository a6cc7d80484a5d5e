//! The guard: no decision costs more than `figures.txt` says. `make cost` runs it.
//!
//! What it counts does not jitter: instructions, as `valgrind --tool=callgrind` counts them, and allocations. Both over
//! the fixed set of decisions in `benches/cases`, without their preparation.
//!
//! They are compared in builds of the profile `checked` (told by their assertions), which the tests need anyway. With
//! its assertions a decision takes more of them than in a release (21.7 thousand instead of 17.0 when this was written,
//! both without LTO), but what makes it dearer in one makes it so in the other, and minutes of compiling are saved. Any
//! other build only shows what it counted.

#![cfg(feature = "serve")]

#[path = "../../benches/cases/mod.rs"]
mod cases;

mod callgrind;
mod figures;

use std::{env, fs, hint::black_box, path::Path};

use allocation_counter::measure;
use bytes::Bytes;
use cases::{CASES, Size, Stage};
use figures::{Cost, Figures};

/// So many decisions tell as much as more would (what they cost varies by the digits in them), and are counted in
/// seconds. The rules are so many that looking at each would multiply the cost of a decision.
const SIZE: Size = Size { clients: 1_000, rules: 10_000 };
const DECISIONS: u64 = SIZE.clients as u64;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cost/figures.txt");

#[test]
fn no_decision_costs_more_than_is_written() {
    let mut found = allocations();
    let profiles = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cost");
    let counted = callgrind::instructions("every_case_is_answered_as_it_says", "cost::decide_all", &profiles);
    for (cost, instructions) in found.0.values_mut().zip(counted) {
        cost.instructions = instructions / DECISIONS;
    }
    println!("{found}\nprofiles for callgrind_annotate: {}", profiles.display());

    let text = fs::read_to_string(FIGURES).expect("tests/cost/figures.txt is readable");
    if !cfg!(all(debug_assertions, target_arch = "x86_64")) {
        println!("not compared: {FIGURES} is about the profile `checked` on x86-64");
    } else if env::var_os("TALLYGATE_COST_WRITE").is_some() {
        fs::write(FIGURES, figures::written(&text, &found)).expect("tests/cost/figures.txt is writable");
    } else {
        let expected = Figures::parse(&text).unwrap_or_else(|error| panic!("{FIGURES}: {error}"));
        let complaints = expected.complaints(&found);
        assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    }
}

/// What valgrind looks at, and a test of its own: figures of wrong answers would mean nothing.
#[test]
fn every_case_is_answered_as_it_says() {
    let stage = Stage::set(SIZE);
    for case in CASES {
        decide_all(&stage, &stage.messages(case));
    }
}

fn allocations() -> Figures {
    let stage = Stage::set(SIZE);
    let cost = |case| {
        let messages = stage.messages(case);
        let counted = measure(|| decide_all(&stage, &messages));
        Cost { instructions: 0, allocations: counted.count_total, bytes: counted.bytes_total }
    };
    Figures(CASES.iter().enumerate().map(|(place, case)| ((place, case.name.to_owned()), cost(case))).collect())
}

/// Only what happens in here is counted.
#[inline(never)]
fn decide_all(stage: &Stage, messages: &[Bytes]) {
    for message in messages {
        black_box(stage.decide(message.clone()));
    }
}
