//! `tallygate serve`, which is also what runs without a command.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Context as _;
use clap::{ArgMatches, Command};
use tracing::{error, info, warn};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    config::settings::{Compat, LogFormat, Settings},
    huge_pages,
    store_address::StoreAddress,
    telemetry::log::Log,
};

pub(super) fn command() -> Command {
    Command::new("serve").about("Serve decisions (the default)")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    // First of all: nothing was done yet that would be done twice.
    huge_pages::hold_back();
    let settings = super::checked_settings(matches)?;
    let log = Log::default();
    log_to_stderr(&settings, log.clone())?;
    log_panics();
    if settings.compat == Compat::Ratelimit {
        let why = if settings.store == StoreAddress::Memory {
            ": they live in this process, for REDIS_URL is not set"
        } else {
            ""
        };
        info!(rules = %settings.rules.display(), "in the place of envoyproxy/ratelimit; counters: {}{why}", settings.store);
    }
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    crate::app::run(&settings, log)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error: standard output stays free for what commands print.
fn log_to_stderr(settings: &Settings, log: Log) -> anyhow::Result<()> {
    let level = settings.log_level.to_ascii_lowercase();
    let filter = |text: &str| {
        EnvFilter::try_new(text).with_context(|| format!("setting `log_level` is `{}`", settings.log_level))
    };
    let mut directives = filter(&level)?;
    if directives.max_level_hint() <= Some(LevelFilter::INFO) {
        // h2 warns of each connection that it closes for an attack: a line for every connect would fill the disk. Who wants
        // to know everything is told that too.
        directives = filter(&format!("h2=error,{level}"))?;
    }
    let terminal = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(directives).with_writer(move || log.line()).with_target(false);
    match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text | LogFormat::Auto => builder.with_ansi(terminal).init(),
    }
    Ok(())
}

/// A panic is a log line as any other, and says where it was. Not what it says: that may be a piece of a request.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let (place, thread) = (panic.location().map(ToString::to_string), std::thread::current());
        error!(place, thread = thread.name(), "panicked");
    }));
}
