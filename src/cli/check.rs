//! `tallygate check`: every error and warning of a set of rule files, drawn for people or as JSON for programs.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::print;
use crate::{
    config::{
        Compiled, Diagnostic, DomainDefaults, RuleFile, compile,
        diagnostic::Severity::{self, Error, Warning},
        settings::Settings,
    },
    reload::directory,
};

pub(super) fn command() -> Command {
    Command::new("check")
        .about("Check rule files: exit 0, or 1 with every error")
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Rule files or directories, taken as one set [default: the setting `rules`]"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(["text", "json"])
                .default_value("text")
                .help("`text` for people, `json` for editors and CI: one document"),
        )
        .arg(
            Arg::new("deny-warnings").long("deny-warnings").action(ArgAction::SetTrue).help("Exit 1 for warnings, too"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let settings = super::checked_settings(matches)?;
    let paths: Vec<PathBuf> = match matches.get_many::<PathBuf>("path") {
        Some(paths) => paths.cloned().collect(),
        None => vec![settings.rules.clone()],
    };
    let checked = Checked::of(&paths, &settings, matches.get_flag("deny-warnings"))?;
    if matches.get_one::<String>("format").is_some_and(|format| format == "json") {
        print::document(&checked.json())?;
    } else {
        print::out(&checked.drawn())?;
    }
    Ok(if checked.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of a set of files.
struct Checked {
    files: Vec<RuleFile>,
    diagnostics: Vec<Diagnostic>,
    /// Of rules that load.
    given: Option<Given>,
    deny_warnings: bool,
}

struct Given {
    domains: usize,
    rules: usize,
    limits: usize,
}

impl Checked {
    fn of(paths: &[PathBuf], settings: &Settings, deny_warnings: bool) -> Result<Self> {
        let files = directory::read_all(paths, settings.rule_files)?;
        let result = compile(&files, DomainDefaults::of(settings), &mut |path| directory::read_bounded(path));
        let (given, diagnostics) = match result {
            Ok(compiled) => (Some(Given::of(&compiled)), compiled.warnings),
            Err(diagnostics) => (None, diagnostics),
        };
        Ok(Self { files, diagnostics, given, deny_warnings })
    }

    fn ok(&self) -> bool {
        self.given.is_some() && !(self.deny_warnings && self.count(Warning) > 0)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Every diagnostic with its line, and the sum of them.
    fn drawn(&self) -> String {
        let mut drawn = String::new();
        for diagnostic in &self.diagnostics {
            drawn.push_str(&diagnostic.draw(&String::from_utf8_lossy(&self.text_of(&diagnostic.file))));
            drawn.push('\n');
        }
        let (errors, warnings, files) = (self.count(Error), self.count(Warning), self.files.len());
        drawn
            + &match &self.given {
                None => format!("{errors} error(s), {warnings} warning(s)\n"),
                Some(_) if !self.ok() => format!("{warnings} warning(s), and none is allowed\n"),
                Some(Given { domains, rules, limits }) => format!(
                    "ok: {files} file(s), {domains} domain(s), {rules} rule(s), {limits} limit(s), {warnings} warning(s)\n"
                ),
            }
    }

    /// The same for programs; `docs/check.md` explains it.
    fn json(&self) -> Value {
        json!({
            "ok": self.ok(),
            "errors": self.count(Error),
            "warnings": self.count(Warning),
            "files": self.files.iter().map(|file| &*file.name).collect::<Vec<_>>(),
            "domains": self.given.as_ref().map(|given| given.domains),
            "rules": self.given.as_ref().map(|given| given.rules),
            "limits": self.given.as_ref().map(|given| given.limits),
            "diagnostics": self.diagnostics.iter().map(Diagnostic::json).collect::<Vec<_>>(),
        })
    }

    fn text_of(&self, name: &str) -> Vec<u8> {
        match self.files.iter().find(|file| &*file.name == name) {
            Some(file) => file.text.clone(),
            // What is none of the rule files is a list that one of them names.
            None => directory::read_bounded(Path::new(name)).unwrap_or_default(),
        }
    }
}

impl Given {
    fn of(compiled: &Compiled) -> Self {
        let (rules, limits) = compiled.rules.given();
        Self { domains: compiled.rules.domains.len(), rules, limits }
    }
}
