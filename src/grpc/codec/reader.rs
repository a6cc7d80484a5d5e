//! Protobuf's wire format, read from a slice: keys, varints, lengths, and skipping what is not known.
//!
//! It accepts and rejects exactly what prost does, so that neither can be told from the other.

use thiserror::Error;

/// Messages and groups inside one another, as prost bounds them: a deeper message is rejected.
pub(super) const DEPTH_MAX: u32 = 100;

/// Why a message cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} at byte {at} of the message")]
pub struct Malformed {
    pub what: What,
    /// Bytes from the start of the message.
    pub at: usize,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum What {
    #[error("unexpected end")]
    Truncated,
    #[error("varint of more than 64 bits")]
    Varint,
    #[error("field number outside 1 to 536870911")]
    Field,
    #[error("unknown wire type")]
    Unknown,
    #[error("wrong wire type of a known field")]
    WireType,
    #[error("end of a group that was not begun")]
    Group,
    #[error("more than 100 levels")]
    Depth,
    /// Well-formed, but of a size that only an attack has: see [`bounds`](crate::bounds).
    #[error("more descriptors or entries than are decided")]
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// The number and wire type in front of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub number: u32,
    pub wire_type: WireType,
}

/// Reads one message, or one inside another. Every read is checked against the end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// The whole message up to this one's end, so that errors tell the place in the whole.
    bytes: &'a [u8],
    at: usize,
    /// Levels that may still follow.
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { bytes: message, at: 0, depth: DEPTH_MAX }
    }

    /// The next field's key; `None` at the end of this message.
    pub(super) fn next_key(&mut self) -> Result<Option<Key>, Malformed> {
        if self.at == self.bytes.len() { Ok(None) } else { self.key().map(Some) }
    }

    /// The value of a varint field.
    pub(super) fn number(&mut self, key: Key) -> Result<u64, Malformed> {
        self.expect(key, WireType::Varint)?;
        self.varint()
    }

    /// The value of a `uint32` field: the low half of what was sent, as protobuf has it.
    #[expect(clippy::cast_possible_truncation, reason = "the wire format defines it so")]
    pub(super) fn number_u32(&mut self, key: Key) -> Result<u32, Malformed> {
        Ok(self.number(key)? as u32)
    }

    /// The value of a `string` or `bytes` field, as it came.
    pub(super) fn text(&mut self, key: Key) -> Result<&'a [u8], Malformed> {
        self.expect(key, WireType::Bytes)?;
        let end = self.end_of_length()?;
        let text = self.bytes.get(self.at..end).ok_or(self.malformed(What::Truncated))?;
        self.at = end;
        Ok(text)
    }

    /// The message in a message field; `self` goes on behind it.
    pub(super) fn message(&mut self, key: Key) -> Result<Self, Malformed> {
        self.expect(key, WireType::Bytes)?;
        let depth = self.depth.checked_sub(1).ok_or(self.malformed(What::Depth))?;
        let end = self.end_of_length()?;
        let bytes = self.bytes.get(..end).ok_or(self.malformed(What::Truncated))?;
        let inner = Self { bytes, at: self.at, depth };
        self.at = end;
        Ok(inner)
    }

    /// Passes over a field that nobody here knows: another Envoy's, older or newer.
    pub(super) fn skip(&mut self, key: Key) -> Result<(), Malformed> {
        self.skip_at(key, self.depth)
    }

    /// An error at the present place.
    pub(super) fn malformed(&self, what: What) -> Malformed {
        Malformed { what, at: self.at }
    }

    fn skip_at(&mut self, key: Key, depth: u32) -> Result<(), Malformed> {
        let inner_depth = depth.checked_sub(1).ok_or(self.malformed(What::Depth))?;
        match key.wire_type {
            WireType::Varint => self.varint().map(|_| ()),
            WireType::Fixed64 => self.advance(8),
            WireType::Fixed32 => self.advance(4),
            WireType::Bytes => {
                self.at = self.end_of_length()?;
                Ok(())
            }
            WireType::GroupStart => loop {
                let inner = self.key()?;
                match inner.wire_type {
                    WireType::GroupEnd if inner.number == key.number => break Ok(()),
                    WireType::GroupEnd => break Err(self.malformed(What::Group)),
                    _ => self.skip_at(inner, inner_depth)?,
                }
            },
            WireType::GroupEnd => Err(self.malformed(What::Group)),
        }
    }

    fn expect(&self, key: Key, wanted: WireType) -> Result<(), Malformed> {
        if key.wire_type == wanted { Ok(()) } else { Err(self.malformed(What::WireType)) }
    }

    fn key(&mut self) -> Result<Key, Malformed> {
        let start = self.at;
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed { what: What::Field, at: start })?;
        let wire_type = match key & 0b111 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Bytes,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return Err(Malformed { what: What::Unknown, at: start }),
        };
        match key >> 3 {
            0 => Err(Malformed { what: What::Field, at: start }),
            number => Ok(Key { number, wire_type }),
        }
    }

    /// Reads a length and says where what it measures ends, which lies within this message.
    fn end_of_length(&mut self) -> Result<usize, Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| self.malformed(What::Truncated))?;
        if length > self.bytes.len() - self.at {
            return Err(self.malformed(What::Truncated));
        }
        Ok(self.at + length)
    }

    fn advance(&mut self, count: usize) -> Result<(), Malformed> {
        if count > self.bytes.len() - self.at {
            return Err(self.malformed(What::Truncated));
        }
        self.at += count;
        Ok(())
    }

    /// One byte is the rule: field numbers and lengths of real requests are below 128.
    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let mut value = 0_u64;
        // Ten groups of seven bits hold 64 bits and six more, which must not be there.
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(self.malformed(What::Truncated))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let overflows = shift == 63 && byte > 1;
                return if overflows { Err(Malformed { what: What::Varint, at: start }) } else { Ok(value) };
            }
        }
        Err(Malformed { what: What::Varint, at: start })
    }
}
