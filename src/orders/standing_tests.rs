//! Records that replicas tell to each other.

use proptest::prelude::*;

use super::*;
use crate::units::Nanos;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Nanos = Nanos::from_secs(3_600);

fn about(value: &str, prefix: bool) -> About {
    let entry = (b"api_key".as_slice().into(), value.as_bytes().into());
    About { domain: "shop".into(), entries: [entry].into(), prefix }
}

fn instead(value: &str, limits: &str, until: Timestamp) -> Order {
    Order::Override(OverrideOrder { about: about(value, false), limits: limits.into(), until })
}

fn blocked(value: &str, until: Timestamp) -> Order {
    Order::Block(BlockOrder { about: about(value, true), until })
}

/// As it comes from another replica.
fn heard(record: &Record) -> Record {
    entry::decode(&entry::encode(record.order.name(), record), NOW).expect("what was written can be read")
}

/// What stands under each name, and how late it was written.
fn told(standing: &Standing) -> Vec<(u128, u64, Timestamp, Vec<u8>)> {
    let mut told: Vec<_> = standing.records.iter().collect();
    told.sort_by_key(|(name, _)| **name);
    let line = |(name, it): (&u128, &Record)| (*name, it.stamp, it.kept_until, entry::bytes_of(&it.order));
    told.into_iter().map(line).collect()
}

/// Of few names, stamps and contents, so that many of them meet.
fn any_record() -> impl Strategy<Value = Record> {
    let about =
        (prop::sample::select(vec!["acme", "beta"]), any::<bool>()).prop_map(|(value, prefix)| about(value, prefix));
    let until = (1_u64..4).prop_map(|hours| NOW.plus(Nanos(hours * HOUR.0)));
    (about, until, 0_u8..6, 1_u64..5).prop_map(|(about, until, what, stamp)| {
        let last_met_secs = Arc::default();
        let order = match what {
            0 => Order::Override(OverrideOrder { about, limits: "1".into(), until }),
            1 => Order::Override(OverrideOrder { about, limits: "2".into(), until }),
            2 => Order::Block(BlockOrder { about, until }),
            3 => Order::Reset(ResetOrder { about, mark: u128::from(until.0), until, last_met_secs }),
            4 => Order::Deleted(Deletion { kind: Kind::Override, about }),
            _ => Order::Deleted(Deletion { kind: Kind::Block, about }),
        };
        Record { order, stamp, kept_until: until, told: Told::Told }
    })
}

proptest! {
    #[test]
    fn whoever_has_heard_of_everything_knows_the_same(
        records in prop::collection::vec(any_record(), 1..12),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in any::<prop::sample::Index>(),
    ) {
        let mut once = Standing::default();
        for record in &records {
            once.merge(heard(record));
        }
        // The same in another order, some of it twice.
        let mut twice = Standing::default();
        let start = order.index(records.len());
        let others = again.iter().map(|index| index.get(&records));
        for record in others.chain(records[start..].iter().rev()).chain(&records[..start]) {
            twice.merge(heard(record));
        }
        prop_assert_eq!(told(&once), told(&twice));
        // Nothing is left to tell, and of each name the latest stands.
        for (name, stamp, kept_until, bytes) in told(&once) {
            let of_name = || records.iter().filter(|record| record.order.name() == name);
            let latest = of_name().map(|record| (record.stamp, entry::bytes_of(&record.order))).max();
            prop_assert_eq!(latest, Some((stamp, bytes)));
            prop_assert_eq!(of_name().map(|record| record.kept_until).max(), Some(kept_until));
        }
        // Replicas that tell each other what they know have nothing new to say.
        for record in twice.records.values() {
            prop_assert_eq!(once.merge(heard(record)), Merged::Unchanged);
        }
    }
}

#[test]
fn an_order_is_later_than_what_it_replaces_whatever_the_clock_says() {
    let mut standing = Standing::default();
    standing.write(NOW.plus(HOUR), instead("acme", "1", NOW.plus(HOUR)));
    let first = standing.records()[0].clone();
    standing.write(NOW, instead("acme", "2", NOW.plus(HOUR)));
    assert_eq!(standing.records()[0].stamp, first.stamp + 1);
    standing.was_told(first.order.name(), first.stamp + 1);
    assert_eq!(standing.merge(heard(&first)), Merged::Unchanged, "the older one comes late");
    assert_eq!(standing.untold(true).count(), 1, "and whoever told it is to hear of the later");
}

