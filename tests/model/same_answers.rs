//! `settle` and the script side by side: the same charges at the same times get the same verdicts, to the hit and the
//! microsecond, also where numbers and lengths are as large as they may be, windows are a calendar's, and refused hits are
//! charged. (The memory store keeps a little less of the largest numbers, so it is not held against them.)

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use tallygate::{
    charge::{Charge, Charges, CounterKey, Role, Verdicts, Way, settle},
    limit::{Algorithm, Calendar, CalendarUnit, Counter, Limit, Window},
    request::Ask,
    store::redis::Time,
    units::{Nanos, Timestamp},
};

use crate::on_redis::{OnRedis, real_time};

/// Largest number that is counted exactly, and times below it in microseconds: the year 2255.
const MOST: u64 = (1 << 53) - 1;
/// Counts so large that a case cannot count beyond: there the script stops, and `settle` goes on.
const COUNT_MOST: u64 = MOST / 64;
const START_MICROS: u64 = 1_800_000_000_123_456;

fn window() -> impl Strategy<Value = Window> {
    let millis = prop_oneof![
        Just(1u64),
        Just(60_000),
        1u64..100_000,
        // Ten years are the longest that rules can give.
        Just(10 * 366 * 86_400_000),
        1u64..10 * 366 * 86_400_000,
    ];
    let unit = prop::sample::select(vec![
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Week,
        CalendarUnit::Month,
        CalendarUnit::Year,
    ]);
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]);
    prop_oneof![
        4 => millis.prop_map(|millis| Window::Length(Nanos::from_millis(millis))),
        1 => (unit, zone, 1u8..32).prop_map(|(unit, zone, anchor_day)| {
            let zone = jiff::tz::TimeZone::get(zone).expect("a zone that is compiled in");
            Window::Calendar(Calendar { unit, zone, anchor_day })
        }),
    ]
}

/// A number of any size up to `most`.
fn number(most: u64) -> impl Strategy<Value = u64> {
    (0u32..53, any::<u64>()).prop_map(move |(bits, number)| (number & ((1 << bits) - 1)).min(most))
}

fn limit() -> impl Strategy<Value = Limit> {
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        number(COUNT_MOST).prop_map(|burst| Algorithm::TokenBucket { burst }),
    ];
    (window(), algorithm, number(COUNT_MOST)).prop_map(|(window, algorithm, count)| match (&window, algorithm) {
        // Rules give a bucket no calendar.
        (Window::Calendar(_), Algorithm::TokenBucket { .. }) => {
            Limit { count, window, algorithm: Algorithm::SlidingWindow }
        }
        _ => Limit { count, window, algorithm },
    })
}

/// What one charge asks: the place of its limit, by what role and descriptor, in parts of what the limit holds.
#[derive(Clone, Debug)]
struct Asked {
    limit: usize,
    role: Role,
    descriptor: u32,
    ask: Share,
}

/// Some 256th parts of a limit, and a few hits.
#[derive(Clone, Debug)]
enum Share {
    Look,
    Take(u64, u64),
    GiveBack(u64, u64),
}

fn asked() -> impl Strategy<Value = Asked> {
    let role = prop::sample::select(vec![Role::Enforced, Role::Enforced, Role::Quota, Role::Overdraw, Role::Shadow]);
    let share = prop_oneof![
        1 => Just(Share::Look),
        8 => (0u64..200, 0u64..3).prop_map(|(parts, hits)| Share::Take(parts, hits)),
        2 => (0u64..200, 0u64..3).prop_map(|(parts, hits)| Share::GiveBack(parts, hits)),
    ];
    (0usize..4, role, 0u32..3, share).prop_map(|(limit, role, descriptor, ask)| Asked { limit, role, descriptor, ask })
}

/// Parts of a window's length that pass, in 256ths, and a few microseconds; what is asked, and whether something else of
/// the request is as good as a quota with room.
type Step = (u64, u64, Vec<Asked>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let parts = prop_oneof![6 => 0u64..100, 1 => 100u64..700];
    let quota_met = prop::bool::weighted(0.2);
    prop::collection::vec((parts, 0u64..3, prop::collection::vec(asked(), 1..5), quota_met), 1..12)
}

