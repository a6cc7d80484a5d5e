//! What an order is about.

use crate::{request::Entry, rules::orders::Reach};

/// One entry of a descriptor, owned.
pub type KeyAndValue = (Box<[u8]>, Box<[u8]>);

/// A descriptor of a domain, or everything that begins as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub domain: Box<str>,
    /// Keys and values as Envoy sends them; at least one.
    pub entries: Box<[KeyAndValue]>,
    /// Only its beginning is given.
    pub prefix: bool,
}

impl About {
    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.entries.iter().map(|(key, value)| Entry { key, value }).collect()
    }

    pub fn reach(&self) -> Reach {
        if self.prefix { Reach::Beginning(self.entries.len()) } else { Reach::Whole }
    }

    /// Whether everything that `other` is about begins as this does.
    pub(super) fn begins(&self, other: &Self) -> bool {
        self.domain == other.domain && other.entries.starts_with(&self.entries)
    }
}
