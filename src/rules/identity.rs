//! The names of counters: an injective encoding of a descriptor as its rule counts it, hashed so that no client can aim
//! at another's.
//!
//! A counter is named by its domain, its entries as counted, and its window; by no number, name, file or rule. So a
//! raised limit keeps the count, and a rule added for one customer goes on with his.

use std::{fmt, hash::Hasher as _};

use sha2::{Digest as _, Sha256};
use siphasher::{
    sip::SipHasher24,
    sip128::{Hasher128 as _, SipHasher13},
};

use super::{Counted, address::Address, level::REMOTE_ADDRESS, path::Path};
use crate::{
    limit::{Algorithm, Limit},
    request::Entry,
};

/// Bits of an IPv6 address that name its counter unless a rule says otherwise: the smallest network that one customer
/// of a provider gets, all of whose addresses are his to choose.
pub const IPV6_PREFIX: u8 = 64;

/// What counters' names are hashed with, so that no client finds a descriptor that has another's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HashKey {
    /// For counters of this process alone: SipHash-1-3, which is fast, and safe while nobody knows the key.
    Secret([u8; 16]),
    /// For counters that replicas share: SHA-256, by which all of them name a counter alike without sharing a secret.
    ///
    /// Whoever wants another's name computes 2¹²⁸ of them. He may well compute his own, and so choose their first bits:
    /// a table that would suffer from that hashes them again, as Redis does.
    Public,
}

impl HashKey {
    /// Tells one key from another without giving it away: files that hold hashed names say by it which key they need.
    pub fn fingerprint(&self) -> u64 {
        match self {
            Self::Secret(key) => {
                let mut hasher = SipHasher24::new_with_key(key);
                hasher.write(b"tallygate: fingerprint of a hash key");
                hasher.finish()
            }
            Self::Public => PUBLIC_FINGERPRINT,
        }
    }
}

/// As likely that of a secret as any other number.
const PUBLIC_FINGERPRINT: u64 = u64::from_be_bytes(*b"sha-256=");

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Public => "Public",
        })
    }
}

/// The name of `entries` as counted: a 128-bit hash of their [`encode`]d form.
///
/// The beginning of a descriptor has a name of its own, that of its first entries alone.
pub fn descriptor_key(hash_key: &HashKey, domain: &str, entries: &[Entry<'_>], counted: &[Counted]) -> u128 {
    match hash_key {
        HashKey::Secret(key) => {
            let mut hasher = SipHasher13::new_with_key(key);
            encode(domain, entries, counted, |piece| match *piece {
                // Half the pieces are one byte, for which the hasher has a short way.
                [byte] => hasher.write_u8(byte),
                _ => hasher.write(piece),
            });
            hasher.finish128().as_u128()
        }
        HashKey::Public => public_key(domain, entries, counted),
    }
}

/// The first half of the digest; in hexadecimal, the first 32 digits that `sha256sum` prints for the encoding.
#[inline(never)] // keeps the way of the secret as short as it would be alone
fn public_key(domain: &str, entries: &[Entry<'_>], counted: &[Counted]) -> u128 {
    let mut hasher = Sha256::new();
    encode(domain, entries, counted, |piece| hasher.update(piece));
    let digest: [u8; 32] = hasher.finalize().into();
    digest[..16].iter().fold(0, |name, &byte| name << 8 | u128::from(byte))
}

/// The name of one window's counter: the upper half is the descriptor's, so that all its windows live in one shard, and
/// the lower differs wherever `salt` does.
pub const fn counter_name(descriptor: u128, salt: u64) -> u128 {
    // The lower half is as good as random, and to aim at it takes the upper one too: the salt needs no mixing.
    descriptor ^ salt as u128
}

/// The salt of the block on a whole descriptor. Salts of windows are hashes: none is likely to be this one.
pub const BLOCK_SALT: u64 = u64::from_be_bytes(*b"blocked=");
/// The salt of the block on everything that begins as a descriptor does.
pub const BEGINNING_BLOCK_SALT: u64 = u64::from_be_bytes(*b"blocked+");
/// The salt of blocks by order, under which nothing is ever kept: what a rule started that asks for no blocks any more
/// must not come back with them.
pub const ORDERED_BLOCK_SALT: u64 = u64::from_be_bytes(*b"ordered=");

/// What tells the counters of one descriptor apart: see [`RuleLimit::salt`](super::RuleLimit::salt).
///
/// SipHash-2-4 with a key of zeros, over the window's identity, the algorithm and `shadow`; stored counters are named
/// with it, so it stays the same in every version and process.
pub fn window_salt(limit: &Limit, shadow: bool) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(limit.window.identity().as_bytes());
    hasher.write(&[0, algorithm_tag(limit.algorithm), u8::from(shadow)]);
    hasher.finish()
}

/// Fixed for ever: see [`window_salt`].
const fn algorithm_tag(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::FixedWindow => 0,
        Algorithm::SlidingWindow => 1,
        // A changed burst keeps the count, as a changed number does.
        Algorithm::TokenBucket { .. } => 2,
    }
}