/// The charges of one step, as a plan orders them.
fn charges<'l>(limits: &'l [Limit], asked: &[Asked], way: Way) -> Charges<'l> {
    let mut asked: Vec<&Asked> = asked.iter().collect();
    asked.sort_by_key(|asked| (asked.descriptor, asked.role == Role::Shadow));
    let mut role_of = [None; 3];
    let list = asked.into_iter().map(|asked| {
        let limit = &limits[asked.limit % limits.len()];
        let part =
            |parts: u64, hits: u64| (limit.capacity() / 256).saturating_mul(parts).saturating_add(hits).min(MOST);
        // Beside shadows, the charges of one descriptor have one role, that of its rule.
        let role = match asked.role {
            Role::Shadow => Role::Shadow,
            role => *role_of[asked.descriptor as usize].get_or_insert(role),
        };
        let ask = match asked.ask {
            Share::Take(parts, hits) if part(parts, hits) > 0 => Ask::Take(part(parts, hits)),
            Share::GiveBack(parts, hits) => Ask::GiveBack(part(parts, hits)),
            Share::Look | Share::Take(..) => Ask::Look,
        };
        // A shadow has counters of its own; so has an overdraw of a limit of 0, which alone is kept of such.
        let apart = match role {
            Role::Shadow => 1,
            Role::Overdraw if limit.count == 0 => 2,
            _ => 0,
        };
        let key = CounterKey((asked.limit % limits.len()) as u128 * 4 + apart);
        Charge { key, limit, ask, role, descriptor: asked.descriptor, group: 0 }
    });
    Charges { way, list: list.collect(), ..Charges::default() }
}

/// Whether `limit` lets `hits` into the counter of `key` at a time in microseconds.
fn takes(redis: &OnRedis, micros: u64, key: u128, limit: &Limit, hits: u64) -> bool {
    asks(redis, micros, key, limit, Ask::Take(hits))
}

fn asks(redis: &OnRedis, micros: u64, key: u128, limit: &Limit, ask: Ask) -> bool {
    let charge = Charge { key: CounterKey(key), limit, ask, role: Role::Enforced, descriptor: 0, group: 0 };
    let charges = Charges { list: [charge].into_iter().collect(), ..Charges::default() };
    !redis.charge(Timestamp(micros * 1_000), &charges).refused
}

#[test]
fn what_just_fits_a_sliding_window_fits_to_the_microsecond() {
    // In the middle of the next window half of the last one's hits weigh; a microsecond before, a little more.
    let redis = OnRedis::start();
    let window = Window::Length(Nanos::from_secs(10));
    let limit = Limit { count: 1_000_000_007, window, algorithm: Algorithm::SlidingWindow };
    let take = |micros, key, hits| takes(&redis, micros, key, &limit, hits);
    let start = 1_800_000_000_000_000;
    for (key, before) in [(1, false), (2, true)] {
        assert!(take(start, key, 1_000_000_000), "in an empty window");
        let middle = start + 15_000_000 - u64::from(before);
        assert!(!take(middle, key, 500_000_008), "one too many");
        assert_eq!(take(middle, key, 500_000_007), !before);
        // What the script left shows in the next answer only.
        assert_eq!(take(middle, key, 1), before);
    }
}

#[test]
fn giving_back_nothing_brings_a_bucket_up_to_date() {
    let redis = OnRedis::start();
    let seconds = |seconds: u64| 1_800_000_000_000_000 + seconds * 1_000_000;
    assert!(takes(&redis, seconds(0), 1, &bucket(5, 5), 5));
    asks(&redis, seconds(1), 1, &bucket(5, 5), Ask::GiveBack(0));
    // Half a hit has drained at the old rate, none at the new one.
    assert!(!takes(&redis, seconds(1) + 499_999, 1, &bucket(10, 5), 1));
    assert!(takes(&redis, seconds(1) + 500_000, 1, &bucket(10, 5), 1));
}

fn bucket(count: u64, burst: u64) -> Limit {
    let window = Window::Length(Nanos::from_secs(10));
    Limit { count, window, algorithm: Algorithm::TokenBucket { burst } }
}

#[test]
fn a_bucket_that_was_seen_empty_is_empty_at_whatever_rate_comes_next() {
    let redis = OnRedis::start();
    let seconds = |seconds: u64| 1_800_000_000_000_000 + seconds * 1_000_000;
    assert!(takes(&redis, seconds(0), 1, &bucket(3, 2), 2));
    assert!(!takes(&redis, seconds(7), 1, &bucket(3, 2), 3), "more than it holds");
    assert!(takes(&redis, seconds(7), 1, &bucket(1, 3), 3), "at the new rate, 1.3 would be left of it");
}

#[test]
fn a_full_bucket_drains_although_the_clock_was_set_back_and_only_refusals_came_since() {
    let redis = OnRedis::start();
    let seconds = |seconds: u64| 1_800_000_000_000_000 + seconds * 1_000_000;
    assert!(takes(&redis, seconds(3_600), 1, &bucket(1, 5), 5));
    assert!(!takes(&redis, seconds(0), 1, &bucket(1, 5), 1));
    assert!(!takes(&redis, seconds(9), 1, &bucket(1, 5), 1));
    assert!(takes(&redis, seconds(10), 1, &bucket(1, 5), 1));
}

