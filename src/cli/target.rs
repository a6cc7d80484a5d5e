//! `DOMAIN KEY=VALUE…`: what a command is about, from its arguments to the body of the request.

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

/// Adds the arguments to a command.
pub(super) fn arguments(command: Command) -> Command {
    command.arg(domain()).arg(
        Arg::new("entry")
            .value_name("KEY=VALUE")
            .required(true)
            .num_args(1..)
            .help("The descriptor's entries, as Envoy sends them; KEY:base64=… for bytes"),
    )
}

fn domain() -> Arg {
    Arg::new("domain").value_name("DOMAIN").required(true).help("The domain, as in the rule files")
}

/// `--prefix`: not the descriptor alone.
pub(super) fn prefix() -> Arg {
    let help = "Every descriptor that begins with these entries, too";
    Arg::new("prefix").long("prefix").action(ArgAction::SetTrue).help(help)
}

/// `--shared`: yes, all of them.
pub(super) fn shared() -> Arg {
    let help = "Also where one counter is shared by many values";
    Arg::new("shared").long("shared").action(ArgAction::SetTrue).help(help)
}

/// `--expires-in`: for how long.
pub(super) fn expires_in() -> Arg {
    let help = "For how long, such as 30m, 2h or 7d";
    Arg::new("expires-in").long("expires-in").value_name("DURATION").required(true).help(help)
}

/// The body of a request about them; flags that were not given are left out.
///
/// # Errors
///
/// An entry without `=`.
pub(super) fn body(matches: &ArgMatches) -> anyhow::Result<Value> {
    let entries = matches.get_many::<String>("entry").into_iter().flatten().map(|text| entry(text));
    let entries: Vec<Value> = entries.collect::<Result<_, _>>()?;
    let mut body = json!({"domain": matches.get_one::<String>("domain"), "descriptor": entries});
    for flag in ["prefix", "shared"] {
        if matches.try_get_one::<bool>(flag).ok().flatten() == Some(&true) {
            body[flag] = true.into();
        }
    }
    if let Some(length) = matches.try_get_one::<String>("expires-in").ok().flatten() {
        body["expires_in"] = length.as_str().into();
    }
    Ok(body)
}

/// `KEY=VALUE`, split at the first `=`: values have some of their own. What the value is, the service judges.
///
/// # Errors
///
/// There is no `=`.
pub(super) fn entry(text: &str) -> anyhow::Result<Value> {
    let (key, value) = text.split_once('=').with_context(|| format!("`{text}` is no entry: write KEY=VALUE"))?;
    Ok(match key.strip_suffix(":base64") {
        Some(key) => json!({"key": key, "value_base64": value}),
        None => json!({"key": key, "value": value}),
    })
}

/// Adds the arguments of a whole request: a domain, and descriptors of several entries each.
pub(super) fn request(command: Command) -> Command {
    command.arg(domain()).arg(
        Arg::new("descriptor")
            .value_name("KEY=VALUE[,KEY=VALUE]")
            .required(true)
            .num_args(1..)
            .help("The descriptors of the request; KEY:base64=… for bytes, `\\,` for a comma in a value"),
    )
}

/// What they say: `{"domain": …, "descriptors": [[{"key": …, "value": …}, …], …]}`.
///
/// # Errors
///
/// An entry without `=`.
pub(super) fn request_body(matches: &ArgMatches) -> anyhow::Result<Value> {
    let descriptors = matches.get_many::<String>("descriptor").into_iter().flatten();
    let descriptors: Vec<Value> = descriptors.map(|text| descriptor(text)).collect::<Result<_, _>>()?;
    Ok(json!({"domain": matches.get_one::<String>("domain"), "descriptors": descriptors}))
}

/// `KEY=VALUE,KEY=VALUE`, split at every comma that no backslash stands before; `\,` is a comma of a value.
fn descriptor(text: &str) -> anyhow::Result<Value> {
    let mut entries = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next_if_eq(&',').is_some() => push(&mut entries, ','),
            ',' => entries.push(String::new()),
            other => push(&mut entries, other),
        }
    }
    entries.iter().map(|text| entry(text)).collect()
}

fn push(entries: &mut [String], letter: char) {
    if let Some(entry) = entries.last_mut() {
        entry.push(letter);
    }
}

/// The descriptor of an answer as it is typed.
pub(super) fn shown(descriptor: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = descriptor.as_array().into_iter().flatten().map(|entry| match &entry["value_base64"] {
        Value::Null => format!("{}={}", text(&entry["key"]), text(&entry["value"])),
        base64 => format!("{}:base64={}", text(&entry["key"]), text(base64)),
    });
    entries.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_split_at_the_first_sign_and_shown_as_it_was_typed() {
        for (text, expected) in [
            ("api_key=acme", json!({"key": "api_key", "value": "acme"})),
            ("path=/v1/x?a=b", json!({"key": "path", "value": "/v1/x?a=b"})),
            ("k=", json!({"key": "k", "value": ""})),
            ("raw:base64=/wD+", json!({"key": "raw", "value_base64": "/wD+"})),
            ("a:b=c", json!({"key": "a:b", "value": "c"})),
        ] {
            assert_eq!(entry(text).unwrap(), expected);
            assert_eq!(shown(&json!([expected])), text);
        }
        assert_eq!(entry("api_key").unwrap_err().to_string(), "`api_key` is no entry: write KEY=VALUE");
    }

    #[test]
    fn only_flags_that_a_command_has_and_was_given_are_sent() {
        let command = arguments(Command::new("reset")).arg(prefix()).arg(shared());
        let given = command.clone().get_matches_from(["reset", "shop", "k=v", "--prefix"]);
        let descriptor = json!([{"key": "k", "value": "v"}]);
        assert_eq!(body(&given).unwrap(), json!({"domain": "shop", "descriptor": descriptor, "prefix": true}));
        let usage = arguments(Command::new("usage")).get_matches_from(["usage", "shop", "k=v"]);
        assert_eq!(body(&usage).unwrap(), json!({"domain": "shop", "descriptor": descriptor}));
        let block = command.arg(expires_in()).get_matches_from(["block", "shop", "k=v", "--expires-in", "2h"]);
        assert_eq!(body(&block).unwrap()["expires_in"], "2h");
    }

    #[test]
    fn a_descriptor_is_split_at_commas_that_are_none_of_a_value() {
        let entry = |key: &str, value: &str| json!({"key": key, "value": value});
        for (text, expected) in [
            ("a=b", json!([entry("a", "b")])),
            ("a=b,c=d", json!([entry("a", "b"), entry("c", "d")])),
            (r"a=b\,c=d", json!([entry("a", "b,c=d")])),
            (r"a=\b\\", json!([entry("a", r"\b\\")])),
            ("a=,b:base64=/w==", json!([entry("a", ""), {"key": "b", "value_base64": "/w=="}])),
        ] {
            assert_eq!(descriptor(text).unwrap(), expected, "{text}");
        }
        for text in ["a=b,c", "a=b,", ",", ""] {
            assert!(descriptor(text).unwrap_err().to_string().ends_with("is no entry: write KEY=VALUE"), "{text}");
        }
    }
}
