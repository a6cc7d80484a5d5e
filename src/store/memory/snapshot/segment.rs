//! The bytes of one segment. All numbers are little-endian.
//!
//! | part | bytes |
//! |---|---|
//! | header | magic (8), [`VERSION`] (4), shards (4), fingerprint of the hash key (8), place (8), time of the walk (8) |
//! | sections, any number | kind (4: 1 changed, 2 whole), shard (4), counters (4), the counters (32 each) |
//! | end | kind (4: 0), counters in all (8), CRC-32 of everything before (4) |
//!
//! A shard that is *whole* in a segment is complete there: what earlier segments say of it does not count.

use std::io::{self, Read, Write};

use crc32fast::Hasher;
use thiserror::Error;

use super::{Set, Slot};
use crate::{bounds::SECTION_SLOTS_MAX, units::Timestamp};

/// The version of the format, the meaning of slots included.
pub const VERSION: u32 = super::super::FORMAT_VERSION;

const MAGIC: [u8; 8] = *b"tg-count";
const HEADER_BYTES: usize = 40;
const SLOT_BYTES: usize = size_of::<Slot>();
const END: u32 = 0;
const CHANGED: u32 = 1;
const WHOLE: u32 = 2;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub set: Set,
    /// Its place in its set; each segment has the next.
    pub place: u64,
    /// The wall clock at the walk.
    pub taken: Timestamp,
}

/// Some counters of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    pub shard: u32,
    /// Whether the segment holds all counters of this shard, perhaps in several sections.
    pub whole: bool,
}

/// Why a file is no segment that can be used.
#[derive(Debug, Error)]
pub enum Damage {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no segment")]
    NotASegment,
    #[error("its format has version {0}, this program reads {VERSION}")]
    OtherVersion(u32),
    #[error("it was written with another hash key or another number of shards")]
    OtherSet,
    #[error("it says that its place is {0}, which is not its name")]
    OtherPlace(u64),
    #[error("it ends too early")]
    Truncated,
    #[error("it goes on after its end")]
    TooLong,
    #[error("a section cannot be: {0}")]
    BadSection(&'static str),
    #[error("its checksum is wrong")]
    BadChecksum,
}

/// Writes a segment, piece by piece.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    pending: Vec<u8>,
    checksum: Hasher,
    slots: u64,
    bytes: u64,
}

/// How large a segment became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub counters: u64,
    pub bytes: u64,
}

/// Bytes gathered before they are handed to the system: one full section.
const PENDING_BYTES: usize = SECTION_SLOTS_MAX * SLOT_BYTES;

impl<W: Write> Writer<W> {
    /// Begins a segment; nothing is written yet.
    pub fn new(output: W, header: Header) -> Self {
        let mut pending = Vec::with_capacity(2 * PENDING_BYTES);
        pending.extend(MAGIC);
        pending.extend(VERSION.to_le_bytes());
        pending.extend(header.set.shards.to_le_bytes());
        pending.extend(header.set.fingerprint.to_le_bytes());
        pending.extend(header.place.to_le_bytes());
        pending.extend(header.taken.0.to_le_bytes());
        Self { output, pending, checksum: Hasher::new(), slots: 0, bytes: 0 }
    }

    /// Adds counters of one shard. A whole one is said even where it has no counters: it had some before.
    ///
    /// # Errors
    ///
    /// What the system says; the segment is then lost.
    pub fn add(&mut self, section: Section, slots: &[Slot]) -> io::Result<()> {
        if slots.is_empty() && section.whole {
            self.add_piece(section, slots)?;
        }
        slots.chunks(SECTION_SLOTS_MAX).try_for_each(|piece| self.add_piece(section, piece))
    }

    fn add_piece(&mut self, section: Section, slots: &[Slot]) -> io::Result<()> {
        self.word(if section.whole { WHOLE } else { CHANGED });
        self.word(section.shard);
        self.word(u32::try_from(slots.len()).expect("a piece is short"));
        self.pending.extend(slots.iter().flatten().flat_map(|word| word.to_le_bytes()));
        self.slots += slots.len() as u64;
        if self.pending.len() < PENDING_BYTES { Ok(()) } else { self.flush() }
    }

