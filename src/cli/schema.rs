//! `tallygate schema`: the rule language as a JSON Schema, for editors.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::print;
use crate::config::schema::schema;

pub(super) fn command() -> Command {
    Command::new("schema").about("Print the JSON Schema of rule files, by which editors complete and check them")
}

pub(super) fn run(_: &ArgMatches) -> anyhow::Result<ExitCode> {
    print::document(&schema())?;
    Ok(ExitCode::SUCCESS)
}
