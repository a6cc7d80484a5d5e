//! `tallygate check`: every error and warning of a set of rule files.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{
    config::{Compiled, DomainDefaults, RuleFile, compile, diagnostic::Severity},
    reload::directory,
};

pub(super) fn command() -> Command {
    Command::new("check").about("Check rule files: exit 0, or 1 with every error").arg(
        Arg::new("path")
            .value_name("PATH")
            .num_args(0..)
            .value_parser(value_parser!(PathBuf))
            .help("Rule files or directories, taken as one set [default: the setting `rules`]"),
    )
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::checked_settings(matches)?;
    let defaults = DomainDefaults::of(&settings);
    let paths: Vec<PathBuf> = match matches.get_many::<PathBuf>("path") {
        Some(paths) => paths.cloned().collect(),
        None => vec![settings.rules],
    };
    let mut files: Vec<RuleFile> = Vec::new();
    for path in paths {
        if let Some(reading) = directory::read_settled(&path, &[], std::time::Duration::ZERO)? {
            files.extend(reading.files);
        }
    }
    let result = compile(&files, defaults, &mut |path| directory::read_bounded(path));
    let (compiled, diagnostics) = match result {
        Ok(compiled) => (Some(compiled.summary()), compiled.warnings),
        Err(diagnostics) => (None, diagnostics),
    };
    for diagnostic in &diagnostics {
        let source = files.iter().find(|file| file.name == diagnostic.file);
        // What is none of the rule files is a list that one of them names.
        let text = match source {
            Some(file) => file.text.clone(),
            None => directory::read_bounded(Path::new(&*diagnostic.file)).unwrap_or_default(),
        };
        println!("{}", diagnostic.draw(&String::from_utf8_lossy(&text)));
    }
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let Some(summary) = compiled else {
        println!("{errors} error(s), {warnings} warning(s)");
        return Ok(ExitCode::FAILURE);
    };
    println!("ok: {} file(s), {summary}, {warnings} warning(s)", files.len());
    Ok(ExitCode::SUCCESS)
}

impl Compiled {
    fn summary(&self) -> String {
        let (rules, limits) = self.rules.given();
        format!("{} domain(s), {rules} rule(s), {limits} limit(s)", self.rules.domains.len())
    }
}
