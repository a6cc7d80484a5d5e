//! What rules do while the store is away: each charge as its rule's [`OnStoreError`] says.
//!
//! | | decided | by |
//! |---|---|---|
//! | `local` | under this replica's share of the limit, ⌈limit / replicas⌉ | the counters of this process |
//! | `allow` | passes, and nothing is used | nobody |
//! | `deny` | refused for [`STORE_AWAY_WAIT`] | nobody |
//!
//! All hang together as ever: what a `deny` refuses charges nothing locally either, and gates are looked at, and closed,
//! in this process. N replicas together admit **at most limit + N − 1** a window: each less than one hit above its part.
//!
//! Three things no absence changes: a refund is granted, a shadow limit refuses nobody, and a limit of 0 refuses
//! everything, whatever anybody has counted.

use smallvec::SmallVec;

use crate::{
    bounds::STORE_AWAY_WAIT,
    charge::{Charge, Charges, Role, Verdict, Verdicts},
    limit::{Algorithm, Limit, Standing, Wait},
    request::Ask,
    rules::OnStoreError,
};

/// Decides `charges` without the store, with what `local` makes of those that are this process's to count.
///
/// `on_store_error` has one a charge, in the same order; charges of one descriptor are of one rule, and do the same.
/// `local` is the charge of a memory store.
pub fn decide_without_store(
    charges: &Charges<'_>,
    on_store_error: &[OnStoreError],
    replicas: u32,
    local: impl FnOnce(&Charges<'_>) -> Verdicts,
) -> Verdicts {
    debug_assert_eq!(charges.list.len(), on_store_error.len());
    let fates: SmallVec<[Fate; 8]> =
        charges.list.iter().zip(on_store_error).map(|(charge, &policy)| Fate::of(charge, policy)).collect();
    let shares: SmallVec<[Limit; 8]> = charges.list.iter().map(|charge| share(charge.limit, replicas)).collect();
    let list = charges.list.iter().zip(&fates).zip(&shares);
    let mut verdicts = local(&Charges {
        way: charges.way,
        denied: charges.denied || refuses(charges, &fates),
        quota_met: charges.quota_met,
        list: list.map(|((charge, &fate), share)| counted_here(charge, fate, share)).collect(),
        gates: charges.gates.clone(),
    });
    for (((charge, fate), share), verdict) in charges.list.iter().zip(fates).zip(&shares).zip(&mut verdicts.list) {
        *verdict = match fate {
            Fate::Counted => awaiting_the_store(charge, share, *verdict),
            Fate::Passes => passed(charge.limit),
            // As on any refused request: a shadow limit is not looked at.
            Fate::Refused if charge.role == Role::Shadow && verdicts.refused => passed(charge.limit),
            Fate::Refused => refused(charge.limit),
        };
    }
    verdicts
}

/// What becomes of one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Counted,
    Passes,
    Refused,
}

impl Fate {
    fn of(charge: &Charge<'_>, policy: OnStoreError) -> Self {
        match policy {
            OnStoreError::Local => Self::Counted,
            // It holds no counter; this process knows of it what the store does.
            OnStoreError::Allow if charge.limit.capacity() == 0 => Self::Counted,
            OnStoreError::Deny if !matches!(charge.ask, Ask::GiveBack(_)) => Self::Refused,
            OnStoreError::Allow | OnStoreError::Deny => Self::Passes,
        }
    }
}

/// This replica's share of `limit`.
fn share(limit: &Limit, replicas: u32) -> Limit {
    let part = |count: u64| count.div_ceil(u64::from(replicas.max(1)));
    let algorithm = match limit.algorithm {
        Algorithm::TokenBucket { burst } => Algorithm::TokenBucket { burst: part(burst) },
        algorithm @ (Algorithm::FixedWindow | Algorithm::SlidingWindow) => algorithm,
    };
    Limit { count: part(limit.count), window: limit.window.clone(), algorithm }
}

/// Whether those that are refused refuse the whole request: quotas do where no other quota is there that may have room.
fn refuses(charges: &Charges<'_>, fates: &[Fate]) -> bool {
    let all = || charges.list.iter().map(|charge| charge.role).zip(fates);
    let refused = |role| all().any(|(it, &fate)| it == role && fate == Fate::Refused);
    let other_quota = || charges.quota_met || all().any(|(role, &fate)| role == Role::Quota && fate != Fate::Refused);
    refused(Role::Enforced) || refused(Role::Overdraw) || (refused(Role::Quota) && !other_quota())
}

/// `charge` as this process is to decide it. Those that it does not count stay in the list, as a refund of nothing: that
/// has room and leaves no trace.
fn counted_here<'p>(charge: &Charge<'_>, fate: Fate, share: &'p Limit) -> Charge<'p> {
    let (ask, role) = match (fate, charge.role) {
        (Fate::Counted, role) => (charge.ask, role),
        // It must not pass for a quota with room.
        (Fate::Refused, Role::Quota) => (Ask::GiveBack(0), Role::Shadow),
        (Fate::Passes | Fate::Refused, role) => (Ask::GiveBack(0), role),
    };
    let Charge { key, descriptor, group, .. } = *charge;
    Charge { key, limit: share, ask, role, descriptor, group }
}

/// What is more than the share but not more than the limit will fit when the store is back.
fn awaiting_the_store(charge: &Charge<'_>, share: &Limit, verdict: Verdict) -> Verdict {
    let whole = charge.limit.capacity();
    let fits_whole = share.capacity() < whole && !matches!(charge.ask, Ask::Take(hits) if hits > whole);
    let wait = if verdict.wait == Wait::Never && fits_whole { Wait::For(STORE_AWAY_WAIT) } else { verdict.wait };
    Verdict { wait, ..verdict }
}

fn passed(limit: &Limit) -> Verdict {
    let standing = Standing { used: 0, available: limit.capacity(), ..Standing::default() };
    Verdict { fits: true, standing, wait: Wait::None }
}

/// As good as used up until the store is back.
fn refused(limit: &Limit) -> Verdict {
    let standing = Standing { used: limit.capacity(), available: 0, reset: STORE_AWAY_WAIT };
    Verdict { fits: false, standing, wait: Wait::For(STORE_AWAY_WAIT) }
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
