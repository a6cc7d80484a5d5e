//! What a README says is typed and answered, and whether an answer is what it says.
//!
//! In a ```` ```console ```` block a line that begins with `$ ` is a command of bash, those right below it that begin with `> `
//! belong to it. `# 28 seconds later` lets time pass before the next command; other lines that begin with `# ` are for the
//! reader. All else is what the command above prints, to the letter, but that `...` stands for any lines, `[...]` for
//! any text in a line, and spaces and empty lines at an end say nothing.

use std::fmt::Write as _;

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands in the page, counted from 1.
    pub line: usize,
    /// What passes before it, as the test clock takes it: `28 seconds`.
    pub later: Vec<String>,
    pub command: String,
    pub expected: Vec<String>,
}

/// All commands of a page, in order.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut later = Vec::new();
    let mut reading = Reading::Text;
    for (number, line) in (1..).zip(page.lines()) {
        reading = match reading {
            Reading::Text if line == "```console" => Reading::Between,
            Reading::Text => Reading::Text,
            _ if line == "```" => Reading::Text,
            now => match (line.strip_prefix("$ "), line.strip_prefix("> "), line.strip_prefix("# ")) {
                (Some(command), ..) => {
                    let later = std::mem::take(&mut later);
                    steps.push(Step { line: number, later, command: command.to_owned(), expected: Vec::new() });
                    Reading::Command
                }
                (_, Some(more), _) if now == Reading::Command => {
                    let step = steps.last_mut().expect("one is being read");
                    step.command.extend(["\n", more]);
                    Reading::Command
                }
                (.., Some(remark)) => {
                    later.extend(time_that_passes(remark));
                    Reading::Between
                }
                _ if now == Reading::Between => {
                    assert_eq!(line.trim(), "", "line {number} stands below no command");
                    Reading::Between
                }
                _ => {
                    steps.last_mut().expect("output stands below a command").expected.push(line.to_owned());
                    Reading::Output
                }
            },
        };
    }
    assert!(reading == Reading::Text, "the last block has no end");
    steps
}

/// What the lines of a page are at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Text,
    /// In a block, below neither a command nor its output.
    Between,
    Command,
    Output,
}

/// `28 seconds` of `28 seconds later: the minute's last`.
fn time_that_passes(remark: &str) -> Option<String> {
    let (time, rest) = remark.split_once(" later")?;
    let ended = rest.chars().next().is_none_or(|next| !next.is_alphanumeric());
    (ended && time.starts_with(|first: char| first.is_ascii_digit())).then(|| time.to_owned())
}

/// Whether `actual` is what was expected.
pub fn matches(expected: &[String], actual: &str) -> bool {
    let actual: Vec<&str> = actual.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = expected.iter().map(|line| line.trim_end()).collect();
    lines_match(without_empty_end(&expected), without_empty_end(&actual))
}

fn without_empty_end<'a, 'b>(mut lines: &'a [&'b str]) -> &'a [&'b str] {
    while let [rest @ .., ""] = lines {
        lines = rest;
    }
    lines
}

fn lines_match(expected: &[&str], actual: &[&str]) -> bool {
    match (expected, actual) {
        ([], []) => true,
        (["...", rest @ ..], _) => (0..=actual.len()).any(|skipped| lines_match(rest, &actual[skipped..])),
        ([line, expected @ ..], [own, actual @ ..]) => line_matches(line, own) && lines_match(expected, actual),
        _ => false,
    }
}

fn line_matches(expected: &str, actual: &str) -> bool {
    match expected.split_once("[...]") {
        None => expected == actual,
        Some((before, after)) => actual.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

/// Both beside each other, the first line that differs marked.
pub fn side_by_side(expected: &[String], actual: &str) -> String {
    let actual: Vec<&str> = actual.lines().map(str::trim_end).collect();
    let width = expected.iter().map(|line| line.chars().count()).max().unwrap_or(0).max("expected".len());
    let mut shown = format!("  {:width$} | actual\n", "expected");
    let mut marked = false;
    for at in 0..expected.len().max(actual.len()) {
        let (left, right) = (expected.get(at), actual.get(at));
        let differs = !left.zip(right).is_some_and(|(left, right)| line_matches(left.trim_end(), right));
        let mark = if differs && !marked { '!' } else { ' ' };
        marked |= differs;
        let _ = writeln!(shown, "{mark} {:width$} | {}", left.map_or("", String::as_str), right.unwrap_or(&""));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn commands_stand_in_console_blocks_with_what_passes_before_them() {
        let page = "\
$ not this one
```yaml
$ nor this one
```
```console
# as a start
$ one
1

> 2
# 28 seconds later: nothing has changed
# 1 second later
$ two \\
>   more
```
```console
$ three
```
";
        let step = |line, later: &[&str], command: &str, expected: &[&str]| Step {
            line,
            later: owned(later),
            command: command.into(),
            expected: owned(expected),
        };
        assert_eq!(
            steps(page),
            [
                step(7, &[], "one", &["1", "", "> 2"]),
                step(13, &["28 seconds", "1 second"], "two \\\n  more", &[]),
                step(17, &[], "three", &[]),
            ]
        );
    }

    #[test]
    fn time_passes_where_a_remark_says_so() {
        for (remark, time) in [
            ("28 seconds later", Some("28 seconds")),
            ("1 minute later: a new one", Some("1 minute")),
            ("we come to 2 seconds later", None),
            ("2 latercomers", None),
            ("later", None),
        ] {
            assert_eq!(time_that_passes(remark).as_deref(), time, "{remark}");
        }
    }

    #[test]
    fn an_answer_that_differs_from_its_page_is_found() {
        for (expected, actual, same) in [
            (&["a", "b"][..], "a\r\nb\n", true),
            (&["a", "b", ""], "a\nb", true),
            (&[], "", true),
            (&["a"], "a\n\n", true),
            (&["a", "b"], "a\nb\nc\n", false),
            (&["a", "b"], "a\n", false),
            (&["a"], "", false),
            (&[], "a", false),
            (&["a"], "A", false),
            (&["a b"], "a  b", false),
            (&["limit: 4"], "limit: 40", false),
            (&["date: [...]"], "date: today", true),
            (&["date: [...] UTC"], "date: today UTC", true),
            (&["date: [...] UTC"], "date: today", false),
            (&["date: [...]"], "dates: today", false),
            (&["date: [...]"], "date: today\nand more", false),
            (&["a", "...", "c"], "a\nb\nb\nc", true),
            (&["a", "...", "c"], "a\nc", true),
            (&["a", "...", "c"], "a\nb\nd", false),
            (&["...", "c"], "c\nc", true),
        ] {
            assert_eq!(matches(&owned(expected), actual), same, "{expected:?} against {actual:?}");
        }
    }

    #[test]
    fn the_first_line_that_differs_is_marked() {
        let shown = side_by_side(&owned(&["status: 200", "left: [...]", "end"]), "status: 200\nleft: 9\nENDE\nmore");
        let marked: Vec<&str> = shown.lines().filter(|line| line.starts_with('!')).collect();
        assert_eq!(marked, ["! end         | ENDE"], "{shown}");
    }
}
