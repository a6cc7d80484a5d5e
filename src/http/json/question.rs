//! The question: `RateLimitRequest` in proto3 JSON, read as Go's protojson reads it, by which envoyproxy/ratelimit does.
//!
//! Fields go by their JSON names or by those in the protocol's files; `null` is as good as absent; what is unknown, or
//! comes twice, is an error. No value is deeper than the messages are, so no nesting is followed either.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor},
};

use crate::{
    bounds::{DESCRIPTORS_PER_REQUEST_MAX, ENTRIES_PER_REQUEST_MAX, JSON_BODY_MAX_BYTES},
    request::{Descriptor, Entry, Request, RequestLimit},
};

/// The shortest descriptor and the shortest entry, `{},`, take three bytes: no body holds more of them than are decided.
const _: () = assert!(JSON_BODY_MAX_BYTES / 3 < DESCRIPTORS_PER_REQUEST_MAX);
const _: () = assert!(JSON_BODY_MAX_BYTES / 3 < ENTRIES_PER_REQUEST_MAX);

/// Reads a `RateLimitRequest`.
///
/// # Errors
///
/// It is not JSON, or no such message.
pub(super) fn read(body: &[u8]) -> Result<Question<'_>, serde_json::Error> {
    serde_json::from_slice(body).map(|Object(question)| question)
}

/// `RateLimitRequest`: it owns what JSON's escapes changed, and borrows the rest from the body.
#[derive(Debug, Default)]
pub(super) struct Question<'b> {
    domain: Text<'b>,
    descriptors: Vec<Object<AskedDescriptor<'b>>>,
    hits: u32,
}

impl Question<'_> {
    /// The question as the core takes it.
    pub(super) fn request(&self) -> Request<'_> {
        let mut request = Request { domain: self.domain.0.as_bytes(), hits: self.hits, ..Request::default() };
        for Object(asked) in &self.descriptors {
            // Both fit: a body is shorter.
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let first_entry = number(request.entries.len());
            let entry_count = number(asked.entries.len());
            request.descriptors.push(Descriptor { first_entry, entry_count, ..asked.rest });
            let entries = asked.entries.iter().map(|Object(entry)| entry);
            request
                .entries
                .extend(entries.map(|entry| Entry { key: entry.key.0.as_bytes(), value: entry.value.0.as_bytes() }));
        }
        request
    }
}

impl<'de> Message<'de> for Question<'de> {
    const FIELDS: &'static [[&'static str; 2]] =
        &[["domain", "domain"], ["descriptors", "descriptors"], ["hitsAddend", "hits_addend"]];

    fn read<A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<(), A::Error> {
        match field {
            0 => set(&mut self.domain, map.next_value()?),
            1 => set(&mut self.descriptors, map.next_value()?),
            _ => set(&mut self.hits, map.next_value::<Option<Whole>>()?.map(Whole::narrow).transpose()?),
        }
        Ok(())
    }
}

/// `RateLimitDescriptor`
#[derive(Debug, Default)]
struct AskedDescriptor<'b> {
    entries: Vec<Object<AskedEntry<'b>>>,
    /// All but the entries.
    rest: Descriptor,
}

impl<'de> Message<'de> for AskedDescriptor<'de> {
    const FIELDS: &'static [[&'static str; 2]] = &[
        ["entries", "entries"],
        ["limit", "limit"],
        ["hitsAddend", "hits_addend"],
        ["isNegativeHits", "is_negative_hits"],
    ];

    fn read<A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<(), A::Error> {
        match field {
            0 => set(&mut self.entries, map.next_value()?),
            1 => self.rest.limit = map.next_value::<Option<Object<RequestLimit>>>()?.map(|Object(limit)| limit),
            2 => self.rest.hits = map.next_value::<Option<Whole>>()?.map(|Whole(hits)| hits),
            _ => set(&mut self.rest.gives_back, map.next_value()?),
        }
        Ok(())
    }
}

/// `RateLimitDescriptor.Entry`
#[derive(Debug, Default)]
struct AskedEntry<'b> {
    key: Text<'b>,
    value: Text<'b>,
}

impl<'de> Message<'de> for AskedEntry<'de> {
    const FIELDS: &'static [[&'static str; 2]] = &[["key", "key"], ["value", "value"]];

    fn read<A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<(), A::Error> {
        set(if field == 0 { &mut self.key } else { &mut self.value }, map.next_value()?);
        Ok(())
    }
}

