//! `tallygate settings`: every setting, and where its value comes from.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

pub(super) fn command() -> Command {
    Command::new("settings").about("Print every setting and where its value comes from, then check them")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    for (key, value, source) in super::raw_settings(matches)?.rows() {
        println!("{key:<16} {value:<30} {source}");
    }
    super::checked_settings(matches)?;
    Ok(ExitCode::SUCCESS)
}
