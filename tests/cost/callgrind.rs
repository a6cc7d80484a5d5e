//! Instructions, counted by valgrind.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cases::CASES;

/// Runs one test of this program under valgrind: the instructions of each call of `function`, which is called once a case.
///
/// Leaves a profile of each in `profiles`.
pub fn instructions(test: &str, function: &str, profiles: &Path) -> Vec<u64> {
    // A profile of an earlier run must not be taken for one of this.
    match fs::remove_dir_all(profiles) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", profiles.display()),
        _ => fs::create_dir_all(profiles).expect("the folder of profiles can be made"),
    }
    let part = profiles.join("part");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--dump-after={function}"))
        .arg(format!("--callgrind-out-file={}", part.display()))
        .arg(env::current_exe().expect("this program has a path"))
        .args(["--exact", test, "--test-threads=1"])
        .output();
    let run = match run {
        Err(error) if error.kind() == io::ErrorKind::NotFound => panic!("valgrind is needed: apt-get install valgrind"),
        run => run.expect("valgrind can be started"),
    };
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));

    let count = |(number, name)| {
        let from = PathBuf::from(format!("{}.{number}", part.display()));
        let profile = profiles.join(str::replace(name, " ", "-"));
        fs::rename(&from, &profile).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        let lines = fs::read_to_string(&profile).expect("a profile is readable");
        let summary = lines.lines().find_map(|line| line.strip_prefix("summary: ")?.parse().ok());
        let summary: u64 = summary.unwrap_or_else(|| panic!("{}: no summary", profile.display()));
        assert!(summary > 0, "{}: `{function}` was not seen", profile.display());
        summary
    };
    let counts = (1..).zip(CASES.iter().map(|case| case.name)).map(count).collect();
    // What came after the last call: nothing.
    fs::remove_file(&part).expect("valgrind leaves a last part");
    counts
}
