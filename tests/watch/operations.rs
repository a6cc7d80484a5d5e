//! The manual of operations names every line that the log can have at level warn or error.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{read, shipped};

#[test]
fn the_manual_explains_every_line_of_the_log_that_warns() {
    let page = read("docs/operations.md");
    let (_, table) = page.split_once("\n## What the log says\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let explained: BTreeSet<String> = rows.map(|(message, _)| message.to_owned()).collect();
    let mut logged = BTreeSet::new();
    collect(&shipped("src"), &mut logged);
    assert!(logged.len() > 30, "only {} messages were found", logged.len());
    let missing: Vec<_> = logged.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&logged).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:#?}\nnobody logs any more: {gone:#?}");
}

#[test]
fn what_the_manual_points_to_is_there() {
    let page = read("docs/operations.md");
    let links: Vec<&str> = page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 40, "only {} links were found", links.len());
    for link in links {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { "operations.md" } else { file };
        let text = read(&format!("docs/{file}"));
        let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
        assert!(
            anchor.is_empty() || headings.collect::<Vec<_>>().iter().any(|it| it == anchor),
            "{link} leads nowhere"
        );
    }
}

/// What a heading is called in links.
fn anchor_of(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        letter => (letter.is_alphanumeric() || letter == '-' || letter == '_').then(|| letter.to_ascii_lowercase()),
    });
    letters.collect()
}

/// Adds the messages of all sources below a directory.
fn collect(directory: &Path, messages: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, messages);
            continue;
        }
        let text = fs::read_to_string(&entry).unwrap();
        for level in ["warn!(", "error!("] {
            messages.extend(text.split(level).skip(1).map(arguments).filter_map(message));
        }
    }
}

/// Those of a call, up to the parenthesis that closes it.
fn arguments(rest: &str) -> &str {
    let (mut open, mut quoted) = (1, false);
    let end = rest.find(|letter| {
        match letter {
            '"' => quoted = !quoted,
            '(' if !quoted => open += 1,
            ')' if !quoted => open -= 1,
            _ => {}
        }
        open == 0
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// What stands in the log, an ellipsis for what is filled in; none where everything is.
fn message(arguments: &str) -> Option<String> {
    // The last text between quotes: before it are fields, after it what is filled in.
    let text = arguments.split('"').skip(1).step_by(2).last()?;
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, (_, after))) =
        rest.split_once('{').and_then(|(before, it)| Some((before, it.split_once('}')?)))
    {
        shown.push_str(before);
        shown.push('…');
        rest = after;
    }
    shown.push_str(rest);
    let shown = shown.replace('`', "'");
    shown.contains(' ').then_some(shown)
}
