//! Orders and rules put into force together: whenever either changes, both are compiled into one generation.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    About,
    standing::{Order, Standing},
};
use crate::{
    config::override_limits,
    live::{Generation, RuleSet},
    rules::{
        Domain, Orders, Rules,
        identity::HashKey,
        orders::{self, Override, Reset},
    },
    units::Timestamp,
};

/// The generation of `set` with `standing` orders in it, their times by our clock, which the store's is so much ahead of.
/// An order about a domain that has no rules now is passed over, and so is an override whose limits its domain or store
/// does not allow. Of two about the same, which replicas may write at once, the later holds.
pub(super) fn generation(set: Arc<RuleSet>, standing: &Standing, ahead_ns: i64, hash_key: &HashKey) -> Generation {
    let mut force = Force { rules: &set.rules, hash_key, orders: HashMap::new() };
    let by_us = |time: Timestamp| time.shifted(ahead_ns.saturating_neg());
    for record in standing.records() {
        match &record.order {
            Order::Override(order) => {
                let instead = |domain: &Domain| {
                    let limits = override_limits(&order.limits).ok()?;
                    limits.suit(&set.rules, domain).ok()?;
                    Some(Override { until: by_us(order.until), limits: Arc::new(limits) })
                };
                force.order(&order.about, |domain, at| at.instead = instead(domain));
            }
            Order::Block(order) => force.order(&order.about, |_, at| at.blocked_until = by_us(order.until)),
            Order::Reset(order) => {
                let reset = Reset { mark: order.mark, last_met_secs: Arc::clone(&order.last_met_secs) };
                force.order(&order.about, |_, at| at.reset = Some(reset));
            }
            Order::Deleted(_) => {}
        }
    }
    let orders = force.orders;
    Generation { set, orders }
}

struct Force<'f> {
    rules: &'f Rules,
    hash_key: &'f HashKey,
    orders: HashMap<Box<[u8]>, Orders>,
}

impl Force<'_> {
    fn order(&mut self, about: &About, set: impl FnOnce(&Domain, &mut orders::Order)) {
        let name = about.domain.as_bytes();
        let Some(domain) = self.rules.domains.get(name) else { return };
        let orders = self.orders.entry(name.into()).or_default();
        set(domain, orders.at(domain.order_name(&about.entries(), self.hash_key), about.reach()));
    }
}
