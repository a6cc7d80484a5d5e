//! A request as the core sees it: borrowed bytes, whatever the wire format was.

use smallvec::SmallVec;

/// One question of Envoy: "may this pass?". Borrows from the message it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// Raw bytes: what a client put into a header need not be UTF-8.
    pub domain: &'a [u8],
    /// `hits_addend` of the request; 0 stands for 1 (the field has no presence on the wire).
    pub hits: u32,
    pub descriptors: SmallVec<[Descriptor; 4]>,
    /// The entries of all descriptors, in order: one allocation at most, and none for the usual request.
    pub entries: SmallVec<[Entry<'a>; 8]>,
}

impl<'a> Request<'a> {
    /// A request that only looks: would one hit more of the descriptor `entries` have room? Charges nothing.
    pub fn look(entries: &[Entry<'a>]) -> Self {
        let entry_count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let descriptor = Descriptor { entry_count, hits: Some(0), ..Descriptor::default() };
        Self {
            descriptors: SmallVec::from_iter([descriptor]),
            entries: SmallVec::from_slice(entries),
            ..Self::default()
        }
    }

    /// The entries of one of this request's descriptors.
    pub fn entries_of(&self, descriptor: &Descriptor) -> &[Entry<'a>] {
        let first = descriptor.first_entry as usize;
        &self.entries[first..first + descriptor.entry_count as usize]
    }

    /// What `descriptor` asks of its counters.
    pub fn ask_of(&self, descriptor: &Descriptor) -> Ask {
        let hits = descriptor.hits.unwrap_or_else(|| u64::from(self.hits.max(1)));
        match (descriptor.gives_back, hits) {
            (true, hits) => Ask::GiveBack(hits),
            (false, 0) => Ask::Look,
            (false, hits) => Ask::Take(hits),
        }
    }
}

/// One descriptor: a path of entries, and what may override its rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    pub first_entry: u32,
    pub entry_count: u32,
    /// A limit that Envoy took from its own configuration or metadata.
    pub limit: Option<RequestLimit>,
    /// Hits of this descriptor; present beats the request's, and a present 0 looks without charging.
    pub hits: Option<u64>,
    /// `is_negative_hits`: give hits back.
    pub gives_back: bool,
}

/// One entry of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// `descriptor.limit` as it was sent: nothing of it is checked yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestLimit {
    pub requests_per_unit: u32,
    /// `envoy.type.v3.RateLimitUnit`, as a number.
    pub unit: i32,
    /// Absent and 0 stand for 1.
    pub unit_multiplier: Option<u32>,
}

/// What a descriptor asks of the counters it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Charge so many hits (at least 1) if there is room.
    Take(u64),
    /// Is there room for one hit? Charges nothing.
    Look,
    /// Give so many hits back, never below zero.
    GiveBack(u64),
}
