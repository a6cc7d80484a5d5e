//! Exact values of one key, and the rule of each: found in the one place where they are compared.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::RuleIndex;

/// Rules by the value that each of them matches.
///
/// With a hundred thousand of them a lookup costs what it fetches from memory, so a short value stands beside the
/// number of its rule in the table itself: no pointer leads to it.
#[derive(Debug, Default)]
pub struct Values {
    hashes: DefaultHashBuilder,
    table: HashTable<Known>,
}

/// A place of 32 bytes: two fit into a line of the cache, and none lies across the border of two.
#[derive(Debug)]
enum Known {
    Short { length: u8, bytes: [u8; SHORT_BYTES], rule: RuleIndex },
    Long { value: Box<[u8]>, rule: RuleIndex },
}

/// What a place has room for beside the number of the rule: addresses, numbers of customers, most API keys.
const SHORT_BYTES: usize = 26;

impl Values {
    /// Adds a value.
    ///
    /// # Errors
    ///
    /// The rule that already has this value; nothing is changed.
    pub fn insert(&mut self, value: Box<[u8]>, rule: RuleIndex) -> Result<(), RuleIndex> {
        let hash = self.hashes.hash_one(&*value);
        if let Some(standing) = self.table.find(hash, |known| known.value() == &*value) {
            return Err(standing.rule());
        }
        let hashes = &self.hashes;
        self.table.insert_unique(hash, Known::new(value, rule), |known| hashes.hash_one(known.value()));
        Ok(())
    }

    /// The rule of this value.
    pub fn find(&self, value: &[u8]) -> Option<RuleIndex> {
        // Most keys have patterns or no values at all, and then nothing is hashed.
        if self.table.is_empty() {
            return None;
        }
        self.table.find(self.hashes.hash_one(value), |known| known.value() == value).map(Known::rule)
    }

    /// Every value with its rule, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], RuleIndex)> {
        self.table.iter().map(|known| (known.value(), known.rule()))
    }
}

impl Known {
    fn new(value: Box<[u8]>, rule: RuleIndex) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match (bytes.get_mut(..value.len()), u8::try_from(value.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(&value);
                Self::Short { length, bytes, rule }
            }
            _ => Self::Long { value, rule },
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes, .. } => &bytes[..usize::from(*length)],
            Self::Long { value, .. } => value,
        }
    }

    const fn rule(&self) -> RuleIndex {
        match self {
            Self::Short { rule, .. } | Self::Long { rule, .. } => *rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_are_found_and_told_apart() {
        let text = |length: usize| vec![b'x'; length];
        let mut values = Values::default();
        for (length, number) in (0..3 * SHORT_BYTES).zip(0..) {
            assert_eq!(values.insert(text(length).into(), RuleIndex(number)), Ok(()), "{length} bytes");
        }
        for (length, number) in (0..3 * SHORT_BYTES).zip(0..) {
            assert_eq!(values.find(&text(length)), Some(RuleIndex(number)), "{length} bytes");
            assert_eq!(values.insert(text(length).into(), RuleIndex(999)), Err(RuleIndex(number)), "{length} bytes");
            // What a short place is filled up with is no part of its value.
            assert_eq!(values.find(&[text(length), vec![0]].concat()), None, "{length} bytes");
        }
        assert_eq!(values.iter().count(), 3 * SHORT_BYTES);
    }

    #[test]
    fn a_place_has_half_a_line_of_the_cache() {
        assert_eq!(size_of::<Known>(), 32);
    }
}
