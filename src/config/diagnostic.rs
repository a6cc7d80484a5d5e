//! One thing to tell the author of a rule file: where, what is wrong, what was probably meant.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use serde_json::{Value, json};

/// An error or a warning in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Lower case, no final stop, names the culprit.
    pub message: String,
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One line, in the form that editors and log readers jump from: `file:line:column: error: message; help: …`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, line, column, message, help } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        match help {
            Some(help) => write!(f, "; help: {help}"),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// For programs: editors, CI, whoever asks the admin API.
    pub fn json(&self) -> Value {
        let Self { severity, file, line, column, message, help } = self;
        json!({
            "severity": severity.to_string(),
            "file": &**file,
            "line": line,
            "column": column,
            "message": message,
            "help": help,
        })
    }

    /// The same as a drawing of several lines: the line of `source`, the text of the file, with a caret under the place.
    ///
    /// ```text
    /// error: unknown key `limit`
    ///   --> shop.yaml:4:5
    ///    |
    ///  4 |     limit: [120/minute]
    ///    |     ^
    ///    = help: did you mean `limits`?
    /// ```
    pub fn draw(&self, source: &str) -> String {
        let Self { severity, file, line, column, message, help } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let mut drawing = format!("{severity}: {message}\n{margin}--> {file}:{line}:{column}\n");
        if let Some(text) = line_of(source, *line) {
            let (text, caret) = excerpt(text, *column as usize);
            let _ = writeln!(drawing, "{margin} |\n{number} | {text}\n{margin} | {caret}^");
        }
        if let Some(help) = help {
            let _ = writeln!(drawing, "{margin} = help: {help}");
        }
        drawing
    }
}

fn line_of(source: &str, line: u32) -> Option<&str> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    Some(source.strip_prefix('\u{feff}').unwrap_or(source).lines().nth(index)?.trim_end())
}

/// What of a line is drawn, and what stands before the caret. Terminals are narrow and a YAML line may be a megabyte.
fn excerpt(text: &str, column: usize) -> (String, String) {
    /// What a terminal of 120 columns has room for beside the margin.
    const WIDTH: usize = 100;
    let before = column.saturating_sub(1);
    let first = before.saturating_sub(WIDTH / 2);
    let shown = text.chars().skip(first).take(WIDTH);
    // A tab stays one, under itself; what a terminal would obey is not sent to it.
    let visible = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let caret = shown.clone().take(before - first).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    (shown.map(visible).collect(), caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(line: u32, column: u32) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "shop.yaml".into(),
            line,
            column,
            message: "unknown key `limit`".to_owned(),
            help: Some("did you mean `limits`?".to_owned()),
        }
    }

    #[test]
    fn one_line_says_it_all() {
        assert_eq!(sample(2, 5).to_string(), "shop.yaml:2:5: error: unknown key `limit`; help: did you mean `limits`?");
        let warning = Diagnostic { severity: Severity::Warning, help: None, ..sample(2, 5) };
        assert_eq!(warning.to_string(), "shop.yaml:2:5: warning: unknown key `limit`");
    }

    #[test]
    fn a_drawing_points_at_the_place() {
        let drawn = sample(2, 5).draw("domain: shop\n\u{20}   limit: 5\n");
        assert_eq!(
            drawn,
            "error: unknown key `limit`\n --> shop.yaml:2:5\n  |\n2 |     limit: 5\n  |     ^\n  = help: did you mean `limits`?\n"
        );
    }

    #[test]
    fn a_drawing_of_a_place_that_is_not_there_is_only_the_text() {
        for (line, column, source) in [(0, 0, ""), (9, 1, "one line"), (1, 900, "short"), (1, 1, "\u{1b}[31m")] {
            let drawn = sample(line, column).draw(source);
            assert!(drawn.starts_with("error: unknown key `limit`\n"), "{drawn}");
            assert!(!drawn.contains('\u{1b}'), "{drawn}");
        }
    }

    #[test]
    fn a_long_line_is_drawn_around_the_place() {
        let drawn = sample(1, 5_000).draw(&"é".repeat(10_000));
        assert!(drawn.lines().all(|line| line.chars().count() < 120), "{drawn}");
    }
}