#[test]
fn settle_and_the_script_answer_alike() {
    let redis = OnRedis::start();
    let cases = (prop::collection::vec(limit(), 1..4), any::<bool>(), steps());
    let mut runner =
        TestRunner::new(ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(3_000) });
    let alike = runner.run(&cases, |(mut limits, each_alone, steps)| {
        let way = if each_alone { Way::EachAlone } else { Way::AllOrNone };
        if each_alone {
            // With `count_denied`, limits are fixed windows.
            for limit in &mut limits {
                limit.algorithm = Algorithm::FixedWindow;
            }
        }
        redis.forget();
        answer_alike(&redis, &limits, way, &steps)
    });
    alike.unwrap_or_else(|error| panic!("{error}"));
}

/// Windows that do not end while a test runs.
const LONG: Window = Window::Length(Nanos::from_secs(3_650 * 86_400));

/// What one step asks: anything, or what the script has a short way for, the same of several counters.
fn asked_in_real_time() -> impl Strategy<Value = Vec<Asked>> {
    let usual = (1usize..16, 1u64..6).prop_map(|(limits, hits)| {
        let chosen = (0..4).filter(|limit| limits & (1 << limit) != 0);
        let ask = |limit| Asked { limit, role: Role::Enforced, descriptor: 0, ask: Share::Take(0, hits) };
        chosen.map(ask).collect()
    });
    prop_oneof![1 => prop::collection::vec(asked(), 1..5), 2 => usual]
}

#[test]
fn settle_and_the_script_answer_alike_by_the_time_of_the_server() {
    let redis = OnRedis::start_by(Time::Servers);
    let any = limit().prop_map(|limit| Limit { window: LONG, ..limit });
    let fixed = (0u64..30).prop_map(|count| Limit { count, window: LONG, algorithm: Algorithm::FixedWindow });
    let limits = prop::collection::vec(prop_oneof![1 => any, 3 => fixed], 4);
    let cases = (limits, prop::collection::vec(asked_in_real_time(), 1..12));
    let mut runner =
        TestRunner::new(ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(1_000) });
    let alike = runner.run(&cases, |(limits, steps)| {
        redis.forget();
        let mut counters = BTreeMap::new();
        for (number, asked) in steps.iter().enumerate() {
            let charges = charges(&limits, asked, Way::AllOrNone);
            let theirs = redis.decide(real_time(), &charges);
            let ours = by_settle(&mut counters, theirs.at, &charges);
            prop_assert_eq!(ours, theirs.verdicts, "step {} at {:?}: {:?}", number, theirs.at, charges);
        }
        Ok(())
    });
    alike.unwrap_or_else(|error| panic!("{error}"));
    // Some of them on the short way, and some of these given back.
    let (taken, given_back) = (redis.calls_of("incrby"), redis.calls_of("decrby"));
    assert!(taken > 2_000 && given_back > 100, "{taken} taken, {given_back} given back");
}

fn answer_alike(redis: &Arc<OnRedis>, limits: &[Limit], way: Way, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut counters = BTreeMap::new();
    let mut micros = START_MICROS;
    for (number, (parts, rest, asked, quota_met)) in steps.iter().enumerate() {
        let length = limits[asked[0].limit % limits.len()].window.longest().0 / 1_000;
        micros = (micros + length / 256 * parts + rest).min(MOST / 4 * 3);
        let now = Timestamp(micros * 1_000);
        let charges = Charges { quota_met: *quota_met, ..charges(limits, asked, way) };
        let (ours, theirs) = (by_settle(&mut counters, now, &charges), redis.charge(now, &charges));
        prop_assert_eq!(ours, theirs, "step {} at {:?}: {:?}", number, now, charges);
    }
    Ok(())
}

/// Counters as `settle` leaves them, kept as they are.
fn by_settle(kept: &mut BTreeMap<CounterKey, Counter>, now: Timestamp, charges: &Charges<'_>) -> Verdicts {
    let mut keys: Vec<CounterKey> = charges.list.iter().map(|charge| charge.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut counters: Vec<Counter> = keys.iter().map(|key| kept.get(key).copied().unwrap_or_default()).collect();
    let place = |charge: &Charge<'_>| keys.binary_search(&charge.key).expect("its key is there");
    let seats: Vec<u32> = charges.list.iter().map(|charge| u32::try_from(place(charge)).expect("few")).collect();
    let verdicts = settle(charges, &seats, &mut counters, now);
    for (key, counter) in keys.into_iter().zip(counters) {
        // As every store: a limit of 0 refuses whatever it has counted, so nothing is kept of it.
        let holds = |charge: &Charge<'_>| charge.limit.count > 0 || charge.role == Role::Overdraw;
        if kept.contains_key(&key) || charges.list.iter().find(|charge| charge.key == key).is_some_and(holds) {
            kept.insert(key, counter);
        }
    }
    verdicts
}
