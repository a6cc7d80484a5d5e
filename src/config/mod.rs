//! Settings, and rule files: YAML → raw → checked → compiled. The only module that knows YAML.

pub mod diagnostic;
mod report;
mod suggest;
mod yaml;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use diagnostic::Diagnostic;

use crate::{render::Response, rules::Rules};

/// One rule file as it was read.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// As errors name it.
    pub name: Arc<str>,
    /// Where it lies: lists (`values_file`, `cidr_file`) are found relative to it.
    pub path: PathBuf,
    pub text: Vec<u8>,
}

/// What the settings say about every domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct DomainDefaults {
    pub count_denied: bool,
}

/// A whole set of files, compiled.
#[derive(Debug, Default)]
pub struct Compiled {
    pub rules: Rules,
    /// What [`Rule::response`](crate::rules::Rule::response) points into.
    pub responses: Vec<Response>,
    pub warnings: Vec<Diagnostic>,
}

/// Compiles `files`, which are in byte order of their names.
///
/// `read_list` reads a `values_file` or `cidr_file`; whoever calls remembers what was asked for, to watch it.
///
/// # Errors
///
/// Every error of every file at once, in the order of files and lines, with the warnings among them.
pub fn compile(
    files: &[RuleFile],
    defaults: DomainDefaults,
    read_list: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Compiled, Vec<Diagnostic>> {
    let _ = (files, defaults, read_list);
    todo!("compile")
}
