//! Files as text, and what becomes of them.

mod bad;
mod good;
mod idle;
mod ratelimit;
mod schema;

use std::{io, path::Path};

use super::*;
use crate::{
    limit::Algorithm,
    rules::{Domain, Rule},
};

const SHOP: &str = include_str!("../../../config/rules/shop.yaml");

fn load(files: &[(&str, &str)]) -> Result<Compiled, Vec<Diagnostic>> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| RuleFile {
            name: (*name).into(),
            path: Path::new("/rules").join(name),
            text: (*text).into(),
        })
        .collect();
    let loaded = compile(&files, DomainDefaults::default(), &mut read_list);
    schema::agrees(&files, &loaded);
    loaded
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("/rules/keys.txt") => Ok(b"\xef\xbb\xbfa\r\n\nb\n\xff\xfe".to_vec()),
        Some("/rules/stars.txt") => Ok(b"a\nb*\n".to_vec()),
        Some("/rules/nets.txt") => Ok(b"# ours\n10.0.0.0/8 # all\n2001:db8::/32\n".to_vec()),
        Some("/rules/bad.txt") => Ok(b"10.0.0.0/8\nnonsense\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// One file `f` that loads.
fn good(text: &str) -> Compiled {
    load(&[("f", text)]).unwrap_or_else(|errors| panic!("{text}\n{}", lines(&errors)))
}

/// The rules of the domain `d`, from the part under `descriptors:`.
fn rules(descriptors: &str) -> Compiled {
    good(&format!("domain: d\ndescriptors:\n{descriptors}"))
}

fn domain(compiled: &Compiled) -> &Domain {
    &compiled.rules.domains[b"d".as_slice()]
}

fn rule<'c>(compiled: &'c Compiled, name: &str) -> &'c Rule {
    let domain = domain(compiled);
    let names: Vec<_> = domain.rules.iter().map(|rule| &*rule.name).collect();
    domain.rules.iter().find(|rule| &*rule.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

fn names(compiled: &Compiled) -> Vec<&str> {
    domain(compiled).rules.iter().map(|rule| &*rule.name).collect()
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Limits in one line: name, count and window of each, and the algorithm unless it is the usual one.
fn limits(rule: &Rule) -> String {
    let limits = rule.limits().iter().map(|limit| {
        let shadow = if limit.shadow { " shadow" } else { "" };
        let algorithm = match limit.limit.algorithm {
            Algorithm::FixedWindow => String::new(),
            other => format!(" {other:?}"),
        };
        format!("{}={}/{}{algorithm}{shadow}", limit.name, limit.limit.count, limit.limit.window.identity())
    });
    limits.collect::<Vec<_>>().join(", ")
}
