//! Test programs that hold over both stores run twice: as they are, and with counters in Redis.

use std::{
    env,
    process::{Command, Stdio},
};

/// Says that this is the run over Redis, also to people who want one test of it:
/// `TALLYGATE_TEST_STORE=redis cargo test --test admin reset`.
const VARIABLE: &str = "TALLYGATE_TEST_STORE";

/// Whether services of this run count in Redis.
pub fn over_redis() -> bool {
    env::var(VARIABLE).is_ok_and(|store| store == "redis")
}

/// Runs the tests of this program whose names have one of these in them (or all) once more, over Redis; fails with what
/// failed there.
pub fn run_again_over_redis(tests: &[&str]) {
    if over_redis() {
        return;
    }
    let program = env::current_exe().expect("a program knows where it is");
    // Beside other tests and, at one a time, not for longer than they take.
    let again =
        Command::new(program).args(tests).arg("--test-threads=1").env(VARIABLE, "redis").stdin(Stdio::null()).output();
    let again = again.expect("it runs as it did before");
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "over Redis: {said}\n{}", String::from_utf8_lossy(&again.stderr));
    // Beside this one, which has nothing to do there.
    let passed: usize =
        said.split(" passed").next().and_then(|text| text.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(passed > 1, "nothing ran over Redis: {said}");
}
