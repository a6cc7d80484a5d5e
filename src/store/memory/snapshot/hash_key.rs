//! The secret that counters of this process are named with ([`HashKey::Secret`](crate::rules::identity::HashKey::Secret)):
//! kept beside the counters, which mean nothing without it.

use std::io::{self, Read, Write};

use super::Disk;

/// Where the key is kept. Nobody but the service may read it: who knows it can make two descriptors share a counter.
const NAME: &str = "hash-key";
const UNFINISHED: &str = "hash-key.unfinished";
const SET_ASIDE: &str = "hash-key.damaged";

/// What the file begins with: what it is, and the version of its form.
const MAGIC: [u8; 8] = *b"tg-key-1";
const KEY_BYTES: usize = 16;
/// Magic, key, and the CRC-32 of both, little-endian.
const FILE_BYTES: usize = MAGIC.len() + KEY_BYTES + 4;

type Secret = [u8; KEY_BYTES];

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was kept: the counters that were kept with it can be used.
    Kept,
    /// There was none, as at the first start.
    New,
    /// The file is not what was written. It was set aside, and the counters of before start afresh.
    Damaged,
}

/// The key that is kept on `disk`; else `fresh`, which is kept from now on.
///
/// # Errors
///
/// The file is there and cannot be read, or a new one cannot be written. A new key must not be used with kept counters
/// then: the next start might find the old one.
pub fn hash_key<D: Disk>(disk: &D, fresh: Secret) -> io::Result<(Secret, Origin)> {
    let origin = match disk.open(NAME) {
        Ok(file) => match read(file)? {
            Some(key) => return Ok((key, Origin::Kept)),
            None => {
                disk.rename(NAME, SET_ASIDE)?;
                Origin::Damaged
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Origin::New,
        Err(error) => return Err(error),
    };
    let mut file = disk.create(UNFINISHED)?;
    file.write_all(&encode(&fresh))?;
    disk.replace(file, UNFINISHED, NAME)?;
    Ok((fresh, origin))
}

fn encode(key: &Secret) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], key].concat();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// The key in `file`; none, if it is damaged.
fn read(file: impl Read) -> io::Result<Option<Secret>> {
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let key = bytes.get(MAGIC.len()..MAGIC.len() + KEY_BYTES).and_then(|key| key.try_into().ok());
    Ok(key.filter(|key| encode(key) == bytes))
}
