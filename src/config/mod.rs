//! Settings, and rule files: YAML → raw → checked → compiled. The only module that knows YAML.
//!
//! | step | files |
//! |---|---|
//! | YAML: a tree with places | `yaml` |
//! | raw: maps with known keys | `shape`, `fields`; for editors `schema` |
//! | checked: one file a story | `document`, `rule`, `matching`, `limits`, `rate`, `on_exceed`, `response`, `metadata`, `usage` |
//! | put together | `merge`, `extends` |
//! | what another service forgives | `ratelimit` |
//! | compiled | `build`, `labels`; `warnings`, `pointless`, `unreachable`; for the admin API `override_limits` |

mod build;
mod capacity;
pub mod diagnostic;
mod document;
mod extends;
mod fields;
mod labels;
mod limits;
mod matching;
mod merge;
mod metadata;
mod on_exceed;
mod override_limits;
mod pointless;
mod rate;
mod ratelimit;
mod report;
mod response;
mod rule;
pub mod schema;
pub mod settings;
mod shape;
mod suggest;
pub mod unchecked;
mod unreachable;
mod usage;
mod warnings;
mod yaml;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use diagnostic::Diagnostic;
use document::Domains;
use extends::Unread;
use matching::Lists;
pub use override_limits::{duration, override_limits};
use report::{Report, Spot};
use response::Looks;
use rule::{Draft, Reading};
use settings::{Compat, Settings};
use shape::Shape;

use crate::{
    bounds::{RULE_FILE_MAX_BYTES, RULE_FILES_MAX},
    render::{Response, headers::HeaderNames, usage_page::UsagePages},
    rules::Rules,
    telemetry::compat::label::RuleLabels,
};

/// Every kind of map in a rule file, so that a key in the wrong one can be sent to the right one.
const SHAPES: [&Shape; 11] = [
    &document::DOCUMENT,
    &rule::RULE,
    &limits::LIMIT,
    &limits::RATE_LIMIT,
    &limits::REPLACES,
    &on_exceed::ON_EXCEED,
    &response::RESPONSE,
    &response::HEADER,
    &response::BODY,
    &usage::USAGE,
    &usage::ENTRY,
];

/// One rule file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// As errors name it.
    pub name: Arc<str>,
    /// Where it lies: lists (`values_file`, `cidr_file`) are found relative to it.
    pub path: PathBuf,
    pub text: Vec<u8>,
}

/// What the settings say about every domain.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own that people turn")]
pub struct DomainDefaults {
    pub count_denied: bool,
    /// Whose slips are forgiven, as it forgives them.
    pub compat: Compat,
    /// Several files may add to one domain.
    pub merge_domains: bool,
    pub shadow_mode: bool,
    pub quota_mode: bool,
    pub request_metadata: bool,
    /// The profile of what names none.
    pub headers: String,
    /// Of the profile `envoyproxy`, wherever it is named.
    pub header_names: Arc<HeaderNames>,
    /// Usage pages can be read from beyond this machine, and whoever asks names whom he likes.
    pub open_usage_pages: bool,
    /// The largest number that the store counts exactly; None: all of them.
    pub count_max: Option<u64>,
    /// Whether rules are to have labels of metrics by the names of envoyproxy/ratelimit.
    pub compat_metrics: bool,
}

impl DomainDefaults {
    pub fn of(settings: &Settings) -> Self {
        let open_usage_pages = settings.usage_secret_file.is_none() && !settings.http_is_local();
        Self {
            count_denied: settings.count_denied,
            compat: settings.compat,
            merge_domains: settings.merge_domains,
            shadow_mode: settings.shadow_mode,
            quota_mode: settings.quota_mode,
            request_metadata: settings.request_metadata,
            headers: settings.headers.clone(),
            header_names: Arc::new(settings.header_names.clone()),
            open_usage_pages,
            count_max: settings.store.count_max(),
            compat_metrics: settings.compat_metrics,
        }
    }
}

/// Those of the settings where nobody says anything.
impl Default for DomainDefaults {
    fn default() -> Self {
        Self {
            count_denied: false,
            compat: Compat::None,
            merge_domains: true,
            shadow_mode: false,
            quota_mode: false,
            request_metadata: false,
            headers: "none".to_owned(),
            header_names: Arc::default(),
            open_usage_pages: false,
            count_max: None,
            compat_metrics: false,
        }
    }
}

/// A whole set of files, compiled.
#[derive(Debug, Default)]
pub struct Compiled {
    pub rules: Rules,
    /// What [`Rule::response`](crate::rules::Rule::response) points into.
    pub responses: Vec<Response>,
    pub usage_pages: UsagePages,
    /// By [`Rule::id`](crate::rules::Rule::id); empty unless [asked for](DomainDefaults::compat_metrics).
    pub labels: Vec<RuleLabels>,
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
    let mut report = Report::new(defaults.compat);
    let mut looks = Looks::new(Arc::clone(&defaults.header_names));
    let mut drafts: Vec<Draft> = Vec::new();
    let mut unread = Unread::default();
    let mut domains = Domains::new(defaults.merge_domains);
    let mut count = 0;
    for (index, file) in files.iter().enumerate() {
        let number = report.add_file(Arc::clone(&file.name));
        if let Err(message) = fits(index, file) {
            report.error(Spot { file: number, line: 1, column: 1 }, message);
            continue;
        }
        let said = report.len();
        let documents = yaml::documents(number, &file.text, &mut report);
        unread.whole_parts |= report.len() > said;
        // Also what an editor or a full disk leaves of a file: without this it would lift every limit in it.
        if documents.is_empty() && report.len() == said {
            let help = "begin with `domain: shop`, or delete the file".to_owned();
            report.error_help(Spot { file: number, line: 1, column: 1 }, "the file is empty", help);
        }
        for document in documents {
            let lists = Lists { read: &mut *read_list, beside: &file.path, beside_name: Path::new(&*file.name) };
            let (drafts, looks, unread) = (&mut drafts, &mut looks, &mut unread);
            let mut reading = Reading { drafts, looks, lists, unread, count: &mut count };
            domains.read(&document, &mut reading, &mut report);
        }
    }
    for domain in &mut domains.list {
        merge::equal_parents(&mut domain.children, &mut drafts);
        extends::resolve(&domain.children, &mut drafts, &unread, &mut report);
    }
    let open_usage_pages = defaults.open_usage_pages;
    let mut build = build::Build::new(&drafts, &mut looks, &mut report, defaults);
    for domain in &domains.list {
        build.domain(domain);
    }
    let (rules, labels) = (build.rules, build.labels);
    let usage_pages = usage::pages(&mut domains.list, &drafts, open_usage_pages, &mut report);
    if report.failed() {
        return Err(report.finish());
    }
    Ok(Compiled { rules, responses: looks.compiled, usage_pages, labels, warnings: report.finish() })
}

fn fits(index: usize, file: &RuleFile) -> Result<(), String> {
    if index >= RULE_FILES_MAX {
        return Err(format!("there are more than {RULE_FILES_MAX} rule files"));
    }
    if file.text.len() as u64 > RULE_FILE_MAX_BYTES {
        return Err(format!("the file has more than {RULE_FILE_MAX_BYTES} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
