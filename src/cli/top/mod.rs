//! `tallygate top`: what is going on, on a terminal as it happens; else once, who is refused most and what no rule is about.

mod live;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    print::{self, cell, table},
    target,
};

pub(super) fn command() -> Command {
    Command::new("top")
        .about("Watch decisions, refusals, the clients refused most and what no rule is about, until q")
        .arg(once())
        .arg(print::json())
        .after_help("Why one of them matches nothing: tallygate explain")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let client = Client::new(matches)?;
    let by_someone = io::stdin().is_terminal() && io::stdout().is_terminal();
    if by_someone && !matches.get_flag("once") && !matches.get_flag("json") {
        live::run(&client)?;
    } else {
        print::answer(matches, &client.ask(Method::GET, "/v1/top", None)?, shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn once() -> Arg {
    let help = "List the names once, on a terminal too";
    Arg::new("once").long("once").action(ArgAction::SetTrue).help(help)
}

fn shown(answer: &Value) -> String {
    let counted = |seen: &Value, mut row: Vec<String>| {
        row.extend([cell(&seen["count"]), cell(&seen["error"])]);
        row
    };
    let rows = |name: &str, row: &dyn Fn(&Value) -> Vec<String>| {
        let list = answer[name].as_array().into_iter().flatten();
        list.map(|seen| counted(seen, row(seen))).collect::<Vec<_>>()
    };
    let refused = rows("refused", &|seen| {
        let cut = if seen["cut"] == true { "…" } else { "" };
        vec![cell(&seen["domain"]), target::shown(&seen["descriptor"]) + cut]
    });
    let domains = rows("unknown_domains", &|seen| vec![cell(&seen["domain"])]);
    let unmatched = rows("unmatched", &|seen| {
        let keys = seen["keys"].as_array().into_iter().flatten().map(cell);
        vec![cell(&seen["domain"]), keys.collect::<Vec<_>>().join(" > ")]
    });
    let refused = table(&["DOMAIN", "REFUSED MOST", "REFUSALS", "OFF BY"], &refused);
    let domains = table(&["UNKNOWN DOMAIN", "DESCRIPTORS", "OFF BY"], &domains);
    format!("{refused}\n{domains}\n{}", table(&["DOMAIN", "KEYS NO RULE MATCHES", "DESCRIPTORS", "OFF BY"], &unmatched))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_list_is_a_table() {
        let answer = json!({
            "refused": [{"domain": "shop", "descriptor": [{"key": "api_key", "value": "acme"}], "cut": false, "count": 512, "error": 0}],
            "unknown_domains": [{"domain": "shpo", "count": 41230, "error": 0}],
            "unmatched": [{"domain": "shop", "keys": ["api-key", "path"], "count": 901, "error": 3}],
        });
        let expected = "\
DOMAIN  REFUSED MOST  REFUSALS  OFF BY
shop    api_key=acme  512       0

UNKNOWN DOMAIN  DESCRIPTORS  OFF BY
shpo            41230        0

DOMAIN  KEYS NO RULE MATCHES  DESCRIPTORS  OFF BY
shop    api-key > path        901          3
";
        assert_eq!(shown(&answer), expected);
    }
}
