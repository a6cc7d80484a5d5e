//! The manual's examples, executed: every block marked `yaml rules` loads, and every `decide` block after one decides
//! as it says; one marked `decide continued` goes on with the counters of the block before. `docs/decisions.md` explains
//! the lines.

use std::{fs, path::Path};

use tallygate::{
    config::{Compiled, DomainDefaults, RuleFile, compile, settings},
    decision::{Decision, decide, plan},
    render::{
        Beside,
        collect::{Collected, CollectedField},
        render,
    },
    request::{Descriptor, Entry, Request, RequestLimit},
    rules::identity::HashKey,
    store::memory::Memory,
    telemetry::{
        compat,
        metrics::{self, Metric},
        process,
    },
    units::{Nanos, Timestamp},
};

/// A fenced block of a page.
struct Block {
    line: usize,
    kind: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(page.lines()) {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                blocks.push(Block { line: number, kind: kind.to_owned(), text: String::new() });
            }
            None if open => {
                let block = blocks.last_mut().expect("one is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn load(text: &str, place: &str) -> Compiled {
    let file = RuleFile { name: place.into(), path: "docs/rules.yaml".into(), text: text.into() };
    let no_lists = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    compile(&[file], DomainDefaults::default(), &mut { no_lists }).unwrap_or_else(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        panic!("{place} does not load:\n{}", lines.join("\n"))
    })
}

/// Time starts at a midnight, UTC.
const START_SECS: u64 = 1_748_736_000;

/// One `decide` block as it runs.
struct Session<'a> {
    compiled: &'a Compiled,
    domain: String,
    memory: &'a Memory,
}

impl Session<'_> {
    /// What is answered to the request of one line, in the words of the page.
    fn answer(&self, line: &str) -> String {
        let (time, request) =
            line.strip_prefix("at ").and_then(|rest| rest.split_once(' ')).expect("`at TIME request`");
        let secs: u64 = time.trim_end_matches('s').parse().expect("a time in seconds");
        let now = Timestamp::from_secs(START_SECS).plus(Nanos::from_secs(secs));
        let parsed: Vec<ParsedDescriptor> = request.split(';').map(ParsedDescriptor::parse).collect();
        let request = build(&self.domain, &parsed);

        let domain = self.compiled.rules.domains.get(self.domain.as_bytes());
        let key = HashKey::Secret([1; 16]);
        let find = |descriptor: &Descriptor| {
            domain.map(|domain| domain.find(request.entries_of(descriptor), descriptor.limit, &key)).unwrap_or_default()
        };
        let found: Vec<_> = request.descriptors.iter().map(find).collect();
        let plan = plan(domain, &request, &found);
        let verdicts = self.memory.charge(now, &plan.charges);
        let decision = decide(now, domain, &found, &plan, &verdicts);
        let mut collected = Collected::default();
        render(
            &decision,
            &request,
            &self.compiled.responses,
            Beside { store: "memory", repeats_request: false },
            &mut Vec::new(),
            &mut collected,
        );
        describe(&decision, &collected)
    }
}

/// One descriptor of a line.
#[derive(Default)]
struct ParsedDescriptor {
    entries: Vec<(String, String)>,
    hits: Option<u64>,
    back: bool,
    limit: Option<RequestLimit>,
}

