//! What replicas tell each other beside counters: entries under names, of which the latest stays. What they mean is no
//! business of the store.
//!
//! `orders.lua` merges what a replica tells into a book that all share, and returns what has changed there since it
//! last asked: one round trip, also where nothing has.

use std::borrow::Cow;

use redis::Value;
use tokio::time::Instant;

use super::{Away, Redis, Time, errands::Errand};
use crate::{
    bounds::{REDIS_COUNT_MAX, SHARED_ENTRIES_MAX, SHARED_ENTRY_MAX_BYTES, SHARED_PAGE_ENTRIES, SHARED_PAGE_MAX_BYTES},
    units::Timestamp,
};

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: u128,
    /// The later one stays; of equal ones, that with the larger bytes.
    pub stamp: u64,
    /// By the store's clock; from then on nobody needs it. What is told with 0 leaves the store, if it stands there so.
    pub until: Timestamp,
    pub bytes: Box<[u8]>,
}

/// What one replica tells, and what it asks.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The number of the last change it has seen; 0: none.
    pub since: u64,
    /// No more than [`SHARED_PAGE_ENTRIES`].
    pub told: Vec<Told>,
    /// Names of entries that are over as far as it knows.
    pub over: Vec<u128>,
}

/// An entry that is told.
#[derive(Clone, Debug)]
pub struct Told {
    pub entry: Entry,
    /// It has just been written: it gets a stamp later than that of what it replaces.
    pub new: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Exchanged {
    /// The number of the first change, by which one book is told from the next; 0: nothing was ever written there.
    pub first: u64,
    /// The number of the last change before; smaller than what was seen already where a book was lost.
    pub before: u64,
    /// The number of the last change that is returned.
    pub seen: u64,
    /// Whether there are later ones.
    pub more: bool,
    /// How many of those that were told found no room.
    pub no_room: u64,
    /// What has changed, those that were told included; all there is, where a book was lost.
    pub entries: Vec<Entry>,
    /// How many beside them are none of ours.
    pub strange: usize,
}

impl Redis {
    /// Tells the other replicas something, and asks what they have told; `now` is what our clock shows.
    ///
    /// # Errors
    ///
    /// Why nobody knows whether that was done. It may be done again.
    pub async fn exchange(&self, now: Timestamp, asked: &Exchange) -> Result<Exchanged, Away> {
        let keys = ["book", "changes"].map(|name| self.names.of_house(name));
        let time = Some(now).filter(|_| self.time == Time::Calls);
        let arguments = arguments(time, asked);
        let errand = Errand {
            script: &self.scripts.orders,
            keys: &keys.each_ref().map(String::as_str),
            arguments: &arguments.iter().map(|word| &**word).collect::<Vec<_>>(),
        };
        let began = Instant::now();
        let (theirs, exchanged) = read(self.run_errand(&errand).await?).ok_or(Away::Garbled)?;
        self.house().clock().note(theirs, now, began.elapsed());
        Ok(exchanged)
    }
}

/// The words of a call, as `orders.lua` has them; None: by the server's time.
fn arguments(time: Option<Timestamp>, asked: &Exchange) -> Vec<Cow<'_, [u8]>> {
    let word = |word: String| Cow::Owned(word.into_bytes());
    let name = |name: u128| word(format!("{name:032x}"));
    let number = |number: u64| word(number.to_string());
    let bounds = [SHARED_ENTRIES_MAX, SHARED_PAGE_ENTRIES, SHARED_PAGE_MAX_BYTES, asked.over.len()];
    let mut words = vec![time.map_or(Cow::Borrowed(&b""[..]), |now| number(now.0 / 1_000)), number(asked.since)];
    words.extend(bounds.map(|bound| number(bound as u64)));
    words.extend(asked.over.iter().map(|&over| name(over)));
    for Told { entry, new } in &asked.told {
        words.extend([name(entry.name), Cow::Borrowed(if *new { &b"new"[..] } else { b"" }), number(entry.stamp)]);
        words.push(number((entry.until.0 / 1_000).min(REDIS_COUNT_MAX)));
        words.push(Cow::Borrowed(&*entry.bytes));
    }
    words
}

