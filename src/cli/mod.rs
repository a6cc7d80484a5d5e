//! The command line: one file a command, one line in [`COMMANDS`] to register it.

pub mod blocks;
pub mod call;
pub mod check;
mod client;
pub mod compare;
pub mod explain;
mod orders;
pub mod overrides;
mod print;
pub mod reset;
pub mod schema;
pub mod serve;
mod service;
pub mod settings;
mod target;
pub mod top;
pub mod usage;

use std::{path::Path, process::ExitCode};

use clap::{Arg, ArgMatches, Command};

use crate::config::settings::{ALL, RawSettings, Settings};

/// One command.
struct Registered {
    command: fn() -> Command,
    run: fn(&ArgMatches) -> anyhow::Result<ExitCode>,
}

/// The table. The first is what runs without a command.
const COMMANDS: &[Registered] = &[
    Registered { command: serve::command, run: serve::run },
    Registered { command: check::command, run: check::run },
    Registered { command: schema::command, run: schema::run },
    Registered { command: explain::command, run: explain::run },
    Registered { command: call::command, run: call::run },
    Registered { command: usage::command, run: usage::run },
    Registered { command: top::command, run: top::run },
    Registered { command: reset::command, run: reset::run },
    Registered { command: overrides::command, run: overrides::run },
    Registered { command: blocks::command, run: blocks::run },
    Registered { command: compare::command, run: compare::run },
    Registered { command: settings::command, run: settings::run },
];

/// Parses the command line and carries it out.
///
/// # Errors
///
/// What the command could not do, for `main` to tell.
pub fn run() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    let Some((name, of_command)) = matches.subcommand() else { return (COMMANDS[0].run)(&matches) };
    match COMMANDS.iter().find(|registered| (registered.command)().get_name() == name) {
        Some(registered) => (registered.run)(of_command),
        None => anyhow::bail!("unknown command {name}"),
    }
}

fn command() -> Command {
    Command::new("tallygate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A rate-limit decision service for Envoy.\n\nWithout a command it serves.")
        .subcommands(COMMANDS.iter().map(|registered| (registered.command)()))
        .args(ALL.iter().map(|setting| {
            let mut help = setting.help.to_owned();
            if !setting.default.is_empty() {
                help = format!("{help} [default: {}]", setting.default);
            }
            Arg::new(setting.key)
                .long(setting.key.replace('_', "-"))
                .value_name(setting.value)
                .help(format!("{help} [env: {}]", setting.env.join(", ")))
                .global(true)
                .num_args(1)
                .help_heading("Settings")
        }))
}

/// The settings of flags, environment and file.
fn raw_settings(matches: &ArgMatches) -> anyhow::Result<RawSettings> {
    let flag = |key: &'static str| matches.get_one::<String>(key).cloned();
    let called = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    Ok(RawSettings::gather(&program, flag, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))?)
}

fn checked_settings(matches: &ArgMatches) -> anyhow::Result<Settings> {
    raw_settings(matches)?.check().map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("\n"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
