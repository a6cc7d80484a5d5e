//! `tallygate block`: lock a customer out for a while, and let him in again.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    orders::{self, Orders},
    print::{self, cell, plain, table},
    target,
};

const ORDERS: Orders = Orders { path: "/v1/blocks", list: "blocks", shown_list };

pub(super) fn command() -> Command {
    let set = target::arguments(Command::new("set").about("Refuse a descriptor until the block ends"))
        .arg(target::expires_in())
        .arg(target::prefix())
        .arg(print::json())
        .after_help("Example: tallygate block set shop api_key=acme --expires-in 2h");
    let lift = target::arguments(Command::new("lift").about("End a block, whoever began it"));
    Command::new("block")
        .about("Refuse one customer for a while")
        .subcommand_required(true)
        .subcommand(set)
        .subcommand(orders::list_command("List the blocks"))
        .subcommand(lift.arg(target::prefix()).arg(print::json()))
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("set", matches)) => {
            let answer = Client::new(matches)?.ask(Method::PUT, ORDERS.path, Some(&target::body(matches)?))?;
            print::answer(matches, &answer, |answer| {
                format!("blocked until {}\n", plain(&cell(&answer["expires_at"])))
            })?;
        }
        Some(("lift", matches)) => ORDERS.delete(matches, "block lifted")?,
        Some((_, matches)) => ORDERS.list(matches)?,
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn shown_list(answer: &Value) -> String {
    let rows = answer["blocks"].as_array().into_iter().flatten().map(|one| {
        let mut row = orders::first_cells(one);
        row.push(one["started_by"].as_str().map_or("by hand".to_owned(), |rule| format!("rule {rule}")));
        row
    });
    let text = table(&["DOMAIN", "DESCRIPTOR", "ENDS IN", "STARTED BY"], &rows.collect::<Vec<_>>());
    match answer["unlisted"].as_u64() {
        Some(unlisted @ 1..) => format!("{text}and {unlisted} more that are in force but not listed\n"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_are_a_table_that_says_what_it_leaves_out() {
        let block = |started_by: Value| {
            json!({"domain": "shop", "descriptor": [{"key": "k", "value": "v"}], "prefix": false, "expires_in": 30,
                "expires_at": "2026-01-01T00:00:00Z", "started_by": started_by})
        };
        let answer = json!({"blocks": [block(json!("per-key")), block(Value::Null)], "unlisted": 3});
        let expected = "\
DOMAIN  DESCRIPTOR  ENDS IN  STARTED BY
shop    k=v         30 s     rule per-key
shop    k=v         30 s     by hand
and 3 more that are in force but not listed
";
        assert_eq!(shown_list(&answer), expected);
        assert!(!shown_list(&json!({"blocks": [], "unlisted": 0})).contains("more"));
    }
}
