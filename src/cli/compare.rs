//! `tallygate compare`: the same requests to two services, and every difference.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::{print, service};
use crate::{
    compare::{
        Sides,
        difference::{Compared, FIELDS, compare},
        generated::Generator,
        recorded,
    },
    config::settings::RuleFiles,
    grpc::proto::RateLimitRequest,
    reload::directory,
    spelling::did_you_mean,
};

/// Requests that differ and are shown, unless more are asked for.
const SHOWN: &str = "10";
const GENERATED: &str = "1000";
/// How often people hear of long work.
const PROGRESS_EVERY: u64 = 1_000;

pub(super) fn command() -> Command {
    let number = |name: &'static str, value: &'static str, default: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(u64)).default_value(default)
    };
    let fields = FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let list = |name: &'static str| Arg::new(name).long(name).value_name("FIELDS").value_delimiter(',');
    let about = "Send the same requests to two services, and report every difference: exit 0, or 1";
    service::by_tls(Command::new("compare").about(about))
        .arg(Arg::new("against").long("against").value_name(service::ADDRESS).required(true).help("The other service"))
        .arg(Arg::new("with").long("with").value_name(service::ADDRESS).help("This service [default: the setting `grpc`]"))
        .arg(
            Arg::new("requests")
                .long("requests")
                .value_name("FILE")
                .conflicts_with("path")
                .help("Recorded requests, one a line, as `grpcurl -d` takes them; `-`: standard input"),
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Rule files or directories to make requests from [default: the setting `rules`]"),
        )
        .arg(number("count", "NUMBER", GENERATED).conflicts_with("requests").help("How many requests to make"))
        .arg(number("seed", "NUMBER", "1").conflicts_with("requests").help("Another one makes other requests"))
        .arg(number("show", "NUMBER", SHOWN).help("How many requests that differ to show"))
        .arg(list("only").conflicts_with("ignore").help(format!("Compare these alone: {fields}")))
        .arg(list("ignore").help("Do not compare these"))
        .arg(print::json())
        .after_help(
            "Both services count what they are sent: give them domains, or stores, that nobody uses.\n\
             A window that ends between two looks at a clock makes them differ, and what follows in it: those are marked.\n\
             Example: tallygate compare --against old:8081 --ignore headers,body,metadata config/rules",
        )
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = super::checked_settings(matches)?;
    let ours = matches.get_one::<String>("with").cloned().unwrap_or_else(|| service::own_address(&settings));
    let theirs = matches.get_one::<String>("against").cloned().unwrap_or_default();
    let tls = service::tls(matches, &[&ours, &theirs])?;
    let chosen = Chosen::of(matches)?;
    let requests = requests(matches, settings.rules, settings.rule_files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shown = usize::try_from(matches.get_one::<u64>("show").copied().unwrap_or_default())?;
    let report = runtime.block_on(async {
        let mut sides = Sides::connect(&ours, &theirs, &tls).await?;
        let mut report = Report::new(shown);
        for request in requests {
            let request = request?;
            let (ours, theirs) = sides.ask(&request).await;
            report.add(&request, compare(&ours, &theirs, |field| chosen.has(field)));
        }
        anyhow::Ok(report)
    })?;
    if matches.get_flag("json") {
        print::document(&report.json(&ours, &theirs))?;
    } else {
        print::out(&report.text(&ours, &theirs))?;
    }
    Ok(if report.differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Requests = Box<dyn Iterator<Item = anyhow::Result<RateLimitRequest>>>;

fn requests(matches: &ArgMatches, rules: PathBuf, rule_files: RuleFiles) -> anyhow::Result<Requests> {
    if let Some(file) = matches.get_one::<String>("requests") {
        let name = file.clone();
        let lines: Box<dyn BufRead> = if file == "-" {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let opened = std::fs::File::open(file).with_context(|| format!("cannot read the requests in {file}"))?;
            Box::new(BufReader::new(opened))
        };
        let numbered = (1..).zip(lines.lines());
        let filled = numbered.filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
        return Ok(Box::new(filled.map(move |(number, line): (u64, _)| {
            recorded::read(&line?).map_err(|error| anyhow::anyhow!("{name}:{number}: {error}"))
        })));
    }
    let paths: Vec<PathBuf> = match matches.get_many::<PathBuf>("path") {
        Some(paths) => paths.cloned().collect(),
        None => vec![rules],
    };
    let files = directory::read_all(&paths, rule_files)?;
    let texts: Vec<_> =
        files.iter().map(|file| (file.name.to_string(), String::from_utf8_lossy(&file.text).into_owned())).collect();
    let seed = matches.get_one::<u64>("seed").copied().unwrap_or_default();
    let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut generator = Generator::new(texts, seed).map_err(|error| anyhow::anyhow!(error))?;
    if generator.skipped > 0 {
        eprintln!("no requests for {} rule(s) that match by a regular expression", generator.skipped);
    }
    let count = matches.get_one::<u64>("count").copied().unwrap_or_default();
    Ok(Box::new((0..count).map(move |_| Ok(generator.request()))))
}

/// The fields that are compared.
enum Chosen {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Chosen {
    fn of(matches: &ArgMatches) -> anyhow::Result<Self> {
        let list = |name: &str| -> Vec<String> { matches.get_many(name).into_iter().flatten().cloned().collect() };
        let (only, ignore) = (list("only"), list("ignore"));
        for name in only.iter().chain(&ignore) {
            let known = || FIELDS.iter().map(|(field, _)| *field);
            if !known().any(|field| field == name) {
                let help = did_you_mean(name, known()).unwrap_or_else(|| known().collect::<Vec<_>>().join(", "));
                bail!("there is no field `{name}` to compare; {help}");
            }
        }
        Ok(if only.is_empty() { Self::AllBut(ignore) } else { Self::Only(only) })
    }

    fn has(&self, field: &str) -> bool {
        match self {
            Self::Only(list) => list.iter().any(|name| name == field),
            Self::AllBut(list) => !list.iter().any(|name| name == field),
        }
    }
}

/// What became of it.
struct Report {
    requests: u64,
    differ: u64,
    /// Of those, who were asked about when a window ended.
    at_edge: u64,
    by_field: BTreeMap<&'static str, u64>,
    shown: Vec<(u64, String, Compared)>,
    shown_max: usize,
    tells_progress: bool,
}

impl Report {
    fn new(shown_max: usize) -> Self {
        Self {
            requests: 0,
            differ: 0,
            at_edge: 0,
            by_field: BTreeMap::new(),
            shown: Vec::new(),
            shown_max,
            tells_progress: std::io::stderr().is_terminal(),
        }
    }

    fn add(&mut self, request: &RateLimitRequest, compared: Compared) {
        self.requests += 1;
        if self.tells_progress && self.requests.is_multiple_of(PROGRESS_EVERY) {
            // People can do without it.
            let _ = write!(std::io::stderr(), "\r{} requests, {} differ ", self.requests, self.differ);
        }
        if compared.differences.is_empty() {
            return;
        }
        self.differ += 1;
        self.at_edge += u64::from(compared.at_edge);
        let mut fields: Vec<_> = compared.differences.iter().map(|difference| difference.field).collect();
        fields.dedup();
        for field in fields {
            *self.by_field.entry(field).or_default() += 1;
        }
        if self.shown.len() < self.shown_max {
            self.shown.push((self.requests, recorded::write(request), compared));
        }
    }

    fn text(&self, ours: &str, theirs: &str) -> String {
        let mut lines = Vec::new();
        for (number, request, compared) in &self.shown {
            let edge = if compared.at_edge { " (at the end of a window)" } else { "" };
            lines.push(format!("request {number}{edge}: {request}"));
            for difference in &compared.differences {
                let [what, ours, theirs] =
                    [&difference.what, &difference.ours, &difference.theirs].map(|text| plain(text));
                lines.push(format!("  {what}: {ours} here, {theirs} there"));
            }
        }
        if usize::try_from(self.differ).unwrap_or(usize::MAX) > self.shown.len() {
            lines.push(format!("… {} more (--show)", self.differ - self.shown.len() as u64));
        }
        lines.push(format!(
            "{} request(s) to {ours} and {theirs}: {} alike, {} differ, {} of them at the end of a window",
            self.requests,
            self.requests - self.differ,
            self.differ,
            self.at_edge
        ));
        lines.extend(self.by_field.iter().map(|(field, count)| format!("  {field}: {count}")));
        lines.join("\n") + "\n"
    }

    fn json(&self, ours: &str, theirs: &str) -> serde_json::Value {
        let shown = self.shown.iter().map(|(number, request, compared)| {
            let differences = compared
                .differences
                .iter()
                .map(|it| json!({"field": it.field, "what": it.what, "ours": it.ours, "theirs": it.theirs}));
            let request: serde_json::Value = serde_json::from_str(request).unwrap_or_default();
            json!({
                "number": number, "request": request, "at_end_of_window": compared.at_edge,
                "differences": differences.collect::<Vec<_>>(),
            })
        });
        json!({
            "ours": ours, "theirs": theirs, "requests": self.requests, "differ": self.differ,
            "at_end_of_window": self.at_edge, "by_field": self.by_field, "shown": shown.collect::<Vec<_>>(),
        })
    }
}

/// A text of somebody else's, for a terminal.
fn plain(text: &str) -> String {
    /// Of a body people see enough by its beginning.
    const CHARS_MAX: usize = 200;
    if text.is_empty() {
        return "nothing".to_owned();
    }
    print::plain(&text.chars().take(CHARS_MAX).collect::<String>())
}