#[test]
fn what_was_taken_back_stays_so_until_the_last_of_its_name_would_have_ended() {
    let long = NOW.plus(Nanos(3 * HOUR.0));
    let mut standing = Standing::default();
    standing.write(NOW, blocked("acme", long));
    let old = standing.records()[0].clone();
    standing.write(NOW, blocked("acme", NOW.plus(HOUR)));
    assert_eq!(standing.delete(NOW, Kind::Block, |_| true), 1);
    assert_eq!(standing.delete(NOW, Kind::Block, |_| true), 0);
    let late = NOW.plus(Nanos(2 * HOUR.0));
    assert_eq!(standing.forget(late), Forgotten::default());
    assert_eq!(standing.merge(heard(&old)), Merged::Unchanged);
    assert_eq!(standing.of_kind(Kind::Block, late).count(), 0);
    assert_eq!(standing.forget(long), Forgotten { over: vec![old.order.name()], ..Forgotten::default() });
    assert!(standing.records().is_empty());
}

#[test]
fn orders_end_by_themselves_and_each_kind_has_names_of_its_own() {
    let mut standing = Standing::default();
    standing.write(NOW, instead("acme", "1", NOW.plus(HOUR)));
    standing.write(NOW, blocked("acme", NOW.plus(Nanos(2 * HOUR.0))));
    standing.write(NOW, Order::Block(BlockOrder { about: about("acme", false), until: NOW.plus(HOUR) }));
    assert_eq!([Kind::Override, Kind::Block].map(|kind| standing.count(kind, NOW)), [1, 2]);
    let forgotten = standing.forget(NOW.plus(HOUR));
    assert_eq!((forgotten.over.len(), forgotten.let_go.len(), forgotten.orders), (2, 0, true));
    assert_eq!([Kind::Override, Kind::Block].map(|kind| standing.count(kind, NOW)), [0, 1]);
}

#[test]
fn a_reset_that_is_told_again_stays_the_one_that_requests_meet() {
    let mut standing = Standing::default();
    let last_met_secs = Arc::new(AtomicU64::new(1));
    let reset = ResetOrder {
        about: about("acme", true),
        mark: 7,
        until: NOW.plus(HOUR),
        last_met_secs: Arc::clone(&last_met_secs),
    };
    standing.write(NOW, Order::Reset(reset));
    let mut again = heard(standing.records()[0]);
    again.stamp += 5;
    assert_eq!(standing.merge(again), Merged::Unchanged);
    let Order::Reset(reset) = &standing.records()[0].order else { panic!() };
    assert!(Arc::ptr_eq(&reset.last_met_secs, &last_met_secs));
}

#[test]
fn entries_that_are_none_of_ours_are_not_taken_for_orders() {
    let record = Record { order: blocked("acme", NOW), stamp: 1, kept_until: NOW, told: Told::Told };
    let good = entry::encode(record.order.name(), &record);
    assert!(entry::decode(&good, NOW).is_some());
    let entry = |bytes: &str| crate::store::redis::Entry { bytes: bytes.as_bytes().into(), ..good.clone() };
    for bytes in [
        "",
        "{}",
        "[]",
        "\"block\"",
        r#"{"feast": {}}"#,
        r#"{"block": {"about": {"domain": "shop", "descriptor": [], "prefix": true}, "until_ns": 1}}"#,
        // Another's name.
        r#"{"block": {"about": {"domain": "shop", "descriptor": [["api_key", "beta"]], "prefix": true}, "until_ns": 1}}"#,
        r#"{"reset": {"about": {"domain": "shop", "descriptor": [["api_key", "acme"]], "prefix": true}, "mark": "x"}}"#,
    ] {
        assert!(entry::decode(&entry(bytes), NOW).is_none(), "{bytes}");
    }
    assert!(entry::decode(&entry(&"[".repeat(100_000)), NOW).is_none());
}

#[test]
fn deletions_beyond_their_bound_go_the_first_to_end_first() {
    let mut standing = Standing::default();
    for number in 0..=ORDERS_MAX as u64 {
        standing.write(NOW, instead(&number.to_string(), "1", NOW.plus(HOUR).plus(Nanos(number))));
    }
    standing.delete(NOW, Kind::Override, |_| true);
    let first = instead("0", "1", NOW).name();
    let stamp = standing.records().iter().find(|record| record.order.name() == first).unwrap().stamp;
    assert_eq!(standing.forget(NOW), Forgotten { let_go: vec![(first, stamp)], ..Forgotten::default() });
}
