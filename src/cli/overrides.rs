//! `tallygate override`: other limits for one customer, for a while.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    orders::{self, Orders},
    print::{self, cell, plain, table},
    target,
};

const ORDERS: Orders = Orders { path: "/v1/overrides", list: "overrides", shown_list };

pub(super) fn command() -> Command {
    let limit = Arg::new("limit").long("limit").value_name("COUNT/WINDOW").required(true).action(ArgAction::Append);
    let set = target::arguments(Command::new("set").about("Replace the limits of a descriptor until it expires"))
        .arg(limit.help("One of the new limits, such as 5000/minute; may be given several times"))
        .arg(target::expires_in())
        .arg(target::prefix())
        .arg(target::shared())
        .arg(print::json())
        .after_help("Example: tallygate override set shop api_key=acme --limit 5000/minute --expires-in 2h");
    let delete = target::arguments(Command::new("delete").about("End an override"));
    Command::new("override")
        .about("Give one customer other limits for a while")
        .subcommand_required(true)
        .subcommand(set)
        .subcommand(orders::list_command("List the overrides"))
        .subcommand(delete.arg(target::prefix()).arg(print::json()))
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("set", matches)) => {
            let mut body = target::body(matches)?;
            body["limits"] = matches.get_many::<String>("limit").into_iter().flatten().map(String::as_str).collect();
            let answer = Client::new(matches)?.ask(Method::PUT, ORDERS.path, Some(&body))?;
            print::answer(matches, &answer, |answer| {
                let limits = plain(&limits(answer));
                format!("override set: {limits} until {}\n", plain(&cell(&answer["expires_at"])))
            })?;
        }
        Some(("delete", matches)) => ORDERS.delete(matches, "override deleted")?,
        Some((_, matches)) => ORDERS.list(matches)?,
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn shown_list(answer: &Value) -> String {
    let rows = answer["overrides"].as_array().into_iter().flatten().map(|one| {
        let mut row = orders::first_cells(one);
        row.push(limits(one));
        row
    });
    table(&["DOMAIN", "DESCRIPTOR", "ENDS IN", "LIMITS"], &rows.collect::<Vec<_>>())
}

/// The limits as they were given: the short form as it is, the long one by its rate.
fn limits(answer: &Value) -> String {
    let limits = answer["limits"].as_array().into_iter().flatten();
    let limits = limits.map(|limit| if limit["rate"].is_string() { cell(&limit["rate"]) } else { cell(limit) });
    limits.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overrides_are_a_table() {
        let answer = json!({"overrides": [
            {"domain": "shop", "descriptor": [{"key": "k", "value": "v"}], "prefix": true, "expires_in": 7_200,
                "expires_at": "2026-01-01T00:00:00Z", "limits": ["5000/minute", {"rate": "20/s", "algorithm": "token_bucket"}]},
        ]});
        let expected = "DOMAIN  DESCRIPTOR  ENDS IN  LIMITS\nshop    k=v …       2 h      5000/minute, 20/s\n";
        assert_eq!(shown_list(&answer), expected);
    }
}
