//! `tallygate usage`: how the windows of a descriptor stand.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    print::{self, cell, plain, seconds, table},
    target,
};

pub(super) fn command() -> Command {
    let command = Command::new("usage").about("Show how every window of a descriptor stands, without counting");
    target::arguments(command)
        .arg(print::json())
        .after_help("Example: tallygate usage shop api_key=acme path=/v1/orders")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let answer = Client::new(matches)?.ask(Method::POST, "/v1/usage", Some(&target::body(matches)?))?;
    print::answer(matches, &answer, shown)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(answer: &Value) -> String {
    let blocked = match &answer["blocked"]["retry_after"] {
        Value::Null => String::new(),
        secs => format!("blocked for {} more\n", seconds(secs)),
    };
    format!("rule {}\n{blocked}{}", plain(&cell(&answer["rule"])), windows(&answer["windows"]))
}

/// The windows of an answer as a table.
pub(super) fn windows(list: &Value) -> String {
    let rows = list.as_array().into_iter().flatten().map(|window| {
        let [name, limit, current, remaining, mode] =
            ["name", "limit", "current", "remaining", "mode"].map(|field| cell(&window[field]));
        vec![name, limit, current, remaining, seconds(&window["reset"]), mode]
    });
    table(&["WINDOW", "LIMIT", "CURRENT", "REMAINING", "RESET IN", "MODE"], &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_a_table_of_windows() {
        let mut answer = json!({"rule": "per-key", "blocked": null, "windows": [
            {"name": "minute", "limit": 120, "current": 12, "remaining": 108, "reset": 32, "mode": "enforce"},
            {"name": "4s", "limit": 4, "current": 0, "remaining": 4, "reset": 1, "mode": "shadow"},
        ]});
        let expected = "\
rule per-key
WINDOW  LIMIT  CURRENT  REMAINING  RESET IN  MODE
minute  120    12       108        32 s      enforce
4s      4      0        4          1 s       shadow
";
        assert_eq!(shown(&answer), expected);
        answer["blocked"] = json!({"retry_after": 840});
        assert_eq!(shown(&answer).lines().nth(1), Some("blocked for 14 min more"));
    }
}
