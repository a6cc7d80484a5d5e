//! What the commands print: tables for people, or the service's JSON for programs (`--json`).

use std::io::{self, Write as _};

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::Value;

/// `--json`.
pub(super) fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the service's answer as it is")
}

/// Prints an answer: as `people` say it, or as it is.
///
/// # Errors
///
/// An answer that cannot be written down; there is none.
pub(super) fn answer(matches: &ArgMatches, answer: &Value, people: impl FnOnce(&Value) -> String) -> Result<()> {
    if matches.get_flag("json") {
        return document(answer);
    }
    let alone = if answer["everywhere"] == false { "on this replica alone until Redis answers again\n" } else { "" };
    out(&(people(answer) + alone))
}

/// Prints a document for programs.
///
/// # Errors
///
/// As [`out`].
pub(super) fn document(document: &Value) -> Result<()> {
    out(&(serde_json::to_string_pretty(document)? + "\n"))
}

/// Prints text. That whoever reads it has read enough (`| head`) is no error.
///
/// # Errors
///
/// What standard output says.
pub(super) fn out(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Rows under their heads, the columns as wide as they must be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        [&head].into_iter().chain(rows).map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A number or a text of an answer; what is absent as `-`.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Seconds as people say them.
pub(super) fn seconds(value: &Value) -> String {
    let Some(secs) = value.as_u64() else { return cell(value) };
    let mut text = Vec::new();
    crate::render::time::push_humanized(secs, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `text` without what a terminal would obey: values come from clients.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [vec!["minute".to_owned(), "9".to_owned()], vec!["s".to_owned(), "1000".to_owned()]];
        assert_eq!(table(&["WINDOW", "LIMIT"], &rows), "WINDOW  LIMIT\nminute  9\ns       1000\n");
        assert_eq!(table(&["WINDOW"], &[]), "WINDOW\n");
    }

    #[test]
    fn what_a_client_sent_gives_the_terminal_no_orders() {
        assert_eq!(table(&["A"], &[vec!["\u{1b}[2Jü\n".to_owned()]]), "A\n\\u{1b}[2Jü\\n\n");
    }

    #[test]
    fn figures_are_shown_for_people() {
        assert_eq!([cell(&json!(null)), cell(&json!(7)), cell(&json!("x"))], ["-", "7", "x"]);
        assert_eq!([seconds(&json!(59)), seconds(&json!(7_200)), seconds(&json!(null))], ["1 min", "2 h", "-"]);
    }
}
