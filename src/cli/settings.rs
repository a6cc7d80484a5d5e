//! `tallygate settings`: every setting, and where its value comes from.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::print;
use crate::config::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("settings").about("Print every setting and where its value comes from, then check them")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (raw, checked) = (super::raw_settings(matches)?, super::checked_settings(matches));
    let mut text = String::new();
    for (key, value, source) in raw.rows() {
        let value = checked.as_ref().ok().and_then(|settings| found(key, &value, settings)).unwrap_or(value.into());
        text.push_str(format!("{key:<25} {value:<30} {source}").trim_end());
        text.push('\n');
    }
    print::out(&text)?;
    let warnings = checked?.warnings;
    print::out(&warnings.iter().flat_map(|warning| ["warning: ", warning, "\n"]).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// A value that leaves the choice to us, with what this machine makes of it.
fn found(key: &str, value: &str, settings: &Settings) -> Option<String> {
    match (key, value) {
        ("max_counters", "auto") => Some(format!("auto: {}", settings.max_counters)),
        ("cores", "0") => Some(format!("0: {}", settings.cores)),
        _ => None,
    }
}
