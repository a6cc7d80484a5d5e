//! The question: `RateLimitRequest` as a view over its bytes.
//!
//! As protobuf has it: of a field that comes twice the last counts, a message that comes twice is merged, what is
//! unknown is skipped.

use super::reader::{Key, Malformed, Reader, What};
use crate::{
    bounds::{DESCRIPTORS_PER_REQUEST_MAX, ENTRIES_PER_REQUEST_MAX},
    request::{Descriptor, Entry, Request, RequestLimit},
};

/// Reads a `RateLimitRequest`.
///
/// # Errors
///
/// Where the bytes are no such message (no Envoy sends that), and where it has more descriptors or entries than are
/// decided ([`Malformed::is_too_large`]).
pub fn receive(message: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut request = Request::default();
    let mut reader = Reader::new(message);
    while let Some(key) = reader.next_key()? {
        match key.number {
            1 => request.domain = reader.text(key)?,
            2 => descriptor(&mut reader, key, &mut request)?,
            3 => request.hits = reader.number_u32(key)?,
            _ => reader.skip(key)?,
        }
    }
    Ok(request)
}

impl Malformed {
    /// The message is well-formed but larger than any real one: it is answered by policy, not as an error.
    pub fn is_too_large(&self) -> bool {
        self.what == What::TooMany
    }
}

/// `RateLimitDescriptor`
fn descriptor<'a>(outer: &mut Reader<'a>, key: Key, request: &mut Request<'a>) -> Result<(), Malformed> {
    let mut reader = outer.message(key)?;
    let first_entry = request.entries.len();
    let mut descriptor = Descriptor::default();
    while let Some(key) = reader.next_key()? {
        match key.number {
            1 => {
                if request.entries.len() >= ENTRIES_PER_REQUEST_MAX {
                    return Err(reader.malformed(What::TooMany));
                }
                request.entries.push(entry(&mut reader, key)?);
            }
            2 => limit(&mut reader, key, descriptor.limit.get_or_insert_default())?,
            3 => wrapped(&mut reader, key, descriptor.hits.get_or_insert_default())?,
            4 => descriptor.gives_back = reader.number(key)? != 0,
            _ => reader.skip(key)?,
        }
    }
    if request.descriptors.len() >= DESCRIPTORS_PER_REQUEST_MAX {
        return Err(reader.malformed(What::TooMany));
    }
    // Both fit: the bound on entries lies below u32::MAX.
    let index = |count: usize| u32::try_from(count).map_err(|_| reader.malformed(What::TooMany));
    descriptor.first_entry = index(first_entry)?;
    descriptor.entry_count = index(request.entries.len() - first_entry)?;
    request.descriptors.push(descriptor);
    Ok(())
}

/// `RateLimitDescriptor.Entry`
fn entry<'a>(outer: &mut Reader<'a>, key: Key) -> Result<Entry<'a>, Malformed> {
    let mut reader = outer.message(key)?;
    let mut entry = Entry { key: &[], value: &[] };
    while let Some(key) = reader.next_key()? {
        match key.number {
            1 => entry.key = reader.text(key)?,
            2 => entry.value = reader.text(key)?,
            _ => reader.skip(key)?,
        }
    }
    Ok(entry)
}

/// `RateLimitDescriptor.RateLimitOverride`
#[expect(clippy::cast_possible_truncation, reason = "an enum on the wire is the low half of a varint")]
fn limit(outer: &mut Reader<'_>, key: Key, limit: &mut RequestLimit) -> Result<(), Malformed> {
    let mut reader = outer.message(key)?;
    while let Some(key) = reader.next_key()? {
        match key.number {
            1 => limit.requests_per_unit = reader.number_u32(key)?,
            2 => limit.unit = reader.number(key)? as i32,
            3 => {
                let mut multiplier = u64::from(limit.unit_multiplier.unwrap_or_default());
                wrapped(&mut reader, key, &mut multiplier)?;
                limit.unit_multiplier = Some(multiplier as u32);
            }
            _ => reader.skip(key)?,
        }
    }
    Ok(())
}