impl ParsedDescriptor {
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let mut number = || words.next().expect("a word follows").to_owned();
            match word {
                "hits" => parsed.hits = Some(number().parse().expect("hits")),
                "look" => parsed.hits = Some(0),
                "back" => (parsed.back, parsed.hits) = (true, Some(number().parse().expect("hits"))),
                "limit" => parsed.limit = Some(request_limit(&number())),
                entry => {
                    let (key, value) = entry.split_once('=').expect("KEY=VALUE");
                    parsed.entries.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        parsed
    }
}

fn request_limit(text: &str) -> RequestLimit {
    let (count, unit) = text.split_once('/').expect("COUNT/UNIT");
    let units = ["unknown", "second", "minute", "hour", "day", "month", "year"];
    let unit = units.iter().position(|name| *name == unit).expect("a unit of Envoy's");
    RequestLimit {
        requests_per_unit: count.parse().expect("a count"),
        unit: i32::try_from(unit).expect("few units"),
        unit_multiplier: None,
    }
}

fn build<'a>(domain: &'a str, parsed: &'a [ParsedDescriptor]) -> Request<'a> {
    let mut request = Request { domain: domain.as_bytes(), ..Request::default() };
    for descriptor in parsed {
        request.descriptors.push(Descriptor {
            first_entry: u32::try_from(request.entries.len()).expect("few"),
            entry_count: u32::try_from(descriptor.entries.len()).expect("few"),
            limit: descriptor.limit,
            hits: descriptor.hits,
            gives_back: descriptor.back,
        });
        let entries = descriptor.entries.iter();
        request.entries.extend(entries.map(|(key, value)| Entry { key: key.as_bytes(), value: value.as_bytes() }));
    }
    request
}

/// A decision in the words of the page: the first line is the answer, then one for each thing the client gets.
fn describe(decision: &Decision<'_>, collected: &Collected) -> String {
    let code = if decision.refused { "OVER_LIMIT" } else { "OK" };
    let retry = decision.answer.as_ref().and_then(|answer| answer.retry_after_secs);
    let retry = retry.map(|secs| format!(" retry {secs}")).unwrap_or_default();
    let never = if decision.answer.as_ref().is_some_and(|answer| answer.never) { " never" } else { "" };
    let statuses: Vec<String> = decision.statuses.iter().map(status).collect();
    let mut lines = vec![format!("{code}{retry}{never} | {}", statuses.join(", "))];
    for (name, value) in &collected.headers {
        lines.push(format!("< {name}: {}", String::from_utf8_lossy(value)));
    }
    lines.extend(collected.body.as_ref().map(|body| format!("< body: {}", String::from_utf8_lossy(body))));
    let fields = collected.fields.iter().map(|(name, value)| match value {
        CollectedField::Text(value) => format!(" {name}={value}"),
        CollectedField::Number(value) => format!(" {name}={value}"),
        CollectedField::Bool(value) => format!(" {name}={value}"),
        CollectedField::Value(_) => String::new(),
    });
    lines.push(format!("meta{}", fields.collect::<String>()));
    lines.join("\n")
}

fn status(status: &tallygate::decision::Status<'_>) -> String {
    match (&status.figure, status.refused) {
        (None, true) => "over".to_owned(),
        (None, false) if status.unlimited => "unlimited".to_owned(),
        (None, false) => "ok".to_owned(),
        (Some(_), false) if !status.exposed => "hidden".to_owned(),
        (Some(figure), refused) => {
            let over = if refused { "over " } else { "" };
            let wait = if refused { format!(" in {}", figure.reset_secs) } else { String::new() };
            format!("{over}{}/{}{wait}", figure.remaining, figure.limit.limit.capacity())
        }
    }
}

/// What a line must find in an answer: its first line whole, of the others those that are written, metadata by field.
fn differs(answer: &str, expected: &str, extras: &[&str]) -> Option<String> {
    let mut lines = answer.lines();
    let first = lines.next().unwrap_or_default();
    if first != expected {
        return Some(format!("expected {expected}\n     got {first}"));
    }
    let lines: Vec<&str> = lines.collect();
    for extra in extras {
        let there = match extra.strip_prefix("meta") {
            Some(fields) => {
                let told: Vec<&str> = lines.last().map(|line| line.split(' ').collect()).unwrap_or_default();
                fields.split_whitespace().all(|field| told.contains(&field))
            }
            None => lines.iter().any(|line| line.eq_ignore_ascii_case(extra)),
        };
        if !there {
            return Some(format!("expected {extra}\n  in the answer\n{answer}"));
        }
    }
    None
}

#[test]
fn every_example_of_the_manual_loads_and_decides_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("docs/").map(|entry| entry.expect("a file").path());
    let mut pages: Vec<_> = docs.chain([root.join("README.md")]).collect();
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.sort();

