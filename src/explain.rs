//! What would be decided about a request, and why: the walk of every descriptor, the counters as they stand, and the
//! answer. Nothing is charged.

use crate::{
    decision::{decide, plan},
    render::{Beside, Collected, Response, render},
    request::{Descriptor, Entry, Request},
    rules::{Orders, Rules, explain::Walk, find::Found, identity::HashKey},
    store::Store,
    units::Timestamp,
    usage::{Seen, WindowUsage},
};

/// By what a request is decided.
#[derive(Clone, Copy, Debug)]
pub struct By<'g> {
    pub rules: &'g Rules,
    /// What is ordered in the request's domain.
    pub orders: Option<&'g Orders>,
    /// What [`Rule::response`](crate::rules::Rule::response) points into.
    pub responses: &'g [Response],
}

/// A request, explained.
#[derive(Debug)]
pub struct Explained<'g> {
    pub refused: bool,
    /// Headers, body and metadata as they would be sent, from figures that do not count this request yet.
    pub answer: Collected,
    /// One a descriptor, in order.
    pub descriptors: Vec<Told<'g>>,
}

/// What becomes of one descriptor, and why.
#[derive(Debug)]
pub struct Told<'g> {
    /// None where no rule file names the domain.
    pub walk: Option<Walk<'g>>,
    pub refused: bool,
    /// An order put other windows in the place of the rule's.
    pub overridden: bool,
    /// The windows that decide it, as they stand.
    pub windows: Vec<WindowUsage>,
    /// Seconds for which it is blocked from now on, rounded up.
    pub blocked_secs: Option<u64>,
}

/// Explains a request of so many `descriptors` of `domain`, each of one hit.
pub async fn explain<'g>(
    by: By<'g>,
    store: &Store,
    hash_key: &HashKey,
    now: Timestamp,
    domain: &str,
    descriptors: &[Vec<Entry<'_>>],
) -> Explained<'g> {
    let request = looking(domain, descriptors);
    let domain = by.rules.domains.get(domain.as_bytes());
    let find = |entries: &Vec<Entry<'_>>| {
        domain.map(|domain| domain.find_under(by.orders, now, entries, None, hash_key)).unwrap_or_default()
    };
    let found: Vec<Found<'_>> = descriptors.iter().map(find).collect();
    let seen = Seen::at(store, now, domain, &found, plan(domain, &request, &found)).await;
    let decision = decide(seen.charged.now, domain, &found, &seen.plan, &seen.charged.verdicts);
    let mut answer = Collected::default();
    let beside = Beside { store: seen.charged.source.name(), repeats_request: by.rules.repeats_request };
    render(&decision, &request, by.responses, beside, &mut Vec::new(), &mut answer);
    let told = descriptors.iter().zip(&found).zip(&decision.statuses).enumerate();
    let told = told.map(|(index, ((entries, found), status))| Told {
        walk: domain.map(|domain| domain.explain(entries)),
        refused: status.refused,
        overridden: found.matched.as_ref().is_some_and(|matched| matched.overridden),
        windows: seen.windows(index),
        blocked_secs: seen.blocked_secs(index),
    });
    Explained { refused: decision.refused, descriptors: told.collect(), answer }
}

/// A request that only looks: would one hit more of each descriptor have room?
fn looking<'a>(domain: &'a str, descriptors: &[Vec<Entry<'a>>]) -> Request<'a> {
    let mut request = Request { domain: domain.as_bytes(), ..Request::default() };
    for entries in descriptors {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (first_entry, entry_count) = (number(request.entries.len()), number(entries.len()));
        request.descriptors.push(Descriptor { first_entry, entry_count, hits: Some(0), ..Descriptor::default() });
        request.entries.extend_from_slice(entries);
    }
    request
}