/// `google.protobuf.UInt64Value`, or `UInt32Value`: the same on the wire.
fn wrapped(outer: &mut Reader<'_>, key: Key, value: &mut u64) -> Result<(), Malformed> {
    let mut reader = outer.message(key)?;
    while let Some(key) = reader.next_key()? {
        match key.number {
            1 => *value = reader.number(key)?,
            _ => reader.skip(key)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::grpc::proto::{
        RateLimitDescriptor, RateLimitRequest,
        rate_limit_descriptor::{Entry as ProtoEntry, RateLimitOverride},
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_prost_writes_is_read_the_same(message in any_request()) {
            let bytes = message.encode_to_vec();
            prop_assert_eq!(owned(&receive(&bytes).unwrap()), message);
        }

        #[test]
        fn any_bytes_are_read_or_rejected_as_prost_does(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            same_as_prost(&bytes)?;
        }

        #[test]
        fn damaged_messages_are_read_or_rejected_as_prost_does(
            message in any_request(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = message.encode_to_vec();
            if !bytes.is_empty() {
                for (index, byte) in damage {
                    let at = index.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            same_as_prost(&bytes)?;
        }

        #[test]
        fn fields_in_any_order_and_number_are_merged_as_prost_does(bytes in fields(3)) {
            same_as_prost(&bytes)?;
        }
    }

    #[test]
    fn nesting_ends_where_prosts_does() {
        for depth in 90..110 {
            let mut bytes = vec![0x7b; depth]; // start of group 15
            bytes.extend(vec![0x7c; depth]);
            let inside = [&[0x12, u8::try_from(bytes.len()).unwrap_or(0)], &bytes[..]].concat();
            let with_leaf = [&vec![0x7b; depth][..], &[0x08, 0x01], &vec![0x7c; depth]].concat();
            for bytes in [&bytes, &with_leaf, &inside] {
                assert_eq!(receive(bytes).is_ok(), RateLimitRequest::decode(&bytes[..]).is_ok(), "{depth} levels");
            }
        }
    }

    #[test]
    fn errors_name_what_and_where() {
        for (bytes, error) in [
            (&[0x0a, 0x05, b'a'][..], "unexpected end at byte 2 of the message"),
            (&[0x0a], "unexpected end at byte 1 of the message"),
            (&[0x08, 0x01], "wrong wire type of a known field at byte 1 of the message"),
            (&[0x00], "field number outside 1 to 536870911 at byte 0 of the message"),
            (&[0x7f], "unknown wire type at byte 0 of the message"),
            (&[0x7c], "end of a group that was not begun at byte 1 of the message"),
            (
                &[0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
                "varint of more than 64 bits at byte 1 of the message",
            ),
        ] {
            assert_eq!(receive(bytes).unwrap_err().to_string(), error, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_of_nothing_but_descriptors_is_too_large_and_not_malformed() {
        let descriptors = [0x12, 0x00].repeat(DESCRIPTORS_PER_REQUEST_MAX + 1);
        assert!(receive(&descriptors).unwrap_err().is_too_large());
        assert_eq!(receive(&descriptors[2..]).unwrap().descriptors.len(), DESCRIPTORS_PER_REQUEST_MAX);
        let entries = RateLimitRequest {
            descriptors: vec![RateLimitDescriptor {
                entries: vec![ProtoEntry::default(); ENTRIES_PER_REQUEST_MAX + 1],
                ..RateLimitDescriptor::default()
            }],
            ..RateLimitRequest::default()
        };
        assert!(receive(&entries.encode_to_vec()).unwrap_err().is_too_large());
    }

    fn same_as_prost(bytes: &[u8]) -> Result<(), TestCaseError> {
        match (receive(bytes), RateLimitRequest::decode(bytes)) {
            (Ok(ours), Ok(prosts)) => prop_assert_eq!(owned(&ours), prosts),
            (Err(_), Err(_)) => {}
            (ours, prosts) => prop_assert!(false, "ours: {ours:?}, prost: {prosts:?}"),
        }
        Ok(())
    }

    fn owned(request: &Request<'_>) -> RateLimitRequest {
        let descriptor = |descriptor: &Descriptor| RateLimitDescriptor {
            entries: request
                .entries_of(descriptor)
                .iter()
                .map(|entry| ProtoEntry { key: entry.key.to_vec(), value: entry.value.to_vec() })
                .collect(),
            limit: descriptor.limit.map(|limit| RateLimitOverride {
                requests_per_unit: limit.requests_per_unit,
                unit: limit.unit,
                unit_multiplier: limit.unit_multiplier,
            }),
            hits_addend: descriptor.hits,
            is_negative_hits: descriptor.gives_back,
        };
        RateLimitRequest {
            domain: request.domain.to_vec(),
            descriptors: request.descriptors.iter().map(descriptor).collect(),
            hits_addend: request.hits,
        }
    }

    fn any_request() -> impl Strategy<Value = RateLimitRequest> {
        let text = || proptest::collection::vec(any::<u8>(), 0..200);
        let entry = (text(), text()).prop_map(|(key, value)| ProtoEntry { key, value });
        let limit = (any::<u32>(), any::<i32>(), any::<Option<u32>>()).prop_map(
            |(requests_per_unit, unit, unit_multiplier)| RateLimitOverride { requests_per_unit, unit, unit_multiplier },
        );
        let descriptor =
            (proptest::collection::vec(entry, 0..5), proptest::option::of(limit), any::<Option<u64>>(), any::<bool>())
                .prop_map(|(entries, limit, hits_addend, is_negative_hits)| RateLimitDescriptor {
                    entries,
                    limit,
                    hits_addend,
                    is_negative_hits,
                });
        (text(), proptest::collection::vec(descriptor, 0..5), any::<u32>())
            .prop_map(|(domain, descriptors, hits_addend)| RateLimitRequest { domain, descriptors, hits_addend })
    }

    /// Bytes that are mostly well-formed fields of small numbers, in one another to `depth`: repeated, out of order,
    /// of every wire type.
    fn fields(depth: u32) -> BoxedStrategy<Vec<u8>> {
        let number = 1..6_u8;
        let varint = (number.clone(), any::<u64>()).prop_map(|(number, value)| {
            let mut bytes = vec![number << 3];
            prost::encoding::encode_varint(value, &mut bytes);
            bytes
        });
        let fixed = (number.clone(), any::<u64>(), any::<bool>()).prop_map(|(number, value, long)| {
            let value = value.to_le_bytes();
            let (wire_type, value) = if long { (1, &value[..]) } else { (5, &value[..4]) };
            [&[number << 3 | wire_type], value].concat()
        });
        let inner = if depth == 0 { Just(Vec::new()).boxed() } else { fields(depth - 1) };
        let nested = (number, inner, any::<bool>()).prop_map(|(number, inner, group)| {
            if group {
                return [&[number << 3 | 3], &inner[..], &[number << 3 | 4]].concat();
            }
            let mut bytes = vec![number << 3 | 2];
            prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
            [bytes, inner].concat()
        });
        let field = prop_oneof![2 => varint, 1 => fixed, 6 => nested];
        proptest::collection::vec(field, 0..6).prop_map(|fields| fields.concat()).boxed()
    }
}
