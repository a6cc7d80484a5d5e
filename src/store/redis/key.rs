//! The keys of counters: readable as far as nobody's secrets are concerned, and of bounded length.

use std::io::Write as _;

use super::slots::Slot;
use crate::charge::CounterKey;

/// What the keys of the house have before their names: all in one slot, and in none that a domain chooses, which is written
/// without `@`.
pub(super) const HOUSE: &str = "{@house}:";

/// How keys are written: all that is ours begins alike, and like nothing of others who share the server.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Box<str>,
}

impl Names {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What the keys of all counters of a group begin with.
    pub fn begin(&self, group: Group<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.prefix.len() + group.domain.len() + 80);
        out.extend_from_slice(self.prefix.as_bytes());
        group.write(&mut out);
        out
    }

    /// A key of the house.
    pub fn of_house(&self, what: &str) -> String {
        format!("{}{HOUSE}{what}", self.prefix)
    }

    /// A key that nobody else writes, in the slot that `tag` chooses.
    pub fn greeting(&self, tag: &str) -> String {
        format!("{}{{{tag}}}:greeting", self.prefix)
    }
}

/// Counters that stand in one slot: those of a domain, or where it is spread those of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group<'d> {
    pub domain: &'d str,
    pub descriptor: Option<DescriptorTag>,
}

/// The part of their names that all counters of a descriptor have in common, and others hardly ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorTag(u64);

impl DescriptorTag {
    pub fn of(key: CounterKey) -> Self {
        let upper = key.0 >> 64;
        Self(u64::try_from(upper).expect("so many bits are left"))
    }
}

impl Group<'_> {
    /// Its part of a key. Braces make it alone choose the slot of a cluster, and never more of it than we mean.
    fn write(self, out: &mut Vec<u8>) {
        out.push(b'{');
        for &byte in self.domain.as_bytes() {
            if is_plain(byte) {
                out.push(byte);
            } else {
                write!(out, "%{byte:02x}").expect("a Vec can be written to");
            }
        }
        if let Some(DescriptorTag(tag)) = self.descriptor {
            write!(out, ":{tag:016x}").expect("a Vec can be written to");
        }
        out.extend_from_slice(b"}:");
    }

    /// The slot that all of them fall into.
    pub fn slot(self) -> Slot {
        // What stands in the braces is most often the domain as it is.
        if self.descriptor.is_none() && self.domain.bytes().all(is_plain) {
            Slot::of(self.domain.as_bytes())
        } else {
            let mut key = Vec::with_capacity(self.domain.len() + 24);
            self.write(&mut key);
            Slot::of(&key)
        }
    }
}

/// Whether it stands for itself.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/')
}

/// Writes what follows the [beginning](Names::begin) in the key of a counter.
pub(super) fn write(key: CounterKey, out: &mut Vec<u8>) {
    write!(out, "{:032x}", key.0).expect("a Vec can be written to");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_domain_in_the_only_braces_and_its_counter_in_hexadecimal() {
        for (domain, begins) in [
            ("shop", "tallygate:{shop}:"),
            ("a.b_c-d/E9", "tallygate:{a.b_c-d/E9}:"),
            ("{a}%: ", "tallygate:{%7ba%7d%25%3a%20}:"),
            ("ü", "tallygate:{%c3%bc}:"),
        ] {
            let group = Group { domain, descriptor: None };
            let mut key = Names::new("tallygate:").begin(group);
            write(CounterKey(0xabc), &mut key);
            assert_eq!(String::from_utf8_lossy(&key), format!("{begins}{:029}abc", 0));
            assert_eq!(group.slot(), Slot::of(&key));
        }
    }

    #[test]
    fn where_a_domain_is_spread_the_braces_name_the_descriptor_too() {
        let key = CounterKey(0xabc << 64 | 0xdef);
        let group = Group { domain: "shop:1", descriptor: Some(DescriptorTag::of(key)) };
        let names = Names::new("tallygate:");
        let mut name = names.begin(group);
        write(key, &mut name);
        let tag = "0000000000000abc";
        assert_eq!(String::from_utf8_lossy(&name), format!("tallygate:{{shop%3a1:{tag}}}:{tag}0000000000000def"));
        assert_eq!(group.slot(), Slot::of(&name));
        // Nobody can give a domain such a name: its colon would not stand for itself.
        let other = Group { domain: "shop:1:0000000000000abc", descriptor: None };
        assert_ne!(names.begin(other), names.begin(group));
    }
}
