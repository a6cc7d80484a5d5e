//! Where everything that is wrong is gathered, so that an author reads all of it at once.

use std::sync::Arc;

use super::{
    diagnostic::{Diagnostic, Severity},
    settings::Compat,
};
use crate::bounds::DIAGNOSTICS_MAX;

/// A place in one of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    /// Its number in the [`Report`].
    pub file: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// The diagnostics of one load.
#[derive(Debug, Default)]
pub(super) struct Report {
    compat: Compat,
    files: Vec<Arc<str>>,
    found: Vec<(Spot, Severity, String, Option<String>)>,
    /// What was found beyond [`DIAGNOSTICS_MAX`].
    uncounted: usize,
    failed: bool,
}

impl Report {
    pub(super) fn new(compat: Compat) -> Self {
        Self { compat, ..Self::default() }
    }

    /// Whether files are read as envoyproxy/ratelimit reads them.
    pub(super) fn forgives(&self) -> bool {
        self.compat == Compat::Ratelimit
    }

    /// What envoyproxy/ratelimit passes over: an error, but a warning in its place.
    pub(super) fn slip(&mut self, spot: Spot, message: impl Into<String>, help: impl Into<Option<String>>) {
        let severity = if self.forgives() { Severity::Warning } else { Severity::Error };
        self.add(spot, severity, message.into(), help.into());
    }

    /// The number by which [`Spot`]s name a file.
    pub(super) fn add_file(&mut self, name: Arc<str>) -> u32 {
        self.files.push(name);
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn file(&self, spot: Spot) -> Arc<str> {
        self.files.get(spot.file as usize).cloned().unwrap_or_default()
    }

    /// A place for use in a message about another one.
    pub(super) fn place(&self, spot: Spot) -> String {
        format!("{}:{}", self.file(spot), spot.line)
    }

    pub(super) fn error(&mut self, spot: Spot, message: impl Into<String>) {
        self.add(spot, Severity::Error, message.into(), None);
    }

    /// An error, and what was probably meant or what to do.
    pub(super) fn error_help(&mut self, spot: Spot, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.add(spot, Severity::Error, message.into(), help.into());
    }

    pub(super) fn warning(&mut self, spot: Spot, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.add(spot, Severity::Warning, message.into(), help.into());
    }

    /// How much has been said.
    pub(super) fn len(&self) -> usize {
        self.found.len() + self.uncounted
    }

    /// Whether there is an error among them.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// So much has been said that saying more precisely is no use.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= DIAGNOSTICS_MAX
    }

    fn add(&mut self, spot: Spot, severity: Severity, message: String, help: Option<String>) {
        let first_error = severity == Severity::Error && !self.failed;
        self.failed |= severity == Severity::Error;
        // A thousand warnings must not hide that the load fails.
        if self.is_full() && !first_error {
            self.uncounted += 1;
        } else {
            self.found.push((spot, severity, message, help));
        }
    }

    /// Everything that was found, in the order of files and lines; what aliases repeat is said once.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let mut ordered = std::mem::take(&mut self.found);
        ordered.sort();
        ordered.dedup();
        let last = ordered.last().map(|(spot, ..)| *spot);
        let mut diagnostics: Vec<_> = ordered
            .into_iter()
            .map(|(spot, severity, message, help)| self.diagnostic(spot, severity, message, help))
            .collect();
        if let Some(last) = last
            && self.uncounted > 0
        {
            let severity = if self.failed { Severity::Error } else { Severity::Warning };
            let message = format!("{} more errors and warnings are not shown", self.uncounted);
            diagnostics.push(self.diagnostic(last, severity, message, None));
        }
        diagnostics
    }

    fn diagnostic(&self, spot: Spot, severity: Severity, message: String, help: Option<String>) -> Diagnostic {
        Diagnostic { severity, file: self.file(spot), line: spot.line, column: spot.column, message, help }
    }
}
