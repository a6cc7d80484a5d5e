//! What replicas tell each other, as the script merges it: entries whose meaning it does not know.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use tallygate::{
    bounds::{SHARED_ENTRIES_MAX, SHARED_PAGE_ENTRIES, SHARED_PAGE_MAX_BYTES},
    store::redis::{Entry, Exchange, Exchanged, Redis, Time, Told, door::Door},
    store_address::{StoreAddress, TlsFiles},
    units::{Nanos, Timestamp},
};
use tokio::runtime::{Builder, Runtime};

use crate::servers::RedisServer;

/// Longer than any pause of a busy machine: here nothing is late.
const DEADLINE: Duration = Duration::from_secs(30);
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOUR: Nanos = Nanos::from_secs(3_600);

/// Where the entries stand, as the manual says.
const BOOK: &str = "tallygate:{@house}:book";

struct Replica {
    runtime: Runtime,
    store: Redis,
}

impl Replica {
    fn of(server: &RedisServer) -> Self {
        let Ok(StoreAddress::Redis(address)) = StoreAddress::parse(&server.url()) else { panic!() };
        let store =
            Redis::new(Door::new(address, None, TlsFiles::default()).unwrap(), "tallygate:", 1, DEADLINE, Time::Calls);
        Self { runtime: Builder::new_current_thread().enable_all().build().unwrap(), store }
    }

    fn exchange(&self, now: Timestamp, asked: &Exchange) -> Exchanged {
        self.runtime.block_on(self.store.exchange(now, asked)).unwrap()
    }

    fn tell(&self, told: Vec<Told>) -> Exchanged {
        self.exchange(NOW, &Exchange { since: u64::MAX >> 11, told, ..Exchange::default() })
    }

    /// All that there is, a page at a time.
    fn read(&self) -> BTreeMap<u128, Entry> {
        let (mut all, mut since) = (BTreeMap::new(), 0);
        loop {
            let page = self.exchange(NOW, &Exchange { since, ..Exchange::default() });
            assert_eq!(page.strange, 0);
            assert!(page.entries.len() <= SHARED_PAGE_ENTRIES);
            let bytes: usize = page.entries.iter().map(|entry| entry.bytes.len()).sum();
            assert!(bytes <= SHARED_PAGE_MAX_BYTES || page.entries.len() == 1, "{bytes}");
            all.extend(page.entries.into_iter().map(|entry| (entry.name, entry)));
            since = page.seen;
            if !page.more {
                return all;
            }
        }
    }
}

fn entry(name: u128, stamp: u64, until: Timestamp, bytes: impl AsRef<[u8]>) -> Entry {
    Entry { name, stamp, until, bytes: bytes.as_ref().into() }
}

fn old(entry: Entry) -> Told {
    Told { entry, new: false }
}

/// Of few names and stamps, with bytes that sort otherwise in other languages.
fn any_entry() -> impl Strategy<Value = Entry> {
    let bytes = prop::sample::select(vec!["a", "B", "b", "ä", "aa", "a b", "", "\0", "a\n", "Z", "\u{ff}"]);
    (0_u128..4, 1_u64..4, 1_u64..4, bytes)
        .prop_map(|(name, stamp, hours, bytes)| entry(name, stamp, NOW.plus(Nanos(hours * HOUR.0)), bytes))
}

#[test]
fn the_latest_of_each_name_stays_whatever_is_told_in_whatever_order() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() });
    let calls = prop::collection::vec(prop::collection::vec(any_entry(), 0..6), 1..5);
    let tried = runner.run(&calls, |calls| {
        server.ask::<()>(&["FLUSHALL"]);
        let mut model: BTreeMap<u128, Entry> = BTreeMap::new();
        for told in calls {
            for theirs in &told {
                let ours = model.entry(theirs.name).or_insert_with(|| theirs.clone());
                let until = ours.until.max(theirs.until);
                if (ours.stamp, &ours.bytes) < (theirs.stamp, &theirs.bytes) {
                    *ours = theirs.clone();
                }
                ours.until = until;
            }
            replica.tell(told.into_iter().map(old).collect());
        }
        prop_assert_eq!(replica.read(), model);
        prop_assert_eq!(server.keys_without_expiry(), [""; 0]);
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn what_is_new_is_later_than_what_it_replaces_and_comes_back_with_its_stamp() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    let future = 4_000_000_000_000_000;
    replica.tell(vec![old(entry(1, future, NOW, "a"))]);
    let seen = replica.exchange(NOW, &Exchange::default()).seen;
    let told = vec![
        Told { entry: entry(1, 5, NOW, "b"), new: true },
        Told { entry: entry(2, 5, NOW, "c"), new: true },
        Told { entry: entry(3, future, NOW, "d"), new: true },
    ];
    let answer = replica.exchange(NOW, &Exchange { since: seen, told, ..Exchange::default() });
    let [one, two, three] = answer.entries.as_slice() else { panic!("{answer:?}") };
    assert_eq!((one.stamp, three.stamp, &*one.bytes), (future + 1, future, b"b".as_slice()));
    assert!((1_700_000_000_000_000..future).contains(&two.stamp), "the server's time: {}", two.stamp);
    let nothing = replica.exchange(NOW, &Exchange { since: answer.seen, ..Exchange::default() });
    assert_eq!((nothing.entries.len(), nothing.before, nothing.more), (0, answer.seen, false));
}

#[test]
fn whoever_has_seen_a_book_that_was_lost_is_told_so_and_given_all_there_is() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    let before = replica.tell(vec![old(entry(1, 1, NOW, "a"))]);
    server.ask::<()>(&["FLUSHALL"]);
    let told = vec![old(entry(2, 1, NOW, "b"))];
    let after = replica.exchange(NOW, &Exchange { since: before.seen, told, ..Exchange::default() });
    assert!(after.before < before.seen, "{after:?}");
    assert_eq!(before.first, before.seen);
    assert_ne!(after.first, before.first, "it is another book");
    assert!(after.seen > before.seen, "no number is given twice: {after:?}");
    assert_eq!(replica.read().into_keys().collect::<Vec<_>>(), [2]);
    // A failover to a server that had not got everything.
    server.ask::<()>(&["HSET", BOOK, "version", "1"]);
    server.ask::<()>(&["ZADD", "tallygate:{@house}:changes", "1", &format!("{:032x}", 2)]);
    let older = replica.exchange(NOW, &Exchange { since: after.seen, ..Exchange::default() });
    assert_eq!((older.before, older.entries.len()), (1, 1));
}

