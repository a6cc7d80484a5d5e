//! The unit for systemd, read by systemd.

use std::{fs, process::Command};

use crate::files::{is_flag, root, text};

const UNIT: &str = "deploy/systemd/tallygate.service";

/// What systemd calls exposure, in tenths: 100 is a service without any protection. It was 1.1 when this was written (the
/// network, its own sockets, and no directory of its own as root); another version of systemd may weigh things otherwise.
const EXPOSURE_MAX: &str = "15";

fn analyze(arguments: &[&str]) -> String {
    let said = Command::new("systemd-analyze").args(arguments).output();
    let said = said.unwrap_or_else(|error| panic!("systemd-analyze: {error}: `make test` installs Debian's systemd"));
    let text = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.status.success(), "systemd-analyze {arguments:?}:\n{text}");
    text
}

#[test]
fn systemd_takes_it() {
    let program = env!("CARGO_BIN_EXE_tallygate");
    let unit = text(UNIT).replace("/usr/local/bin/tallygate", program).replace("/bin/kill", program);
    let dir = tempfile::tempdir().expect("a directory for the test");
    let path = dir.path().join("tallygate.service");
    fs::write(&path, unit).expect("the directory is ours");
    let path = path.to_str().expect("a plain path");
    let said = analyze(&["verify", "--man=no", path]);
    // A key that it does not know is a remark to it; other units of this machine are none of our business.
    let remarks: Vec<&str> = said.lines().filter(|line| line.contains("tallygate.service")).collect();
    assert_eq!(remarks, [""; 0], "{said}");
}

#[test]
fn it_is_exposed_to_little() {
    let unit = root().join(UNIT);
    analyze(&["security", "--offline=true", "--threshold", EXPOSURE_MAX, unit.to_str().expect("a plain path")]);
}

#[test]
fn its_flags_are_settings_and_it_has_the_time_to_leave() {
    let unit = text(UNIT);
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a start");
    let flags: Vec<&str> = start.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(flags.len() >= 2 && flags.iter().all(|flag| is_flag(flag)), "{flags:?}");
    assert!(unit.contains("TimeoutStopSec=35s\n"), "drain_deadline and the last counters");
}
