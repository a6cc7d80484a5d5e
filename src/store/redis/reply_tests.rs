use proptest::prelude::*;

use super::*;
use crate::{
    bounds::REDIS_COUNT_MAX,
    charge::{Charge, CounterKey, Gate, Role},
    limit::Window,
    request::Ask,
    store::redis::Decided,
    units::Nanos,
};

fn limit(algorithm: Algorithm, length_ms: u64) -> Limit {
    Limit { count: 5, window: Window::Length(Nanos::from_millis(length_ms)), algorithm }
}

fn charge(key: u128, limit: &Limit) -> Charge<'_> {
    Charge { key: CounterKey(key), limit, ask: Ask::Look, role: Role::Enforced, descriptor: 0, group: 0 }
}

/// What the script returns at length, over the wire: of each key what it held, the time, and that nothing is refused.
fn answer(held: &[Option<String>], micros: u64) -> Vec<u8> {
    let value = |held: &Option<String>| match held {
        Some(held) => format!("${}\r\n{held}\r\n", held.len()),
        None => "$-1\r\n".to_owned(),
    };
    let values: String = held.iter().map(value).collect();
    format!("*{}\r\n{values}:{micros}\r\n:0\r\n", held.len() + 2).into_bytes()
}

/// What is read of an answer: the counters, and the time it tells.
fn read(wire: &[u8], charges: &Charges<'_>) -> Option<(Vec<Counter>, Option<Timestamp>)> {
    let seats = Seats::of(charges);
    let value = redis::parse_redis_value(wire).and_then(Value::extract_error).ok()?;
    let seen = Seen::read(value, charges, &seats)?;
    let counters = seen.counters(charges, &seats, seen.now.unwrap_or(NOW));
    Some((counters.to_vec(), seen.now))
}

/// Where the answer does not say: some seconds into a minute.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_007);

proptest! {
    #[test]
    fn what_the_script_can_have_seen_is_read_to_the_last_digit(
        held in prop::collection::vec(prop::option::weighted(0.8, [0..=REDIS_COUNT_MAX, 0..=REDIS_COUNT_MAX, 0..=REDIS_COUNT_MAX]), 3),
        micros in 0..=REDIS_COUNT_MAX,
    ) {
        let limits = [limit(Algorithm::FixedWindow, 60_000), limit(Algorithm::SlidingWindow, 60_000)];
        let mut charges = Charges::default();
        charges.list.extend((1..).zip(&limits).map(|(key, limit)| charge(key, limit)));
        charges.gates.push(Gate { key: CounterKey(3), descriptor: 0, starts: None, ordered_until: Timestamp::EPOCH });
        let texts: Vec<Option<String>> =
            held.iter().map(|held| held.map(|[used, rest, time]| format!("{used} {rest} {time}"))).collect();
        let (before, at) = read(&answer(&texts, micros), &charges).expect("an answer of ours");
        prop_assert_eq!(at, Some(Timestamp(micros * 1_000)));
        let counters: Vec<Counter> = held
            .iter()
            .map(|held| held.map_or_else(Counter::default, |[used, rest, time]| Counter { used, rest, time: Timestamp(time * 1_000) }))
            .collect();
        prop_assert_eq!(before, counters);
    }

    #[test]
    fn a_part_of_a_hit_comes_back_as_the_same_multiple_of_a_length(
        length_ms in 1..=315_360_000_000_u64, part in 0.0..1.0_f64, used in 0..=REDIS_COUNT_MAX,
    ) {
        let length_us = length_ms * 1_000;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "any part will do")]
        let parts = ((length_us as f64 * part) as u64).min(length_us - 1);
        let bucket = limit(Algorithm::TokenBucket { burst: 9 }, length_ms);
        let mut charges = Charges::default();
        charges.list.push(charge(1, &bucket));
        let wire = answer(&[Some(format!("{used} {parts} 1"))], 1);
        let counter = read(&wire, &charges).expect("an answer of ours").0[0];
        prop_assert_eq!(counter.used, used);
        prop_assert_eq!((u128::from(counter.rest) * u128::from(length_us)) >> 64, u128::from(parts));
    }

    #[test]
    fn what_somebody_else_wrote_is_nothing(text in "[0-9 +.x-]{0,12}") {
        let numbers = text.split(' ').filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())).count();
        prop_assume!(numbers != text.split(' ').count() || (numbers != 1 && numbers != 3));
        let fixed = limit(Algorithm::FixedWindow, 60_000);
        let mut charges = Charges::default();
        charges.list.push(charge(1, &fixed));
        let (before, _) = read(&answer(&[Some(text)], 1), &charges).expect("an answer of ours");
        prop_assert_eq!(before[0], Counter::default());
    }
}

