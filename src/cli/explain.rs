//! `tallygate explain`: which rules decide a request, and why; asked of the running service, or of rule files alone.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    print::{self, cell, plain, seconds, table},
    target, usage,
};
use crate::{
    admin::{
        explain::{Question, shown},
        fields::Fields,
    },
    clock::Clock,
    config::{Compiled, DomainDefaults, compile, settings::Settings},
    explain::{By, explain},
    reload::directory,
    rules::identity::HashKey,
    store::{Store, memory::Memory},
};

pub(super) fn command() -> Command {
    target::request(
        Command::new("explain").about("Say which rules decide a request, why, and what would be answered, without counting"),
    )
        .arg(
            Arg::new("offline")
                .long("offline")
                .value_name("PATH")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Ask no service but these rule files or directories, as if nothing was counted yet; stands last [default: the setting `rules`]"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("text for people, json for programs"),
        )
        .after_help("Example: tallygate explain shop api_key=acme,path=/v1/orders remote_address=10.1.2.3")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let body = target::request_body(matches)?;
    let answer = match matches.get_many::<PathBuf>("offline") {
        Some(paths) => offline(&super::checked_settings(matches)?, paths.cloned().collect(), &body)?,
        None => Client::new(matches)?.ask(Method::POST, "/v1/explain", Some(&body))?,
    };
    match matches.get_one::<String>("format").map(String::as_str) {
        Some("json") => print::document(&answer)?,
        _ => print::out(&drawn(&answer))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same question to the rules in files, which nothing was counted by.
fn offline(settings: &Settings, mut paths: Vec<PathBuf>, body: &Value) -> anyhow::Result<Value> {
    if paths.is_empty() {
        paths.push(settings.rules.clone());
    }
    let Compiled { rules, responses, .. } = compiled(&paths, settings)?;
    let mut asked = Fields::parse(body.to_string().as_bytes())?;
    let question = Question::take(&mut asked)?;
    let by = By { rules: &rules, orders: None, responses: &responses };
    // One request meets few counters, and they are forgotten at once, whatever they are named by.
    let (store, key) = (Store::Memory(Memory::new(COUNTERS)), HashKey::Public);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let descriptors = question.descriptors();
    let explained = runtime.block_on(explain(by, &store, &key, Clock.now(), &question.domain, &descriptors));
    Ok(shown(&question, &rules, &explained))
}

/// Counters to have room for, offline: more than the limits of any request that can be asked about.
const COUNTERS: usize = 10_000;

fn compiled(paths: &[PathBuf], settings: &Settings) -> anyhow::Result<Compiled> {
    // Nobody writes them meanwhile, or he asks again.
    let files = directory::read_all(paths, settings.rule_files)?;
    match compile(&files, DomainDefaults::of(settings), &mut |path| directory::read_bounded(path)) {
        Ok(compiled) => Ok(compiled),
        Err(diagnostics) => {
            let errors: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            bail!("the rule files have errors, which `tallygate check` draws:\n{}", errors.join("\n"))
        }
    }
}

/// The explanation as people read it.
fn drawn(answer: &Value) -> String {
    let mut lines = Vec::new();
    if answer["domain_known"] == false {
        let near = answer["domain_suggestion"].as_str().map(|near| format!("; did you mean `{}`?", plain(near)));
        let near = near.unwrap_or_default();
        lines.extend([format!("no rule file names the domain `{}`{near}", word(&answer["domain"])), String::new()]);
    }
    for told in list(&answer["descriptors"]) {
        lines.extend(drawn_descriptor(told));
        lines.push(String::new());
    }
    lines.extend(drawn_answer(&answer["answer"]));
    lines.join("\n") + "\n"
}

fn drawn_descriptor(told: &Value) -> Vec<String> {
    let mut lines = vec![plain(&target::shown(&told["descriptor"]))];
    for (number, level) in (1..).zip(list(&told["levels"])) {
        lines.push(format!("  level {number}: {}", word(&level["key"])));
        let rows: Vec<Vec<String>> = list(&level["rules"]).iter().map(row).collect();
        if rows.is_empty() {
            lines.push("    no rule has this key".to_owned());
        } else {
            lines.extend(indented(&table(&["", "RULE", "MATCHES", "AT"], &rows)));
        }
        if level["more"].as_u64().is_some_and(|more| more > 0) {
            lines.push(format!("    and {} more", level["more"]));
        }
    }
    lines.push(format!("  {}", outcome(told)));
    if !list(&told["windows"]).is_empty() {
        lines.extend(indented(&usage::windows(&told["windows"])));
    }
    lines
}

pub(super) fn drawn_answer(answer: &Value) -> Vec<String> {
    let mut lines = vec![format!("the request is answered {}", word(&answer["code"]))];
    let header = |header: &Value| format!("  {}: {}", word(&header["name"]), word(&header["value"]));
    lines.extend(list(&answer["headers"]).iter().map(header));
    lines.extend(answer["body"].as_str().map(|body| format!("  body: {}", plain(body))));
    let fields = answer["metadata"].as_object().into_iter().flatten();
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", word(value))).collect();
    lines.push(format!("  metadata: {}", fields.join(" ")));
    lines
}

/// What the walk came to, in one line or two.
fn outcome(told: &Value) -> String {
    if let Some(secs) = told["blocked"].get("retry_after") {
        return format!("OVER_LIMIT: blocked for {} more", seconds(secs));
    }
    let (code, rule, gap) = (word(&told["code"]), &told["rule"], &told["unmatched"]);
    if rule.is_null() {
        let near = match &gap["nearest"] {
            Value::Null => String::new(),
            nearest => format!("\n  nearest: {}", named(nearest)),
        };
        return format!("{code}: nothing matches, and nothing is limited: {}{near}", word(&gap["why"]));
    }
    let keys: Vec<String> = list(&told["leads_on"]).iter().map(word).collect();
    let why = match told["does"].as_str() {
        _ if told["overridden"] == true => "with the limits of an override (`tallygate override list`)".to_owned(),
        Some("exempt") => "which exempts the whole request".to_owned(),
        Some("deny") => "which denies".to_owned(),
        Some("unlimited") => "which sets no limit".to_owned(),
        Some("nothing") if keys.is_empty() => "which has no limits".to_owned(),
        Some("nothing") => {
            format!("which has no limits, only rules below it: another entry must follow (`{}`)", keys.join("`, `"))
        }
        _ => return format!("{code}: rule {}", named(rule)),
    };
    format!("{code}: rule {}, {why}", named(rule))
}

fn row(rule: &Value) -> Vec<String> {
    let outcome = match rule["outcome"].as_str() {
        Some("won") => "won",
        Some("behind") => "matches too, asked later",
        _ => "does not match",
    };
    let way = match rule["matches"].as_str() {
        Some("value") => "exact value",
        Some("path") => "path template",
        Some("cidr") => "network",
        Some("any") => "any value",
        other => other.unwrap_or_default(),
    };
    vec![outcome.to_owned(), cell(&rule["name"]), way.to_owned(), place(rule)]
}

/// `per-key (shop.yaml:5)`.
fn named(rule: &Value) -> String {
    format!("{} ({})", word(&rule["name"]), plain(&place(rule)))
}

fn place(rule: &Value) -> String {
    format!("{}:{}", cell(&rule["file"]), cell(&rule["line"]))
}

fn word(value: &Value) -> String {
    plain(&cell(value))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn indented(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| format!("    {line}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_is_drawn_level_by_level() {
        let rule = |name: &str, line: u32, matches: &str, outcome: &str| json!({"name": name, "file": "shop.yaml", "line": line, "matches": matches, "outcome": outcome});
        let answer = json!({"domain": "shop", "domain_known": true, "domain_suggestion": null, "descriptors": [
            {"descriptor": [{"key": "k", "value": "a\u{1b}"}], "code": "OK", "rule": rule("one", 3, "value", "won"),
             "does": "limits", "leads_on": [], "unmatched": null, "overridden": false, "blocked": null,
             "windows": [{"name": "minute", "limit": 5, "current": 1, "remaining": 4, "reset": 60, "mode": "enforce"}],
             "levels": [{"key": "k", "more": 2, "rules": [rule("one", 3, "value", "won"), rule("all", 4, "any", "behind")]}]},
            {"descriptor": [{"key": "x", "value": ""}], "code": "OK", "rule": null, "does": null, "leads_on": [],
             "unmatched": {"differs": "key", "level": 1, "why": "no rule has it", "nearest": rule("one", 3, "value", "won")},
             "overridden": false, "blocked": null, "windows": [], "levels": [{"key": "x", "more": 0, "rules": []}]},
        ], "answer": {"code": "OK", "headers": [{"name": "x-a", "value": "1"}], "body": null, "metadata": {"rule": "one"}}});
        let expected = "\
k=a\\u{1b}
  level 1: k
                              RULE  MATCHES      AT
    won                       one   exact value  shop.yaml:3
    matches too, asked later  all   any value    shop.yaml:4
    and 2 more
  OK: rule one (shop.yaml:3)
    WINDOW  LIMIT  CURRENT  REMAINING  RESET IN  MODE
    minute  5      1        4          1 min     enforce

x=
  level 1: x
    no rule has this key
  OK: nothing matches, and nothing is limited: no rule has it
  nearest: one (shop.yaml:3)

the request is answered OK
  x-a: 1
  metadata: rule=one
";
        assert_eq!(drawn(&answer), expected);
    }
}
