use OnStoreError::{Allow, Deny, Local};
use proptest::prelude::*;

use super::*;
use crate::{
    charge::{CounterKey, Gate, GateVerdict, Way},
    limit::Window,
    store::memory::Memory,
    units::{Nanos, Timestamp},
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn limit(count: u64, algorithm: Algorithm) -> Limit {
    Limit { count, window: Window::Length(Nanos::from_secs(60)), algorithm }
}

fn fixed(count: u64) -> Limit {
    limit(count, Algorithm::FixedWindow)
}

fn key(number: u128) -> CounterKey {
    CounterKey((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

fn charge(descriptor: u32, limit: &Limit, role: Role, ask: Ask) -> Charge<'_> {
    Charge { key: key(u128::from(descriptor)), limit, ask, role, descriptor, group: 0 }
}

fn request<'p>(list: impl IntoIterator<Item = Charge<'p>>) -> Charges<'p> {
    Charges { list: list.into_iter().collect(), ..Charges::default() }
}

/// Decided by `store` as one of `replicas`.
fn decided(store: &Memory, charges: &Charges<'_>, policies: &[OnStoreError], replicas: u32) -> Verdicts {
    decide_without_store(charges, policies, replicas, |local| store.charge(NOW, local))
}

fn used(store: &Memory, charge: &Charge<'_>) -> u64 {
    store.charge(NOW, &request([Charge { ask: Ask::Look, ..*charge }])).list[0].standing.used
}

#[test]
fn a_share_is_the_limits_part_rounded_up() {
    for (count, replicas, expected) in [
        (0, 3, 0),
        (1, 3, 1),
        (9, 3, 3),
        (10, 3, 4),
        (10, 1, 10),
        (10, 0, 10),
        (u64::MAX, 1, u64::MAX),
        (5, u32::MAX, 1),
    ] {
        assert_eq!(share(&fixed(count), replicas), fixed(expected), "{count} among {replicas}");
        let bucket = |count| limit(count, Algorithm::TokenBucket { burst: count });
        assert_eq!(share(&bucket(count), replicas), bucket(expected), "{count} among {replicas}");
    }
}

/// Takes one hit of every descriptor: its role, what its rule does without the store, and the limit, of which nothing is
/// used. Whether it is refused, whose charges fit, and of which a hit is counted here.
#[test]
fn every_role_does_what_its_rule_says() {
    use Role::{Enforced, Overdraw, Quota, Shadow};
    type Row = (&'static [(Role, OnStoreError, u64)], bool, &'static [bool], &'static [u64]);
    let rows: [Row; 16] = [
        (&[(Enforced, Local, 1)], false, &[true], &[1]),
        (&[(Enforced, Local, 0)], true, &[false], &[0]),
        (&[(Enforced, Allow, 1)], false, &[true], &[0]),
        (&[(Enforced, Allow, 0)], true, &[false], &[0]),
        (&[(Enforced, Deny, 1)], true, &[false], &[0]),
        (&[(Enforced, Local, 1), (Enforced, Allow, 1)], false, &[true, true], &[1, 0]),
        (&[(Enforced, Local, 1), (Enforced, Deny, 1)], true, &[true, false], &[0, 0]),
        (&[(Enforced, Local, 0), (Enforced, Allow, 1)], true, &[false, true], &[0, 0]),
        (&[(Overdraw, Deny, 1)], true, &[false], &[0]),
        (&[(Shadow, Deny, 1), (Enforced, Local, 1)], false, &[false, true], &[0, 1]),
        (&[(Shadow, Deny, 1), (Enforced, Deny, 1)], true, &[true, false], &[0, 0]),
        (&[(Quota, Deny, 1)], true, &[false], &[0]),
        (&[(Quota, Deny, 1), (Quota, Local, 1)], false, &[false, true], &[0, 1]),
        (&[(Quota, Deny, 1), (Quota, Local, 0)], true, &[false, false], &[0, 0]),
        (&[(Quota, Deny, 1), (Quota, Allow, 1)], false, &[false, true], &[0, 0]),
        (&[(Quota, Local, 0), (Quota, Allow, 1)], false, &[false, true], &[0, 0]),
    ];
    for (row, refused, fits, counted) in rows {
        let limits: Vec<Limit> = row.iter().map(|&(_, _, count)| fixed(count)).collect();
        let list = (0..).zip(row).zip(&limits);
        let charges =
            request(list.map(|((descriptor, &(role, ..)), limit)| charge(descriptor, limit, role, Ask::Take(1))));
        let policies: Vec<OnStoreError> = row.iter().map(|&(_, policy, _)| policy).collect();
        let store = Memory::new(1_000);
        let verdicts = decided(&store, &charges, &policies, 1);
        assert_eq!(verdicts.refused, refused, "{row:?}");
        assert_eq!(verdicts.list.iter().map(|verdict| verdict.fits).collect::<Vec<_>>(), fits, "{row:?}");
        assert_eq!(charges.list.iter().map(|charge| used(&store, charge)).collect::<Vec<_>>(), counted, "{row:?}");
    }
}

#[test]
fn what_is_decided_by_nobody_is_told_in_figures_that_make_sense() {
    let limit = limit(60, Algorithm::TokenBucket { burst: 7 });
    let charges = request([charge(0, &limit, Role::Enforced, Ask::Take(100))]);
    let store = Memory::new(1_000);
    let allowed = Standing { used: 0, available: 7, reset: Nanos::ZERO };
    let verdict = decided(&store, &charges, &[Allow], 3).list[0];
    assert_eq!(verdict, Verdict { fits: true, standing: allowed, wait: Wait::None });
    let denied = Standing { used: 7, available: 0, reset: Nanos::SECOND };
    let verdict = decided(&store, &charges, &[Deny], 3).list[0];
    assert_eq!(verdict, Verdict { fits: false, standing: denied, wait: Wait::For(Nanos::SECOND) });
}

#[test]
fn a_cost_above_the_share_is_told_to_come_again_and_one_above_the_limit_is_not() {
    let (limit, nothing) = (fixed(10), fixed(0));
    for (limit, hits, wait) in [
        (&limit, 2, Wait::None),
        (&limit, 3, Wait::For(Nanos::SECOND)),
        (&limit, 10, Wait::For(Nanos::SECOND)),
        (&limit, 11, Wait::Never),
        (&nothing, 1, Wait::Never),
    ] {
        let charges = request([charge(0, limit, Role::Enforced, Ask::Take(hits))]);
        assert_eq!(decided(&Memory::new(1_000), &charges, &[Local], 5).list[0].wait, wait, "{hits} of {}", limit.count);
    }
}

#[test]
fn a_refund_is_granted_whatever_its_rule_says() {
    let limit = fixed(10);
    for policy in [Local, Allow, Deny] {
        for role in [Role::Enforced, Role::Quota] {
            let charges = request([charge(0, &limit, role, Ask::GiveBack(1))]);
            let verdicts = decided(&Memory::new(1_000), &charges, &[policy], 1);
            assert!(!verdicts.refused && verdicts.list[0].fits, "{policy:?} {role:?}");
        }
    }
}

#[test]
fn blocks_start_and_stand_in_this_process() {
    let limit = fixed(1);
    let starts = Some(Nanos::from_secs(90));
    let gate = Gate { key: key(99), descriptor: 0, starts, ordered_until: Timestamp::EPOCH };
    let with =
        |ask| Charges { gates: SmallVec::from_iter([gate]), ..request([charge(0, &limit, Role::Enforced, ask)]) };
    let store = Memory::new(1_000);
    let take = |policy| decided(&store, &with(Ask::Take(1)), &[policy], 3).gates[0];
    let rest = Nanos::from_secs(90);
    assert_eq!(take(Deny), GateVerdict::Open, "a refusal for the store's absence starts none");
    assert_eq!([take(Local), take(Local)], [GateVerdict::Open, GateVerdict::Started(rest)]);
    assert_eq!([take(Local), take(Deny)], [GateVerdict::Blocked(rest); 2]);
    let verdicts = decided(&store, &with(Ask::Take(1)), &[Allow], 3);
    assert!(verdicts.refused && verdicts.list[0].fits, "refused for its block alone");
}

/// A request as a test writes it: for each descriptor its counter, role, ask, number, and whether it may be blocked.
type Rows = Vec<(u128, Role, Ask, usize, bool)>;

fn rows() -> impl Strategy<Value = Rows> {
    let role = prop::sample::select(vec![Role::Enforced, Role::Enforced, Role::Quota, Role::Overdraw, Role::Shadow]);
    let ask = prop_oneof![
        5 => (1u64..5).prop_map(Ask::Take),
        1 => Just(Ask::Look),
        1 => (0u64..4).prop_map(Ask::GiveBack),
        1 => Just(Ask::Take(u64::MAX)),
    ];
    prop::collection::vec((0u128..3, role, ask, 0usize..9, any::<bool>()), 0..4)
}

fn charges<'p>(rows: &Rows, limits: &'p [Limit], way: Way) -> Charges<'p> {
    let mut charges = Charges { way, ..Charges::default() };
    for (descriptor, &(counter, role, ask, limit, blocks)) in (0..).zip(rows) {
        let own = if role == Role::Shadow { 10 } else { 0 };
        charges.list.push(Charge { key: key(counter + own), limit: &limits[limit], ask, role, descriptor, group: 0 });
        if blocks && way == Way::AllOrNone {
            let starts = (limit % 2 == 0).then_some(Nanos::from_secs(5));
            charges.gates.push(Gate { key: key(counter + 20), descriptor, starts, ordered_until: Timestamp::EPOCH });
        }
    }
    charges
}