/// How the text of an entry was come by. Kinds never share a counter, whatever bytes a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// A value, also one that was normalised: an address, a path.
    Value = 0,
    /// A network of several addresses.
    Network = 1,
    /// The pattern that all its values share.
    Shared = 2,
}

/// Writes `domain` and `entries` as counted by `counted`, one a level, in pieces.
///
/// No two different descriptors are written alike, and the beginning of a descriptor is written as the beginning of
/// its bytes: the domain's length and bytes, then for each entry its key's length and bytes, a tag, and the text's length
/// and bytes. Lengths are LEB128. Entries beyond `counted` count by value, [`remote_address`](REMOTE_ADDRESS) by its
/// network.
pub fn encode(domain: &str, entries: &[Entry<'_>], counted: &[Counted], mut write: impl FnMut(&[u8])) {
    write_text(domain.as_bytes(), &mut write);
    for (place, entry) in entries.iter().enumerate() {
        write_text(entry.key, &mut write);
        write_counted(entry, counted.get(place), &mut write);
    }
}

fn write_counted(entry: &Entry<'_>, counted: Option<&Counted>, write: &mut impl FnMut(&[u8])) {
    let mut write_tagged = |tag: Tag, text: &[u8]| {
        write(&[tag as u8]);
        write_text(text, &mut *write);
    };
    match counted {
        Some(Counted::Shared(pattern)) => write_tagged(Tag::Shared, pattern),
        Some(Counted::Path) => {
            let path = Path::parse(entry.value);
            write_tagged(Tag::Value, path.as_ref().map_or(entry.value, Path::text));
        }
        Some(&Counted::Address { ipv6_prefix }) => write_address(entry.value, ipv6_prefix, write_tagged),
        None if entry.key == REMOTE_ADDRESS => write_address(entry.value, IPV6_PREFIX, write_tagged),
        Some(Counted::Value) | None => write_tagged(Tag::Value, entry.value),
    }
}

fn write_address(value: &[u8], ipv6_prefix: u8, mut write_tagged: impl FnMut(Tag, &[u8])) {
    let Some(address) = Address::parse(value) else { return write_tagged(Tag::Value, value) };
    match address.network(ipv6_prefix) {
        Some(network) => write_tagged(Tag::Network, &network),
        None if address.is_spelled(value) => write_tagged(Tag::Value, value),
        None => write_tagged(Tag::Value, &address.text()),
    }
}

fn write_text(text: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut len = text.len();
    // Seven bits a byte, the lowest first; all but the last have the eighth set. Nearly always one byte.
    loop {
        let [low, ..] = len.to_le_bytes();
        len >>= 7;
        if len == 0 {
            write(&[low]);
            break;
        }
        write(&[low | 0x80]);
    }
    write(text);
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use allocation_counter::measure;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        limit::{Calendar, CalendarUnit, Window},
        units::Nanos,
    };

    const SECRET: [u8; 16] = [7; 16];
    const KEY: HashKey = HashKey::Secret(SECRET);

    fn entry<'a>(key: &'a str, value: &'a str) -> Entry<'a> {
        Entry { key: key.as_bytes(), value: value.as_bytes() }
    }

    fn encoded(domain: &str, entries: &[Entry<'_>], counted: &[Counted]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(domain, entries, counted, |piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn shared(text: &str) -> Counted {
        Counted::Shared(text.as_bytes().into())
    }

    const ADDRESS: Counted = Counted::Address { ipv6_prefix: 64 };

    #[test]
    fn entries_that_count_as_one_have_one_name() {
        for (key, first, second) in [
            ("ip", (ADDRESS, "2001:db8::1"), (ADDRESS, "[2001:DB8::2%eth0]")),
            ("ip", (ADDRESS, "10.0.0.1"), (ADDRESS, "::ffff:10.0.0.1")),
            ("ip", (ADDRESS, "10.0.0.1"), (Counted::Value, "10.0.0.1")),
            ("ip", (Counted::Address { ipv6_prefix: 128 }, "2001:DB8::1"), (Counted::Value, "2001:db8::1")),
            ("ip", (ADDRESS, "unknown"), (Counted::Value, "unknown")),
            ("path", (Counted::Path, "/a//b/?x"), (Counted::Path, "/a/b")),
            ("path", (Counted::Path, "/a/b?x"), (Counted::Value, "/a/b")),
            ("path", (Counted::Path, "*"), (Counted::Value, "*")),
            ("path", (shared("/a/{}"), "/a/1"), (shared("/a/{}"), "/a/2")),
        ] {
            let key_of = |(counted, value)| descriptor_key(&KEY, "d", &[entry(key, value)], &[counted]);
            assert_eq!(key_of(first.clone()), key_of(second.clone()), "{first:?} {second:?}");
        }
    }

    #[test]
    fn entries_that_count_as_two_have_two_names() {
        for (first, second) in [
            ((Counted::Value, "a"), (shared("a"), "a")),
            ((Counted::Value, "2001:db8::/64"), (ADDRESS, "2001:db8::1")),
            ((ADDRESS, "2001:db8::/64"), (ADDRESS, "2001:db8::1")),
            ((Counted::Value, "2001:db8::1"), (Counted::Value, "2001:DB8::1")),
            ((ADDRESS, "2001:db8::1"), (ADDRESS, "2001:db8:0:1::1")),
            ((ADDRESS, "10.0.0.1"), (ADDRESS, "10.0.0.2")),
            ((Counted::Value, "/a?x"), (Counted::Path, "/a?x")),
            ((shared("a*"), "ab"), (shared("ab*"), "ab")),
        ] {
            let key_of = |(counted, value)| descriptor_key(&KEY, "d", &[entry("k", value)], &[counted]);
            assert_ne!(key_of(first.clone()), key_of(second.clone()), "{first:?} {second:?}");
        }
    }

    #[test]
    fn without_a_word_about_counting_an_address_counts_by_network_and_all_else_by_value() {
        let of = |entries: &[Entry<'_>], counted: &[Counted]| encoded("d", entries, counted);
        let entries = [entry("remote_address", "2001:db8::1"), entry("ip", "2001:db8::1")];
        assert_eq!(of(&entries, &[]), of(&entries, &[ADDRESS, Counted::Value]));
        assert_ne!(of(&entries, &[]), of(&entries, &[Counted::Value, Counted::Value]));
    }

    #[test]
    fn the_encoding_is_this_and_stays_this() {
        // Names in Redis are made of it: a change forgets every count of every replica that is not restarted at once.
        let entries = [entry("remote_address", "2001:db8::1"), entry("path", "/x")];
        let counted = [ADDRESS, shared("/{}")];
        let bytes = b"\x04shop\x0eremote_address\x01\x0d2001:db8::/64\x04path\x02\x03/{}";
        assert_eq!(encoded("shop", &entries, &counted).escape_ascii().to_string(), bytes.escape_ascii().to_string());
        let long = "v".repeat(300);
        assert!(encoded("", &[entry("", &long)], &[]).starts_with(b"\x00\x00\x00\xac\x02vvv"));
    }

    #[test]
    fn the_salt_knows_window_algorithm_and_shadow_and_nothing_else() {
        let calendar = |zone: &str, anchor_day| {
            let zone = jiff::tz::TimeZone::get(zone).unwrap();
            Window::Calendar(Calendar { unit: CalendarUnit::Month, zone, anchor_day })
        };
        let of = |count, window, algorithm| Limit { count, window, algorithm };
        let limit = |count, window| of(count, window, Algorithm::FixedWindow);
        let minute = Window::Length(Nanos::from_secs(60));
        let bucket = |burst| of(1, Window::Length(Nanos::from_secs(60)), Algorithm::TokenBucket { burst });
        let salts = [
            window_salt(&limit(1, minute.clone()), false),
            window_salt(&limit(1, minute.clone()), true),
            window_salt(&limit(1, Window::Length(Nanos::from_secs(1))), false),
            window_salt(&limit(1, calendar("UTC", 1)), false),
            window_salt(&limit(1, calendar("UTC", 2)), false),
            window_salt(&limit(1, calendar("Europe/Berlin", 1)), false),
            window_salt(&of(1, minute.clone(), Algorithm::SlidingWindow), false),
            window_salt(&bucket(1), false),
        ];
        assert_eq!(salts.iter().collect::<std::collections::BTreeSet<_>>().len(), salts.len());
        assert_eq!(salts[0], window_salt(&limit(1_000_000, minute.clone()), false));
        assert_eq!(window_salt(&bucket(1), false), window_salt(&bucket(1_000_000), false));
        // Fixed for ever, see there: whoever sees this fail has made every stored counter unfindable.
        assert_eq!(format!("{:016x}", salts[0]), "c2587c14031bbdb9");
    }

    #[test]
    fn a_key_decides_the_hash_and_is_told_from_others_but_not_told() {
        let keys = [KEY, HashKey::Secret([8; 16]), HashKey::Public];
        let entries = [entry("k", "v")];
        let distinct = |of: fn(&HashKey, &[Entry<'_>]) -> u128| {
            keys.iter().map(|key| of(key, &entries)).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(|key, entries| descriptor_key(key, "d", entries, &[])), keys.len());
        assert_eq!(distinct(|key, _| key.fingerprint().into()), keys.len());
        assert_eq!(format!("{keys:?}"), "[Secret(..), Secret(..), Public]");
    }

    #[test]
    fn naming_allocates_nothing() {
        let entries = [entry("remote_address", "2001:db8::1"), entry("path", "/a/1"), entry("api_key", "acme")];
        let counted = [ADDRESS, shared("/a/{}")];
        for key in [KEY, HashKey::Public] {
            let cost = measure(|| _ = black_box(descriptor_key(&key, "shop", &entries, &counted)));
            assert_eq!(cost.count_total, 0, "{key:?}");
        }
    }

    #[test]
    fn public_names_are_these_and_stay_these() {
        // Replicas of every version meet in one Redis by them.
        let entries = [entry("remote_address", "2001:db8::1"), entry("path", "/x")];
        let name = descriptor_key(&HashKey::Public, "shop", &entries, &[ADDRESS, shared("/{}")]);
        assert_eq!(format!("{name:032x}"), "41311ddfbdafa462556a7afe38edb384");
        // Longer than a block of the hash.
        let long = "v".repeat(300);
        let name = descriptor_key(&HashKey::Public, "shop", &[entry("api_key", &long)], &[]);
        assert_eq!(format!("{name:032x}"), "e7c0362a815457ca839540946464cb95");
        assert_eq!(HashKey::Public.fingerprint(), 0x7368_612d_3235_363d);
    }

    fn arbitrary_counted() -> impl Strategy<Value = Counted> {
        prop_oneof![
            Just(Counted::Value),
            Just(Counted::Path),
            (0u8..=130).prop_map(|ipv6_prefix| Counted::Address { ipv6_prefix }),
            prop::collection::vec(prop_oneof![0u8..3, Just(b'/')], 0..3).prop_map(|text| Counted::Shared(text.into())),
        ]
    }

    /// Key, value, and how it is counted.
    type Level = (Vec<u8>, Vec<u8>, Counted);

    /// A domain and entries of few different bytes, so that lengths, tags and texts look alike.
    fn arbitrary_descriptor() -> impl Strategy<Value = (String, Vec<Level>)> {
        let bytes = || prop_oneof![prop::collection::vec(0u8..3, 0..4), prop::collection::vec(b'/'..b'1', 0..3)];
        ("[\0\u{1}\u{2}]{0,2}", prop::collection::vec((bytes(), bytes(), arbitrary_counted()), 0..3))
    }

    /// The entry as counted, in words of its own.
    fn plain(key: &[u8], value: &[u8], counted: &Counted) -> (Vec<u8>, &'static str, Vec<u8>) {
        let (kind, text) = match counted {
            Counted::Shared(text) => ("shared", text.to_vec()),
            Counted::Path => ("value", Path::parse(value).map_or(value.to_vec(), |path| path.text().to_vec())),
            Counted::Value | Counted::Address { .. } => ("value", value.to_vec()),
        };
        (key.to_vec(), kind, text)
    }

    proptest! {
        #[test]
        fn descriptors_have_equal_names_if_they_are_equal_as_counted_and_only_then(
            first in arbitrary_descriptor(),
            second in arbitrary_descriptor(),
        ) {
            let [one, two] = [&first, &second].map(|(domain, list)| {
                let entries: Vec<_> = list.iter().map(|(key, value, _)| Entry { key, value }).collect();
                let counted: Vec<_> = list.iter().map(|(_, _, counted)| counted.clone()).collect();
                let plain: Vec<_> = list.iter().map(|(key, value, counted)| plain(key, value, counted)).collect();
                let names = [KEY, HashKey::Public].map(|key| descriptor_key(&key, domain, &entries, &counted));
                (encoded(domain, &entries, &counted), names, (domain, plain))
            });
            prop_assert_eq!(one.0 == two.0, one.2 == two.2);
            prop_assert_eq!(one.1[0] == two.1[0], one.2 == two.2);
            prop_assert_eq!(one.1[1] == two.1[1], one.2 == two.2);
        }

        #[test]
        fn any_values_are_told_apart(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            let [one, two] = [&a, &b].map(|values| {
                let pairs = values.chunks(2);
                let entries = pairs.map(|pair| Entry { key: &pair[0], value: pair.get(1).map_or(&[], |value| value) });
                encoded("d", &entries.collect::<Vec<_>>(), &vec![Counted::Value; values.len()])
            });
            let [a, b] = [a, b].map(|mut values| {
                if values.len() % 2 == 1 {
                    values.push(Vec::new());
                }
                values
            });
            prop_assert_eq!(one == two, a == b);
        }

        #[test]
        fn a_name_is_the_hash_of_the_encoding((domain, list) in arbitrary_descriptor()) {
            let entries: Vec<_> = list.iter().map(|(key, value, _)| Entry { key, value }).collect();
            let counted: Vec<_> = list.iter().map(|(_, _, counted)| counted.clone()).collect();
            let encoded = encoded(&domain, &entries, &counted);
            let secret = SipHasher13::new_with_key(&SECRET).hash(&encoded).as_u128();
            prop_assert_eq!(descriptor_key(&KEY, &domain, &entries, &counted), secret);
            let public = Sha256::digest(&encoded)[..16].try_into().unwrap();
            prop_assert_eq!(descriptor_key(&HashKey::Public, &domain, &entries, &counted), u128::from_be_bytes(public));
        }

        #[test]
        fn windows_of_one_descriptor_differ_and_share_its_upper_half(descriptor: u128, a: u64, b: u64) {
            prop_assert_eq!(counter_name(descriptor, a) == counter_name(descriptor, b), a == b);
            prop_assert_eq!(counter_name(descriptor, a) >> 64, descriptor >> 64);
        }

        #[test]
        fn the_beginning_of_a_descriptor_begins_its_encoding((domain, list) in arbitrary_descriptor()) {
            let entries: Vec<_> = list.iter().map(|(key, value, _)| Entry { key, value }).collect();
            let counted: Vec<_> = list.iter().map(|(_, _, counted)| counted.clone()).collect();
            let whole = encoded(&domain, &entries, &counted);
            for depth in 0..entries.len() {
                prop_assert!(whole.starts_with(&encoded(&domain, &entries[..depth], &counted)));
            }
        }
    }
}
