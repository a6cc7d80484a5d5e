//! `tallygate serve`, which is also what runs without a command.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Context as _;
use clap::{ArgMatches, Command};
use tracing::warn;
use tracing_subscriber::EnvFilter;

use crate::config::settings::{LogFormat, Settings};

pub(super) fn command() -> Command {
    Command::new("serve").about("Serve decisions (the default)")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::checked_settings(matches)?;
    log_to_stderr(&settings)?;
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    crate::app::run(&settings)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error: standard output stays free for what commands print.
fn log_to_stderr(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(settings.log_level.to_ascii_lowercase())
        .with_context(|| format!("setting `log_level` is `{}`", settings.log_level))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text | LogFormat::Auto => builder.with_ansi(terminal).init(),
    }
    Ok(())
}