/// `RateLimitDescriptor.RateLimitOverride`
impl<'de> Message<'de> for RequestLimit {
    const FIELDS: &'static [[&'static str; 2]] =
        &[["requestsPerUnit", "requests_per_unit"], ["unit", "unit"], ["unitMultiplier", "unit_multiplier"]];

    fn read<A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<(), A::Error> {
        if field == 1 {
            set(&mut self.unit, map.next_value::<Option<RateLimitUnit>>()?.map(|RateLimitUnit(unit)| unit));
            return Ok(());
        }
        let number = map.next_value::<Option<Whole>>()?.map(Whole::narrow).transpose()?;
        if field == 0 {
            set(&mut self.requests_per_unit, number);
        } else {
            self.unit_multiplier = number;
        }
        Ok(())
    }
}

/// Leaves a field as it is where its value is `null`.
fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A message of the protocol, as the fields of its object are read.
trait Message<'de>: Default {
    /// Its fields, each by its JSON name and by that in the protocol's files.
    const FIELDS: &'static [[&'static str; 2]];

    /// Reads the next value of the object, which is that of `FIELDS[field]`.
    fn read<A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<(), A::Error>;
}

/// A message, written as an object. Not derived: serde would take a list of its fields for it, too.
#[derive(Debug)]
struct Object<M>(M);

impl<'de, M: Message<'de>> Deserialize<'de> for Object<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<M>(PhantomData<M>);

impl<'de, M: Message<'de>> Visitor<'de> for Fields<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let (mut message, mut seen) = (M::default(), 0_u32);
        while let Some(Text(name)) = map.next_key()? {
            let Some(field) = M::FIELDS.iter().position(|names| names.contains(&&*name)) else {
                return Err(Error::custom("unknown field"));
            };
            if seen & 1 << field != 0 {
                return Err(Error::custom("duplicate field"));
            }
            seen |= 1 << field;
            message.read(field, &mut map)?;
        }
        Ok(message)
    }
}

/// A `string`: UTF-8, as JSON has it.
#[derive(Debug, Default)]
struct Text<'b>(Cow<'b, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrowed)
    }
}

/// A `uint64` or `uint32`, or what wraps one: a number, or text that is one. `1.0` and `1e2` are whole numbers; up to
/// 2^53, beyond which a number that is written so is not known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole(u64);

impl Whole {
    fn narrow<E: Error>(self) -> Result<u32, E> {
        u32::try_from(self.0).map_err(|_| Error::custom("larger than a uint32"))
    }

    fn of_float(number: f64) -> Option<Self> {
        const EXACT_MAX: f64 = (1_u64 << 53) as f64;
        let whole = number.is_sign_positive() && number <= EXACT_MAX && number.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        whole.then_some(Self(number as u64))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeNumber;

        impl Visitor<'_> for WholeNumber {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
                Whole::of_float(number).ok_or_else(|| Error::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Whole, E> {
                let number = serde_json::from_str::<serde_json::Number>(text).ok().filter(|_| text.trim() == text);
                let whole = |number: serde_json::Number| match number.as_u64() {
                    None if number.is_f64() => number.as_f64().and_then(Whole::of_float),
                    whole => whole.map(Whole),
                };
                number.and_then(whole).ok_or_else(|| Error::custom("text that is no whole number"))
            }
        }

        deserializer.deserialize_any(WholeNumber)
    }
}

/// `envoy.type.v3.RateLimitUnit`: a name, or any number.
struct RateLimitUnit(i32);

impl<'de> Deserialize<'de> for RateLimitUnit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;

        impl Visitor<'_> for NameOrNumber {
            type Value = RateLimitUnit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<RateLimitUnit, E> {
                let names = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR"];
                let unit = names.into_iter().zip(0..).find(|(known, _)| *known == name);
                unit.map(|(_, unit)| RateLimitUnit(unit)).ok_or_else(|| Error::custom("unknown unit"))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<RateLimitUnit, E> {
                enum_number(i32::try_from(number).ok())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RateLimitUnit, E> {
                enum_number(i32::try_from(number).ok())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<RateLimitUnit, E> {
                let size = Whole::of_float(number.abs()).and_then(|Whole(size)| i64::try_from(size).ok());
                let signed = size.map(|size| if number.is_sign_negative() { -size } else { size });
                enum_number(signed.and_then(|number| i32::try_from(number).ok()))
            }
        }

        fn enum_number<E: Error>(number: Option<i32>) -> Result<RateLimitUnit, E> {
            number.map(RateLimitUnit).ok_or_else(|| Error::custom("larger than an enum's number"))
        }

        deserializer.deserialize_any(NameOrNumber)
    }
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