#[test]
fn a_book_whose_count_of_changes_was_lost_or_spoilt_is_a_lost_book() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    let names: Vec<_> = (0..=SHARED_PAGE_ENTRIES as u128).map(|name| old(entry(name, 1, NOW, "x"))).collect();
    let fill = || names.chunks(SHARED_PAGE_ENTRIES).map(|page| replica.tell(page.to_vec()).seen).max().unwrap();
    let spoil = |version: &str| {
        let seen = fill();
        assert_eq!(replica.read().len(), names.len());
        server.ask::<()>(&["HSET", BOOK, "version", version]);
        let asked = Exchange { since: seen, ..Exchange::default() };
        let lost = replica.exchange(NOW, &asked);
        assert_eq!((lost.before, lost.seen, lost.more, lost.entries.len()), (0, 0, false, 0), "{version}");
    };
    for version in ["0", "1", "x", "", "inf", "nan", "1e30", "9007199254740992", "1.5", "-5", "-inf"] {
        spoil(version);
    }
    fill();
    server.ask::<()>(&["HDEL", BOOK, "version"]);
    assert_eq!(replica.read().len(), 0);
    for score in ["inf", "1e17", "-1", "0"] {
        fill();
        server.ask::<()>(&["ZADD", "tallygate:{@house}:changes", score, &format!("{:032x}", 7)]);
        assert_eq!(replica.read().len(), 0, "{score}");
    }
    fill();
    assert_eq!(replica.read().len(), names.len());
    assert_eq!(server.keys_without_expiry(), [""; 0]);
}

#[test]
fn what_is_over_goes_and_nothing_else_does() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    replica.tell(vec![old(entry(1, 1, NOW, "a")), old(entry(2, 1, NOW.plus(HOUR), "b"))]);
    let over = || Exchange { over: vec![1, 2, 3], ..Exchange::default() };
    replica.exchange(Timestamp(NOW.0 - 1_000), &over());
    assert_eq!(replica.read().len(), 2);
    replica.exchange(NOW, &over());
    assert_eq!(replica.read().into_keys().collect::<Vec<_>>(), [2]);
    replica.exchange(NOW.plus(HOUR), &over());
    assert_eq!(replica.read().len(), 0);
    assert_eq!(server.keys_without_expiry(), [""; 0]);
}

#[test]
fn what_a_replica_lets_go_of_goes_before_its_end_unless_it_was_written_over() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    replica.tell([1, 2, 3].map(|name| old(entry(name, 5, NOW.plus(HOUR), "a"))).into());
    replica.tell(vec![old(entry(2, 6, NOW.plus(HOUR), "b"))]);
    let before = replica.tell(vec![]).seen;
    replica.tell([1, 2, 4].map(|name| old(entry(name, 5, Timestamp::EPOCH, ""))).into());
    assert_eq!(replica.read().into_keys().collect::<Vec<_>>(), [2, 3]);
    let after = replica.exchange(NOW, &Exchange { since: before, ..Exchange::default() });
    assert_eq!((after.before, after.entries.len()), (before, 0), "it is still the same book");
}

#[test]
fn many_entries_are_told_and_read_in_pages_up_to_a_bound() {
    let server = RedisServer::start();
    let replica = Replica::of(&server);
    let all: Vec<_> = (0..SHARED_ENTRIES_MAX as u128 + 3).map(|name| old(entry(name, 1, NOW, "x"))).collect();
    let no_room: u64 = all.chunks(SHARED_PAGE_ENTRIES).map(|page| replica.tell(page.to_vec()).no_room).sum();
    assert_eq!(no_room, 3);
    assert_eq!(replica.read().len(), SHARED_ENTRIES_MAX);
    let later = replica.tell(vec![old(entry(7, 2, NOW, "y")), old(entry(u128::MAX, 2, NOW, "y"))]);
    assert_eq!(later.no_room, 1, "what stands there may change");
    // Large ones.
    server.ask::<()>(&["FLUSHALL"]);
    for name in 0..9 {
        replica.tell(vec![old(entry(
            name,
            1,
            NOW,
            vec![b'x'; SHARED_PAGE_MAX_BYTES / 3 + usize::from(name == 5) * 99_999],
        ))]);
    }
    assert_eq!(replica.read().len(), 9);
}
