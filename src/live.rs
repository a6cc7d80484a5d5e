//! The rules that decide now: one generation, replaced whole.

use std::{ops::Deref, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};
use hashbrown::HashMap;

use crate::{
    render::{Response, usage_page::UsagePages},
    rules::{Orders, Rules},
    telemetry::{compat, decisions::Decisions},
};

/// What decides now: the rules, and what people ordered beside them.
#[derive(Debug)]
pub struct Generation {
    pub set: Arc<RuleSet>,
    /// By domain; only those about which there are any.
    pub orders: HashMap<Box<[u8]>, Orders>,
}

impl Deref for Generation {
    type Target = RuleSet;

    fn deref(&self) -> &RuleSet {
        &self.set
    }
}

impl Generation {
    /// The orders about a domain, if there are any.
    pub fn orders_of(&self, domain: &[u8]) -> Option<&Orders> {
        // Nearly always there are none at all, and then nothing is hashed.
        if self.orders.is_empty() { None } else { self.orders.get(domain) }
    }
}

/// One complete rule set, and what belongs to it.
#[derive(Debug)]
pub struct RuleSet {
    /// From 1, counted since the start.
    pub number: u64,
    /// Of the files' names and texts: equal on replicas that decide alike. Hexadecimal.
    pub hash: String,
    pub rules: Rules,
    /// What rules answer, by [`Rule::response`](crate::rules::Rule::response).
    pub responses: Vec<Response>,
    /// Pages that show clients how they stand.
    pub usage_pages: UsagePages,
    pub decisions: Decisions,
    /// The same by the names of envoyproxy/ratelimit; None unless `compat_metrics`.
    pub compat: Option<compat::Charges>,
}

impl RuleSet {
    /// Brings the series about decisions up to what these rules decided; to be done before anybody reads them.
    pub fn tell_decisions(&self) {
        self.decisions.tell(&self.rules);
        if let Some(compat) = &self.compat {
            compat.tell(&self.rules);
        }
    }
}

/// Calls that began before the rules were replaced count to the end: what they counted is not lost.
impl Drop for RuleSet {
    fn drop(&mut self) {
        self.tell_decisions();
    }
}

/// The place where the current generation stands.
#[derive(Debug, Default)]
pub struct Live {
    current: ArcSwapOption<Generation>,
}

impl Live {
    /// The generation to decide a request by, from the first step to the last; None until rules were loaded once.
    ///
    /// A short-lived view: holding on to one keeps a whole rule set alive.
    pub fn snapshot(&self) -> Guard<Option<Arc<Generation>>> {
        self.current.load()
    }

    /// Makes `next` current and returns what it replaces, which whoever calls drops where it disturbs nobody.
    pub fn replace(&self, next: Arc<Generation>) -> Option<Arc<Generation>> {
        self.current.swap(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{
        charge::Verdicts,
        config::{DomainDefaults, RuleFile, compile},
        decision::Plan,
        rules::find::Found,
        telemetry::{Telemetry, decisions::Source},
    };

    #[test]
    fn what_was_decided_is_told_once_and_the_rest_when_the_rules_go() {
        let text = b"domain: shop\ndescriptors: [{key: a, limits: [1/day]}]".to_vec();
        let file = RuleFile { name: "f".into(), path: "f".into(), text };
        let no_lists = &mut |_: &Path| Err(io::ErrorKind::NotFound.into());
        let compiled = compile(&[file], DomainDefaults::default(), no_lists).unwrap();
        let telemetry = Telemetry::new(1);
        let set = RuleSet {
            number: 1,
            hash: String::new(),
            decisions: Decisions::new(Arc::clone(&telemetry), &compiled.rules),
            compat: None,
            rules: compiled.rules,
            responses: compiled.responses,
            usage_pages: compiled.usage_pages,
        };
        let plan = Plan { of_descriptor: std::iter::once(0..0).collect(), ..Plan::default() };
        let decide = || {
            let domain = set.rules.domains.get("shop".as_bytes());
            set.decisions.count(0, Source::Store, domain, &[Found::default()], &plan, &Verdicts::default());
        };
        let told =
            |count: u32| telemetry.render().contains(&format!("outcome=\"unmatched\",source=\"store\"}} {count}\n"));
        decide();
        decide();
        assert!(!told(2));
        set.tell_decisions();
        set.tell_decisions();
        assert!(told(2), "{}", telemetry.render());
        decide();
        drop(set);
        assert!(told(3), "{}", telemetry.render());
    }
}
