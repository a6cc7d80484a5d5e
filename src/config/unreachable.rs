//! Rules that never match: what is looked for before them takes every value that they would.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::{
    report::{Report, Spot},
    rule::{Child, Draft},
};
use crate::rules::{Matcher, address::Address, pattern::Pattern};

/// Looks at the rules of one level beside each other. What came through `extends` may well be hidden.
pub(super) fn level(children: &[Child], drafts: &[Draft], report: &mut Report) {
    let all = || children.iter().map(|child| (&drafts[child.draft.0], child.taken_over));
    let may_hide = |draft: &Draft| {
        let first = draft.matching.matchers.first();
        matches!(first, Some((_, Matcher::Pattern(_) | Matcher::Network(_))))
    };
    if children.len() < 2 || !all().any(|(draft, _)| may_hide(draft)) {
        return;
    }
    let mut keys: HashMap<&str, OfKey<'_>> = HashMap::new();
    for (draft, taken_over) in all() {
        keys.entry(&draft.key).or_default().add(draft, taken_over);
    }
    for key in keys.into_values() {
        patterns(&key, report);
        networks(&key, report);
    }
}

/// The rules of one key.
#[derive(Default)]
struct OfKey<'d> {
    /// In the order in which they are tried; key-only rules match what all of these leave.
    patterns: Vec<(&'d Draft, Option<&'d Pattern>)>,
    any: Option<&'d Draft>,
    networks: Vec<(IpNet, &'d Draft)>,
    /// Exact values that are addresses: they are looked for before any network.
    addresses: Vec<IpNet>,
    /// Rules that came through `extends`.
    taken_over: HashSet<Spot>,
}

impl<'d> OfKey<'d> {
    fn add(&mut self, draft: &'d Draft, taken_over: bool) {
        if taken_over {
            self.taken_over.insert(draft.spot);
        }
        for (_, matcher) in &draft.matching.matchers {
            match matcher {
                Matcher::Any => self.any = Some(draft),
                Matcher::Pattern(pattern) => self.patterns.push((draft, Some(pattern))),
                Matcher::Network(network) => self.networks.push((*network, draft)),
                Matcher::Value(value) => {
                    self.addresses.extend(Address::parse(value).map(|address| IpNet::from(address.ip())));
                }
                Matcher::Path(_) => {}
            }
        }
    }

    fn is_own(&self, draft: &Draft) -> bool {
        !self.taken_over.contains(&draft.spot)
    }
}

/// Patterns are tried in their order, and before the key alone.
fn patterns(key: &OfKey<'_>, report: &mut Report) {
    /// Every rule is held against so many others at most: loading stays linear.
    const EARLIER_MAX: usize = 32;
    let any = key.any.map(|draft| (draft, None));
    let mut earlier: Vec<(&Draft, &Pattern)> = Vec::new();
    for (draft, pattern) in key.patterns.iter().copied().chain(any) {
        let covers = |wide: &Pattern| pattern.map_or_else(|| wide.matches_all(), |narrow| wide.covers(narrow));
        if let Some((hides, _)) = earlier.iter().find(|(_, wide)| covers(wide)).filter(|_| key.is_own(draft)) {
            let place = report.place(hides.spot);
            let message =
                format!("this rule never matches: the one at {place} is tried before and takes all of its values");
            let help = pattern.map(|_| "the narrower one comes first".to_owned());
            report.warning(draft.spot, message, help);
        }
        if earlier.len() < EARLIER_MAX {
            earlier.extend(pattern.map(|pattern| (draft, pattern)));
        }
    }
}

/// The longest network wins, and an exact address before it: those inside of a network may leave nothing of it.
fn networks(key: &OfKey<'_>, report: &mut Report) {
    let mut places: Vec<(IpNet, Option<&Draft>)> =
        key.networks.iter().map(|(net, draft)| (*net, Some(*draft))).collect();
    places.extend(key.addresses.iter().map(|address| (*address, None)));
    // Each before those inside of it, an exact address after the network of it alone.
    places.sort_by_key(|(net, draft)| (net.network(), net.prefix_len(), draft.is_none()));
    let mut reached: HashMap<Spot, bool> = HashMap::new();
    for (at, (net, draft)) in places.iter().enumerate() {
        if let Some(draft) = draft.filter(|draft| key.is_own(draft)) {
            *reached.entry(draft.spot).or_default() |= !is_used_up(*net, &places[at + 1..]);
        }
    }
    for spot in reached.into_iter().filter(|(_, reached)| !reached).map(|(spot, _)| spot) {
        let message = "this rule never matches: narrower networks and addresses take all that it has";
        report.warning(spot, message, None);
    }
}

/// Whether what follows `network` in the order of networks takes all of it. Networks that meet stand in each other, so the
/// outermost ones inside lie beside each other.
fn is_used_up(network: IpNet, following: &[(IpNet, Option<&Draft>)]) -> bool {
    let inside = following.iter().map(|(inner, _)| *inner).take_while(|inner| network.contains(inner));
    let mut from = network.network();
    for inner in inside {
        if inner.network() > from {
            return false;
        }
        if inner.network() < from {
            // It stands in the one before.
            continue;
        }
        match after(inner.broadcast()).filter(|beyond| network.contains(beyond)) {
            Some(beyond) => from = beyond,
            None => return true,
        }
    }
    false
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}
