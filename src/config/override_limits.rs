//! What orders say in the rule language: limits and lengths of time.

use super::{
    fields::Fields,
    limits::{Limits, limits},
    rate::{self, Per},
    report::Report,
    rule::LIMITS,
    shape::Shape,
    yaml,
};
use crate::{
    rules::{Mode, RuleLimit, identity::window_salt, orders::OverrideLimits},
    units::Nanos,
};

const OVERRIDE: Shape =
    Shape { id: "override", name: "an override", keys: &[LIMITS], needs: &[], exclusive: &[], unavailable: &[] };

/// Reads `{"limits": [...]}`, which may be JSON or any other YAML; the list is that of a rule.
///
/// # Errors
///
/// What is wrong with it, all of it in one line.
pub fn override_limits(text: &str) -> Result<OverrideLimits, String> {
    let mut report = Report::default();
    let file = report.add_file("limits".into());
    let documents = yaml::documents(file, text.as_bytes(), &mut report);
    let list = documents
        .first()
        .and_then(|document| Some(limits(&Fields::of(document, &OVERRIDE, &mut report)?, &mut report)));
    let list = list.unwrap_or_default();
    if list.list.is_empty() && !report.failed() {
        return Err("an override needs at least one limit, for example \"5000/minute\"".to_owned());
    }
    let compiled = OverrideLimits {
        enforced: compile(&list, Mode::Enforce, &mut report),
        shadow: compile(&list, Mode::Shadow, &mut report),
    };
    if report.failed() {
        let said: Vec<String> = report
            .finish()
            .into_iter()
            .map(|it| it.help.map_or(it.message.clone(), |help| format!("{} ({help})", it.message)))
            .collect();
        return Err(said.join("; "));
    }
    Ok(compiled)
}

/// A length of time as rules write it (`30s`, `2h`, `7d`); None for what is none.
pub fn duration(text: &str) -> Option<Nanos> {
    match rate::per(text) {
        Ok(Per::Length(length)) => Some(length),
        _ => None,
    }
}

fn compile(limits: &Limits, mode: Mode, report: &mut Report) -> Box<[RuleLimit]> {
    let mut compiled: Vec<RuleLimit> = Vec::with_capacity(limits.list.len());
    for one in &limits.list {
        let shadow = one.is_shadow(mode);
        let salt = window_salt(&one.limit, shadow);
        if compiled.iter().any(|other| other.salt == salt || *other.name == *one.called()) {
            report.error(one.spot, format!("two limits are for the same window, or both called `{}`", one.called()));
        }
        let name = one.called().into();
        compiled.push(RuleLimit { name, written_name: None, limit: one.limit.clone(), shadow, salt });
    }
    compiled.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, DomainDefaults, RuleFile},
        rules::orders::Unsuited,
    };

    #[test]
    fn limits_are_read_as_in_a_rule() {
        let limits = override_limits(r#"{"limits": ["5000/minute", {"rate": "20/s", "mode": "shadow"}]}"#).unwrap();
        let said: Vec<_> = limits.enforced.iter().map(|it| (&*it.name, it.limit.count, it.shadow)).collect();
        assert_eq!(said, [("minute", 5_000, false), ("second", 20, true)]);
        assert!(limits.shadow.iter().all(|it| it.shadow));
        assert_ne!(limits.shadow[0].salt, limits.enforced[0].salt);
    }

    #[test]
    fn limits_suit_a_domain_that_counts_so_and_a_store_that_counts_so_far() {
        let suited = |limits: &str, count_denied, count_max| {
            let text = "domain: d\ndescriptors: [{key: k, limits: [1/s]}]".into();
            let file = RuleFile { name: "f".into(), path: "f".into(), text };
            let defaults = DomainDefaults { count_denied, count_max, ..DomainDefaults::default() };
            let rules = config::compile(&[file], defaults, &mut |_| unreachable!()).unwrap().rules;
            let limits = override_limits(&format!("{{\"limits\": [{limits}]}}")).unwrap();
            limits.suit(&rules, &rules.domains[&b"d"[..]])
        };
        let bucket = r#"{"rate": "1/s", "algorithm": "token_bucket", "burst": 11}"#;
        assert_eq!(suited(bucket, false, None), Ok(()));
        assert_eq!(suited(bucket, true, None), Err(Unsuited::NotFixed));
        assert_eq!(suited("\"11/s\"", true, Some(11)), Ok(()));
        for limits in [bucket, "\"11/s\""] {
            assert_eq!(suited(limits, false, Some(10)), Err(Unsuited::TooLarge { max: 10 }), "{limits}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, said) in [
            (r#"{"limits": []}"#, "an override needs at least one limit"),
            (r#"{"limits": ["5/minut"]}"#, "minut"),
            (r#"{"limits": ["5/minute", "6/60s"]}"#, "same window"),
            (r#"{"limits": ["5/minute", "x"]}"#, "x"),
            (r#"{"limits": "5/minute"}"#, "list"),
            (r#"{"limit": ["5/minute"]}"#, "limit"),
            ("", "at least one limit"),
        ] {
            let error = override_limits(text).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
