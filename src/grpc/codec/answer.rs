//! The answer: `RateLimitResponse`, written once, framed as gRPC wants it.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    decision::{Decision, Figure, Status},
    render::{EXACT_MAX, Field, Sink, saturated},
    rules::Value,
};

/// What stands before a message in gRPC: whether it is compressed, and its length in four bytes.
pub const FRAME_HEADER_BYTES: usize = 5;

/// What a usual answer takes at most: headers of three windows, a body, the metadata. A longer one grows the buffer.
const USUAL_BYTES: usize = 1_024;

/// What is kept of a buffer that grew: bodies and metadata may be large, and there is one a core.
const ROOM_KEPT_BYTES: usize = 16 << 10;

/// `RateLimitResponse.Code`
const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

/// Numbers below this are one byte as a varint.
const ONE_BYTE: usize = 1 << 7;

/// One answer while it is written: code and statuses first, then whatever is rendered into it as a [`Sink`].
///
/// Written into a buffer that its owner keeps; it leaves it in one piece.
#[derive(Debug)]
pub struct Answer<'b> {
    message: Message<'b>,
    /// Where the metadata's Struct begins, once there is a field.
    metadata: Option<Begun>,
}

impl<'b> Answer<'b> {
    /// Begins the answer to `decision`. What an abandoned answer left in `buffer` is dropped.
    pub fn to(decision: &Decision<'_>, buffer: &'b mut Vec<u8>) -> Self {
        let mut answer = Self::begin(decision.refused, buffer);
        for status in &decision.statuses {
            answer.message.nested(2, |message| write_status(message, status));
        }
        answer
    }

    /// The answer by policy, where nothing was decided: `OVER_LIMIT` without statuses, headers or body.
    pub fn over_limit() -> Bytes {
        Bytes::from_static(&[0, 0, 0, 0, 2, 1 << 3, 2])
    }

    /// The bytes of the finished answer, frame header and all.
    pub fn finish(mut self) -> Bytes {
        if let Some(begun) = self.metadata.take() {
            self.message.end(begun);
        }
        let length = self.message.out.len() - FRAME_HEADER_BYTES;
        // An answer is some hundred bytes; what a request can make of it is bounded, far below 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = self.message.out.get_mut(1..FRAME_HEADER_BYTES) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Bytes::copy_from_slice(self.message.out)
    }

    fn begin(refused: bool, buffer: &'b mut Vec<u8>) -> Self {
        buffer.clear();
        if buffer.capacity() > ROOM_KEPT_BYTES {
            *buffer = Vec::new();
        }
        buffer.reserve(USUAL_BYTES);
        buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        let mut message = Message { out: buffer };
        message.varint_field(1, code(refused));
        Self { message, metadata: None }
    }
}

impl Sink for Answer<'_> {
    #[inline]
    fn header(&mut self, name: &str, value: &[u8]) {
        // A `string`: one byte that is not UTF-8, and Envoy could not read the answer.
        let value = if value.is_ascii() { Cow::Borrowed(value) } else { replaced(value) };
        self.message.texts_field(3, name.as_bytes(), &value);
    }

    fn body(&mut self, body: &[u8]) {
        self.message.bytes_field(5, body);
    }

    // Inlined where the names are known, so that they are stored and not copied.
    #[inline]
    fn field(&mut self, name: &str, value: Field<'_>) {
        if self.metadata.is_none() {
            self.metadata = Some(self.message.begin(6));
        }
        let message = &mut self.message;
        match value {
            Field::Number(number) if number <= EXACT_MAX => message.number_entry(name, number as f64),
            Field::Text(text) => message.text_entry(name, text),
            Field::Number(number) => {
                write_entry(message, name, |message| message.bytes_field(3, number.to_string().as_bytes()));
            }
            Field::Bool(on) => write_entry(message, name, |message| message.varint_field(4, u64::from(on))),
            Field::Value(value) => write_entry(message, name, |message| write_value(message, value)),
        }
    }
}

/// `RateLimitResponse.DescriptorStatus`
fn write_status(message: &mut Message<'_>, status: &Status<'_>) {
    message.varint_field(1, code(status.refused));
    if let Some(figure) = &status.figure {
        if status.exposed {
            message.nested(2, |limit| write_limit(limit, figure));
        }
        message.varint_field(3, saturated(figure.remaining));
        // Present even where it is zero: the counter is as good as untouched.
        message.nested(4, |duration| duration.varint_field(1, figure.reset_secs));
    } else if status.unlimited {
        message.varint_field(3, u64::from(u32::MAX));
    }
}

/// `RateLimitResponse.RateLimit`
fn write_limit(message: &mut Message<'_>, figure: &Figure<'_>) {
    let (unit, multiplier) = figure.limit.limit.window.in_units();
    message.varint_field(1, saturated(figure.limit.limit.capacity()));
    message.varint_field(2, u64::from(unit as u8));
    if figure.limit.written_name.is_some() {
        message.bytes_field(3, figure.limit.name.as_bytes());
    }
    if multiplier != 1 {
        message.nested(4, |wrapper| wrapper.varint_field(1, multiplier));
    }
}

/// One `fields` entry of a `google.protobuf.Struct`: `{1: name, 2: Value}`.
fn write_entry(message: &mut Message<'_>, name: &str, value: impl FnOnce(&mut Message<'_>)) {
    message.nested(1, |entry| {
        entry.bytes_field(1, name.as_bytes());
        entry.nested(2, value);
    });
}