    /// Ends the segment, and gives back what it was written to.
    ///
    /// # Errors
    ///
    /// What the system says; the segment is then lost.
    pub fn end(mut self) -> io::Result<(W, Size)> {
        self.word(END);
        self.pending.extend(self.slots.to_le_bytes());
        self.flush()?;
        let checksum = self.checksum.finalize().to_le_bytes();
        self.output.write_all(&checksum)?;
        Ok((self.output, Size { counters: self.slots, bytes: self.bytes + checksum.len() as u64 }))
    }

    fn word(&mut self, word: u32) {
        self.pending.extend(word.to_le_bytes());
    }

    fn flush(&mut self) -> io::Result<()> {
        self.checksum.update(&self.pending);
        self.bytes += self.pending.len() as u64;
        self.output.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// Reads a segment, section by section, in bounded memory.
///
/// Only when [`next`](Self::next) has come to the end is anything known to be right: who must not use a part of a
/// damaged segment reads it twice.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    checksum: Hasher,
    slots: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Begins to read; the header must be that of a segment of `set`.
    ///
    /// # Errors
    ///
    /// There is no such header.
    pub fn new(mut input: R, set: Set) -> Result<Self, Damage> {
        let mut bytes = [0; HEADER_BYTES];
        read(&mut input, &mut bytes)?;
        let mut checksum = Hasher::new();
        checksum.update(&bytes);

        let mut rest = &bytes[..];
        if take::<8>(&mut rest) != MAGIC {
            return Err(Damage::NotASegment);
        }
        let version = u32::from_le_bytes(take(&mut rest));
        if version != VERSION {
            return Err(Damage::OtherVersion(version));
        }
        let found =
            Set { shards: u32::from_le_bytes(take(&mut rest)), fingerprint: u64::from_le_bytes(take(&mut rest)) };
        if found != set {
            return Err(Damage::OtherSet);
        }
        let place = u64::from_le_bytes(take(&mut rest));
        let taken = Timestamp(u64::from_le_bytes(take(&mut rest)));
        Ok(Self { input, header: Header { set, place, taken }, checksum, slots: 0, buffer: Vec::new() })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// The next section, its counters in place of what was in `slots`; none at the end of a segment that is right.
    ///
    /// # Errors
    ///
    /// The segment is damaged. What was read before is not to be trusted either.
    pub fn next(&mut self, slots: &mut Vec<Slot>) -> Result<Option<Section>, Damage> {
        slots.clear();
        let whole = match self.word()? {
            END => return self.end().map(|()| None),
            CHANGED => false,
            WHOLE => true,
            _ => return Err(Damage::BadSection("unknown kind")),
        };
        let shard = self.word()?;
        if shard >= self.header.set.shards {
            return Err(Damage::BadSection("no such shard"));
        }
        let count = self.word()? as usize;
        if count > SECTION_SLOTS_MAX {
            return Err(Damage::BadSection("too many counters"));
        }
        self.buffer.resize(count * SLOT_BYTES, 0);
        read(&mut self.input, &mut self.buffer)?;
        self.checksum.update(&self.buffer);
        let (words, _) = self.buffer.as_chunks::<4>();
        let (whole_slots, _) = words.as_chunks::<8>();
        slots.extend(whole_slots.iter().map(|slot| slot.map(u32::from_le_bytes)));
        self.slots += count as u64;
        Ok(Some(Section { shard, whole }))
    }

    fn end(&mut self) -> Result<(), Damage> {
        let slots = u64::from_le_bytes(self.bytes()?);
        let computed = self.checksum.clone().finalize();
        let mut checksum = [0; 4];
        read(&mut self.input, &mut checksum)?;
        if u32::from_le_bytes(checksum) != computed || slots != self.slots {
            return Err(Damage::BadChecksum);
        }
        match read(&mut self.input, &mut [0]) {
            Err(Damage::Truncated) => Ok(()),
            Err(damage) => Err(damage),
            Ok(()) => Err(Damage::TooLong),
        }
    }

    fn word(&mut self) -> Result<u32, Damage> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut bytes = [0; N];
        read(&mut self.input, &mut bytes)?;
        self.checksum.update(&bytes);
        Ok(bytes)
    }
}

fn read(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), Damage> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Damage::Truncated,
        _ => Damage::Unreadable(error),
    })
}

/// The next bytes of a header, which is as long as its parts together.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (bytes, behind) = rest.split_first_chunk().expect("the header is long enough");
    *rest = behind;
    *bytes
}
