//! What overrides and blocks have in common: they are listed, and they are taken back.

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::{
    client::Client,
    print::{self, cell, seconds},
    target,
};

/// One of the two kinds.
pub(super) struct Orders {
    pub path: &'static str,
    /// The name of the list in an answer.
    pub list: &'static str,
    pub shown_list: fn(&Value) -> String,
}

/// `list [DOMAIN]`.
pub(super) fn list_command(about: &'static str) -> Command {
    let domain = Arg::new("domain").value_name("DOMAIN").help("Only those of this domain");
    Command::new("list").about(about).arg(domain).arg(print::json())
}

impl Orders {
    /// Lists them all, or those of one domain.
    pub(super) fn list(&self, matches: &ArgMatches) -> anyhow::Result<()> {
        let path = match matches.get_one::<String>("domain") {
            Some(domain) => format!("{}?domain={}", self.path, percent_encoded(domain)),
            None => self.path.to_owned(),
        };
        let answer = Client::new(matches)?.ask(Method::GET, &path, None)?;
        print::answer(matches, &answer, |answer| match answer[self.list].as_array() {
            Some(list) if list.is_empty() && answer["unlisted"].as_u64().unwrap_or(0) == 0 => {
                format!("no {}\n", self.list)
            }
            _ => (self.shown_list)(answer),
        })
    }

    /// Takes one back.
    pub(super) fn delete(&self, matches: &ArgMatches, done: &str) -> anyhow::Result<()> {
        let answer = Client::new(matches)?.ask(Method::DELETE, self.path, Some(&target::body(matches)?))?;
        print::answer(matches, &answer, |_| format!("{done}\n"))
    }
}

/// Domain, descriptor (a beginning ends in `…`) and the time that is left.
pub(super) fn first_cells(one: &Value) -> Vec<String> {
    let more = if one["prefix"] == true { " …" } else { "" };
    let descriptor = target::shown(&one["descriptor"]) + more;
    vec![cell(&one["domain"]), descriptor, seconds(&one["expires_in"])]
}

/// A value in a query (RFC 3986): whatever is not unreserved as `%XX`.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_survives_a_query() {
        assert_eq!(percent_encoded("shop"), "shop");
        assert_eq!(percent_encoded("a b&c=ü/%"), "a%20b%26c%3D%C3%BC%2F%25");
    }
}