/// Reads an answer: the time, and what came of the exchange; None if it is none of ours.
fn read(answer: Value) -> Option<(Timestamp, Exchanged)> {
    let Value::Array(values) = answer else { return None };
    let (head, entries) = values.split_at_checked(6)?;
    let mut numbers = head.iter().map(|value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    });
    let now = Timestamp(numbers.next()??.checked_mul(1_000)?);
    let mut exchanged = Exchanged {
        first: numbers.next()??,
        before: numbers.next()??,
        seen: numbers.next()??,
        more: numbers.next()?? > 0,
        no_room: numbers.next()??,
        ..Exchanged::default()
    };
    for pair in entries.chunks(2) {
        match entry(pair) {
            Some(entry) => exchanged.entries.push(entry),
            None => exchanged.strange += 1,
        }
    }
    Some((now, exchanged))
}

/// A name and `stamp until bytes`; None if nobody of us wrote it.
fn entry(pair: &[Value]) -> Option<Entry> {
    let [Value::BulkString(name), Value::BulkString(value)] = pair else { return None };
    let name = str::from_utf8(name).ok().filter(|name| name.len() == 32 && !name.starts_with('+'))?;
    let mut parts = value.splitn(3, |&byte| byte == b' ');
    let mut number = || {
        let digits = parts.next()?;
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
        (number <= REDIS_COUNT_MAX).then_some(number)
    };
    let (stamp, micros) = (number()?, number()?);
    let bytes = parts.next().filter(|bytes| bytes.len() <= SHARED_ENTRY_MAX_BYTES)?;
    Some(Entry {
        name: u128::from_str_radix(name, 16).ok()?,
        stamp,
        until: Timestamp(micros.saturating_mul(1_000)),
        bytes: bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    const NAME: &str = "0000000000000000000000000000000a";

    #[test]
    fn an_answer_is_read_as_it_was_meant() {
        let head = [7, 2, 3, 5, 1, 0].map(Value::Int);
        let answer = Value::Array([&head[..], &[text(NAME), text("12 34 {\"a b\": 1}")]].concat());
        let (now, exchanged) = read(answer).unwrap();
        assert_eq!(now, Timestamp(7_000));
        let Exchanged { first: 2, before: 3, seen: 5, more: true, no_room: 0, entries, strange: 0 } = exchanged else {
            panic!("{exchanged:?}")
        };
        let bytes = b"{\"a b\": 1}".as_slice().into();
        assert_eq!(entries, [Entry { name: 10, stamp: 12, until: Timestamp(34_000), bytes }]);
    }

    #[test]
    fn what_nobody_of_us_wrote_is_passed_over_and_counted() {
        let long = format!("1 2 {}", "x".repeat(SHARED_ENTRY_MAX_BYTES + 1));
        for (name, value) in [
            (NAME, ""),
            (NAME, "1"),
            (NAME, "1 2"),
            (NAME, "a 2 x"),
            (NAME, "+1 2 x"),
            (NAME, "1  x"),
            (NAME, "9007199254740992 2 x"),
            (NAME, "99999999999999999999999 2 x"),
            (NAME, long.as_str()),
            ("a", "1 2 x"),
            ("+000000000000000000000000000000a", "1 2 x"),
            ("0000000000000000000000000000000g", "1 2 x"),
            ("", "1 2 x"),
        ] {
            let head = [7, 2, 3, 5, 0, 0].map(Value::Int);
            let answer = [&head[..], &[text(name), text(value), text(NAME), text("1 2 x")]].concat();
            let (_, exchanged) = read(Value::Array(answer)).unwrap();
            assert_eq!(
                (exchanged.strange, exchanged.entries.len()),
                (1, 1),
                "{name} {}",
                &value[..value.len().min(40)]
            );
        }
        let head = [7, 2, 3, 5, 0, 0].map(Value::Int);
        let (_, odd) = read(Value::Array([&head[..], &[text(NAME)]].concat())).unwrap();
        assert_eq!(odd.strange, 1);
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        for answer in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![]),
            Value::Array([1, 2, 3, 4].map(Value::Int).into()),
            Value::Array([1, 2, 3, 4, -1].map(Value::Int).into()),
            Value::Array([i64::MAX, 2, 3, 4, 5].map(Value::Int).into()),
            Value::Array(vec![Value::Int(1), Value::Int(1), Value::Nil, Value::Int(1), Value::Int(1)]),
        ] {
            assert!(read(answer.clone()).is_none(), "{answer:?}");
        }
    }
}