fn policy() -> impl Strategy<Value = OnStoreError> {
    prop::sample::select(vec![Local, Allow, Deny])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn one_replica_that_counts_everything_answers_as_a_memory_store(
        trace in prop::collection::vec((0u64..20, rows()), 1..40),
        algorithm in prop::sample::select(vec![
            Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 4 },
        ]),
        way in prop::sample::select(vec![Way::AllOrNone, Way::EachAlone]),
    ) {
        let limits: Vec<Limit> = (0..9).map(|count| limit(count, algorithm)).collect();
        let (plain, away, mut secs) = (Memory::new(1_000), Memory::new(1_000), 1_800_000_000);
        for (pause, rows) in trace {
            secs += pause;
            let now = Timestamp::from_secs(secs);
            let charges = charges(&rows, &limits, way);
            let policies = vec![Local; charges.list.len()];
            let verdicts = decide_without_store(&charges, &policies, 1, |local| away.charge(now, local));
            prop_assert_eq!(verdicts, plain.charge(now, &charges), "at {} s: {:?}", secs, rows);
        }
    }

    /// Where every rule does the same: then what any other would do with its charges does not matter either.
    #[test]
    fn what_is_allowed_or_denied_leaves_no_trace(trace in prop::collection::vec(rows(), 1..20), policy in policy()) {
        let limits: Vec<Limit> = (1..10).map(fixed).collect();
        let store = Memory::new(1_000);
        for rows in trace {
            let charges = charges(&rows, &limits, Way::AllOrNone);
            let verdicts = decided(&store, &charges, &vec![policy; rows.len()], 3);
            let can_refuse = |charge: &Charge<'_>| charge.role != Role::Shadow && !matches!(charge.ask, Ask::GiveBack(_));
            let quota_refund = |charge: &Charge<'_>| charge.role == Role::Quota && !can_refuse(charge);
            let refusing = |charge: &Charge<'_>| {
                can_refuse(charge) && (charge.role != Role::Quota || !charges.list.iter().any(quota_refund))
            };
            match policy {
                Allow => prop_assert!(!verdicts.refused && verdicts.list.iter().all(|verdict| verdict.fits)),
                Deny => prop_assert_eq!(verdicts.refused, charges.list.iter().any(refusing), "{:?}", rows),
                Local => continue,
            }
            prop_assert_eq!(store.fill().counters, 0);
        }
    }

    #[test]
    fn replicas_together_admit_less_than_one_hit_each_above_the_limit(
        count in 0u64..100, replicas in 1u32..9, calls in prop::collection::vec((0usize..9, 1u64..6), 0..400),
    ) {
        let limit = fixed(count);
        let stores: Vec<Memory> = (0..replicas).map(|_| Memory::new(100)).collect();
        let mut admitted = 0;
        for (replica, hits) in calls {
            let charges = request([charge(0, &limit, Role::Enforced, Ask::Take(hits))]);
            let verdicts = decided(&stores[replica % stores.len()], &charges, &[Local], replicas);
            admitted += if verdicts.refused { 0 } else { hits };
        }
        prop_assert!(admitted < count + u64::from(replicas));
        // And one hit at a time the whole limit can be had.
        for store in &stores {
            let charges = request([charge(0, &limit, Role::Enforced, Ask::Take(1))]);
            admitted += (0..count).filter(|_| !decided(store, &charges, &[Local], replicas).refused).count() as u64;
        }
        prop_assert!((count..count + u64::from(replicas)).contains(&admitted));
    }
}