/// `google.protobuf.Value`; as deep as the rule file that said it, which is bounded.
fn write_value(message: &mut Message<'_>, value: &Value) {
    match value {
        Value::Null => message.varint_field(1, 0),
        Value::Number(number) => message.double_field(2, *number),
        Value::Text(text) => message.bytes_field(3, text.as_bytes()),
        Value::Bool(on) => message.varint_field(4, u64::from(*on)),
        Value::Map(entries) => message.nested(5, |map| {
            for (name, value) in entries {
                write_entry(map, name, |message| write_value(message, value));
            }
        }),
        Value::List(values) => message.nested(6, |list| {
            for value in values {
                list.nested(1, |message| write_value(message, value));
            }
        }),
    }
}

fn code(refused: bool) -> u64 {
    if refused { OVER_LIMIT } else { OK }
}

/// `value` with what is not UTF-8 replaced.
#[cold]
fn replaced(value: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A protobuf message, written at the end of a buffer. Field numbers are below 16: a key is one byte.
#[derive(Debug)]
struct Message<'b> {
    out: &'b mut Vec<u8>,
}

/// Where the content of a nested message begins; its length stands in front once it is known.
#[derive(Debug)]
struct Begun(usize);

#[expect(clippy::cast_possible_truncation, reason = "only lengths and numbers below ONE_BYTE are cast")]
impl Message<'_> {
    /// Written even where it is zero: a field of a oneof must be.
    fn varint_field(&mut self, number: u8, value: u64) {
        self.out.push(number << 3);
        self.varint(value);
    }

    fn double_field(&mut self, number: u8, value: f64) {
        self.out.push(number << 3 | 1);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes_field(&mut self, number: u8, value: &[u8]) {
        if value.len() < ONE_BYTE {
            self.out.extend_from_slice(&[number << 3 | 2, value.len() as u8]);
        } else {
            self.out.push(number << 3 | 2);
            self.varint(value.len() as u64);
        }
        self.out.extend_from_slice(value);
    }

    /// A nested message of two texts.
    #[inline]
    fn texts_field(&mut self, number: u8, first: &[u8], second: &[u8]) {
        let length = first.len() + second.len() + 4;
        if length >= ONE_BYTE {
            return self.nested(number, |pair| {
                pair.bytes_field(1, first);
                pair.bytes_field(2, second);
            });
        }
        self.out.extend_from_slice(&[number << 3 | 2, length as u8, 1 << 3 | 2, first.len() as u8]);
        self.out.extend_from_slice(first);
        self.out.extend_from_slice(&[2 << 3 | 2, second.len() as u8]);
        self.out.extend_from_slice(second);
    }

    /// A `fields` entry of a Struct whose value is a text.
    #[inline]
    fn text_entry(&mut self, name: &str, text: &str) {
        /// Key and length of the name, of the `Value`, and of the text in it.
        const BESIDE_TEXTS: usize = 2 + 2 + 2;
        let length = name.len() + text.len() + BESIDE_TEXTS;
        if length >= ONE_BYTE {
            return write_entry(self, name, |message| message.bytes_field(3, text.as_bytes()));
        }
        self.out.extend_from_slice(&[1 << 3 | 2, length as u8, 1 << 3 | 2, name.len() as u8]);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(&[2 << 3 | 2, text.len() as u8 + 2, 3 << 3 | 2, text.len() as u8]);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A `fields` entry of a Struct whose value is a number: most of the metadata.
    #[inline]
    fn number_entry(&mut self, name: &str, number: f64) {
        /// Key and length of the name, then key and length of the `Value`, whose one field is a key and eight bytes.
        const BESIDE_NAME: usize = 2 + 2 + 9;
        let length = name.len() + BESIDE_NAME;
        if length >= ONE_BYTE {
            return write_entry(self, name, |message| message.double_field(2, number));
        }
        let mut value = [2 << 3 | 2, 9, 2 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0];
        value[3..].copy_from_slice(&number.to_le_bytes());
        self.out.extend_from_slice(&[1 << 3 | 2, length as u8, 1 << 3 | 2, name.len() as u8]);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(&value);
    }

    fn nested(&mut self, number: u8, write: impl FnOnce(&mut Message<'_>)) {
        let begun = self.begin(number);
        write(&mut Message { out: self.out });
        self.end(begun);
    }

    /// Leaves one byte for the length, which is enough for all but the metadata; [`end`](Self::end) makes room where
    /// it is not. Measuring first would walk everything twice.
    fn begin(&mut self, number: u8) -> Begun {
        self.out.extend_from_slice(&[number << 3 | 2, 0]);
        Begun(self.out.len())
    }

    fn end(&mut self, Begun(start): Begun) {
        let length = self.out.len() - start;
        if length < ONE_BYTE {
            self.out[start - 1] = length as u8;
            return;
        }
        let (prefix, width) = varint(length as u64);
        self.out.resize(start + length + width - 1, 0);
        self.out.copy_within(start..start + length, start + width - 1);
        self.out[start - 1..start - 1 + width].copy_from_slice(&prefix[..width]);
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        if value < ONE_BYTE as u64 {
            return self.out.push(value as u8);
        }
        let (bytes, width) = varint(value);
        self.out.extend_from_slice(&bytes[..width]);
    }
}

/// Seven bits a byte, lowest first; all but the last have the top bit set. So many of the bytes count.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut width = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[width] = if value == 0 { low } else { low | 0x80 };
        width += 1;
        if value == 0 {
            return (bytes, width);
        }
    }
}

#[cfg(test)]
mod tests;