    let (mut loaded, mut decided, mut failures) = (0, 0, Vec::new());
    for page in pages {
        let name = page.strip_prefix(root).expect("below").display().to_string();
        let mut compiled = None;
        let mut memory = None;
        for block in blocks(&fs::read_to_string(&page).expect("readable")) {
            let place = format!("{name}:{}", block.line);
            match block.kind.as_str() {
                "yaml rules" => {
                    compiled = Some(load(&block.text, &place));
                    loaded += 1;
                }
                "decide" | "decide continued" => {
                    let compiled = compiled.as_ref().unwrap_or_else(|| panic!("{place}: no rules above"));
                    if block.kind == "decide" {
                        memory = Some(Memory::new(1_000_000));
                    }
                    let memory = memory.as_ref().unwrap_or_else(|| panic!("{place}: nothing above to go on with"));
                    decided += run(compiled, memory, &block, &name, &mut failures);
                }
                kind => assert!(!kind.starts_with("decide"), "{place}: `{kind}` is no kind of block"),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(loaded >= 10 && decided >= 60, "only {loaded} rule files and {decided} decisions were found");
}

/// Runs one block and returns how many decisions it made.
fn run(compiled: &Compiled, memory: &Memory, block: &Block, page: &str, failures: &mut Vec<String>) -> usize {
    let mut session = Session { compiled, domain: "d".to_owned(), memory };
    let lines: Vec<(usize, &str)> = (block.line + 1..).zip(block.text.lines()).collect();
    let mut decided = 0;
    let mut at = 0;
    while at < lines.len() {
        let (number, line) = lines[at];
        at += 1;
        if let Some(domain) = line.strip_prefix("domain ") {
            domain.trim().clone_into(&mut session.domain);
            continue;
        }
        let extras: Vec<&str> =
            lines[at..].iter().map_while(|(_, line)| line.strip_prefix("  ")).map(str::trim).collect();
        at += extras.len();
        let (request, expected) = line.split_once("->").unwrap_or_else(|| panic!("{page}:{number}: no `->`"));
        let answer = session.answer(request.trim());
        if let Some(difference) = differs(&answer, expected.trim(), &extras) {
            failures.push(format!("{page}:{number}: {line}\n{difference}\n"));
        }
        decided += 1;
    }
    decided
}

#[test]
fn a_wrong_expectation_is_found() {
    let answer = "OK | 2/3\n< RateLimit: 5\nmeta rule=a limit=3";
    assert!(differs(answer, "OK | 2/3", &["< ratelimit: 5", "meta limit=3"]).is_none());
    for (expected, extras) in
        [("OK | 1/3", vec![]), ("OK | 2/3", vec!["< RateLimit: 6"]), ("OK | 2/3", vec!["meta limit=33"])]
    {
        assert!(differs(answer, expected, &extras).is_some(), "{expected} {extras:?}");
    }
}

/// Every page that lists a table of the code holds just that table: what is added there is documented, or fails here.
#[test]
fn the_pages_of_settings_and_metrics_list_what_there_is() {
    let settings = settings::ALL.iter().map(|setting| {
        let flag = setting.key.replace('_', "-");
        let environment: Vec<String> = setting.env.iter().map(|name| format!("`{name}`")).collect();
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        format!("| `{}` | `--{flag}` | {} | {default} | {} |\n", setting.key, environment.join(", "), setting.help)
    });
    let row = |metric: &&Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind.name(), labels.join(", "), metric.help)
    };
    let metrics_head = "| metric | kind | labels | meaning |\n|---|---|---|---|\n";
    for (page, head, rows) in [
        (
            "settings.md",
            "| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n",
            settings.collect::<String>(),
        ),
        ("metrics.md", metrics_head, metrics::ALL.iter().map(row).collect()),
        ("metrics.md", metrics_head, process::ALL.iter().map(row).collect()),
        ("metrics.md", metrics_head, compat::metrics::ALL.iter().map(row).collect()),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).expect("a page");
        let table = format!("\n{head}{rows}\n");
        assert!(text.contains(&table), "the table of docs/{page} should be{table}");
    }
}
