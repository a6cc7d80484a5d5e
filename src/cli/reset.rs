//! `tallygate reset`: forget what was counted, and lift blocks.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    print::{self, cell},
    target,
};

pub(super) fn command() -> Command {
    let command = Command::new("reset").about("Forget what was counted for a descriptor, and lift its blocks");
    target::arguments(command)
        .arg(target::prefix())
        .arg(target::shared())
        .arg(print::json())
        .after_help("Example: tallygate reset shop api_key=acme --prefix")
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let answer = Client::new(matches)?.ask(Method::POST, "/v1/reset", Some(&target::body(matches)?))?;
    print::answer(matches, &answer, shown)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(answer: &Value) -> String {
    if answer["marked"] == true {
        // A mark: the counters themselves are not looked for.
        return "reset: everything counted until now counts as nothing\n".to_owned();
    }
    format!("reset: {} counter(s), {} block(s) lifted\n", cell(&answer["counters"]), cell(&answer["blocks"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reset_says_what_it_did() {
        assert_eq!(shown(&json!({"counters": 2, "blocks": 1})), "reset: 2 counter(s), 1 block(s) lifted\n");
        assert!(shown(&json!({"marked": true, "counters": 0})).contains("everything counted until now"));
    }
}
