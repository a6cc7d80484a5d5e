//! Lists of whole numbers, as `MessagePack` has them: the shortest that scripts take apart in one step.

use crate::bounds::REDIS_COUNT_MAX;

/// A list that is being written.
pub(super) struct List<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> List<'o> {
    /// Begins a list of so many numbers, which must then be written.
    pub fn begin(length: usize, out: &'o mut Vec<u8>) -> Self {
        out.push(0xdd);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        Self { out }
    }

    /// A number the script can count to; larger ones become the largest, which no limit has room for.
    pub fn number(&mut self, number: u64) {
        let number = number.min(REDIS_COUNT_MAX);
        match u8::try_from(number) {
            Ok(small @ 0..=0x7f) => self.out.push(small),
            _ => match u32::try_from(number) {
                Ok(number) => {
                    self.out.push(0xce);
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
                Err(_) => {
                    self.out.push(0xcf);
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            },
        }
    }

    /// The same below zero.
    pub fn negative(&mut self, number: u64) {
        let number = number.min(REDIS_COUNT_MAX).cast_signed();
        self.out.push(0xd3);
        self.out.extend_from_slice(&(-number).to_be_bytes());
    }
}