#[test]
fn of_the_usual_request_the_hits_after_it_are_told_and_the_time_where_a_window_is_new() {
    let limits = [limit(Algorithm::FixedWindow, 60_000), limit(Algorithm::FixedWindow, 10_000)];
    let mut charges = Charges::default();
    charges.list.extend((1..).zip(&limits).map(|(key, limit)| Charge { ask: Ask::Take(2), ..charge(key, limit) }));
    let minute = |used, minute: u64| Counter { used, rest: 0, time: Timestamp::from_secs(1_800_000_000 + minute * 60) };
    let ten = |used, seconds: u64| Counter { used, rest: 0, time: Timestamp::from_secs(1_800_000_000 + seconds) };
    assert_eq!(read(b"*2\r\n:5\r\n:3\r\n", &charges), Some((vec![minute(3, 1), ten(1, 10)], None)));
    let told = Timestamp(1_800_000_061_500_000_000);
    let wire = b"*3\r\n:2\r\n:4\r\n:1800000061500000\r\n";
    assert_eq!(read(wire, &charges), Some((vec![minute(0, 2), ten(2, 70)], Some(told))));
}

#[test]
fn an_answer_that_is_none_of_ours_decides_nothing() {
    let fixed = limit(Algorithm::FixedWindow, 60_000);
    let mut charges = Charges::default();
    charges.list.push(charge(1, &fixed));
    for wire in [
        "",
        "*",
        "*3\r\n$-1\r\n:1\r\n$-1\r\n",
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        // That of a usual request, which this is not.
        "*1\r\n:1\r\n",
        "*4\r\n$-1\r\n$-1\r\n:1\r\n:0\r\n",
        "*3\r\n$-1\r\n:-1\r\n:0\r\n",
        "*3\r\n$-1\r\n$1\r\n1\r\n:0\r\n",
        "*3\r\n:1\r\n$-1\r\n:0\r\n",
        "-NOSCRIPT no such script\r\n",
        // A time that no clock of ours can show.
        "*3\r\n$-1\r\n:9223372036854775807\r\n:0\r\n",
        "%1\r\n$-1\r\n:1\r\n",
        "~3\r\n$-1\r\n:1\r\n:0\r\n",
    ] {
        assert!(read(wire.as_bytes(), &charges).is_none(), "{wire:?}");
    }
    assert!(read(b"*3\r\n$-1\r\n:1\r\n:0\r\n", &charges).is_some());
}

#[test]
fn where_the_script_decided_otherwise_than_is_worked_out_here_nothing_is_decided() {
    let fixed = limit(Algorithm::FixedWindow, 60_000);
    let mut charges = Charges::default();
    charges.list.push(Charge { ask: Ask::Take(1), ..charge(1, &fixed) });
    let decided = |held: &str, refused: u64| {
        let wire = format!("*3\r\n$12\r\n{held} 0 60000000\r\n:1\r\n:{refused}\r\n");
        Decided::read(wire.as_bytes(), &charges, NOW).map(|decided| decided.verdicts.refused)
    };
    assert_eq!(decided("4", 0), Some(false));
    assert_eq!(decided("5", 1), Some(true));
    assert_eq!(decided("4", 1), None);
    assert_eq!(decided("5", 0), None);
}
