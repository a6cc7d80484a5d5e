//! The slots of a cluster: every key falls into one of 16,384, and each slot has a master.

use std::collections::HashMap;

use redis::Value;

use crate::{
    bounds::{REDIS_HOST_MAX_BYTES, REDIS_SERVERS_MAX},
    store_address::Server,
};

/// So many there are (the specification of Redis Cluster).
pub(super) const SLOTS: u16 = 16_384;
/// The place of no master.
const NOBODY: u16 = u16::MAX;
const _: () = assert!(REDIS_SERVERS_MAX < NOBODY as usize);

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u16);

impl Slot {
    /// That of a key: what stands in its first braces decides, where something does.
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(braced(key).unwrap_or(key)) % SLOTS)
    }
}

fn braced(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = key.split_at(key.iter().position(|&byte| byte == b'{')? + 1);
    let length = rest.iter().position(|&byte| byte == b'}')?;
    (length > 0).then(|| &rest[..length])
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC16: [u16; 256] = {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { POLYNOMIAL };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

/// Which master has which slot, as one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotMap {
    masters: Vec<Server>,
    /// Of each slot, the place of its master.
    places: Box<[u16]>,
}

impl SlotMap {
    /// Nobody has any.
    pub fn unknown() -> Self {
        Self { masters: Vec::new(), places: vec![NOBODY; usize::from(SLOTS)].into() }
    }

    /// Reads the answer of `host` to `CLUSTER SLOTS`; None where it is none, or says that nobody has any slot: whoever was
    /// shown out of a cluster says so.
    pub fn read(answer: &Value, host: &str) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let mut map = Self::unknown();
        let mut known = HashMap::new();
        for range in ranges {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), master, ..] = &range[..] else { return None };
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            let slots = map.places.get_mut(first..=last).filter(|slots| !slots.is_empty())?;
            if slots.iter().any(|&place| place != NOBODY) {
                return None;
            }
            let place = match read_master(master, host)? {
                Some(server) => *known.entry(server).or_insert_with_key(|server| {
                    map.masters.push(server.clone());
                    map.masters.len() - 1
                }),
                None => continue,
            };
            if place >= REDIS_SERVERS_MAX {
                return None;
            }
            slots.fill(u16::try_from(place).ok()?);
        }
        (!map.masters.is_empty()).then_some(map)
    }

    pub fn masters(&self) -> &[Server] {
        &self.masters
    }

    /// The place among the masters of whoever has it.
    pub fn master_of(&self, slot: Slot) -> Option<usize> {
        self.places.get(usize::from(slot.0)).filter(|&&place| place != NOBODY).map(|&place| usize::from(place))
    }

    /// Whether there is a slot that nobody has.
    pub fn has_holes(&self) -> bool {
        self.places.contains(&NOBODY)
    }
}

/// `[host, port, id, …]`: where the master listens; None in it where the cluster does not know how it can be reached.
#[expect(clippy::option_option, reason = "a master that cannot be reached is no master that cannot be read")]
fn read_master(master: &Value, asked: &str) -> Option<Option<Server>> {
    let Value::Array(fields) = master else { return None };
    let [host, Value::Int(port), ..] = &fields[..] else { return None };
    let host = match host {
        Value::Nil => "",
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => return None,
    };
    if host == "?" || *port == 0 {
        return Some(None);
    }
    server(host, u16::try_from(*port).ok()?, asked).map(Some)
}

/// A server that another one names, which was reached at `asked`: no host is the same host.
pub(super) fn server(host: &str, port: u16, asked: &str) -> Option<Server> {
    let plain = host.len() <= REDIS_HOST_MAX_BYTES && host.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && host != "?" && port != 0)
        .then(|| Server { host: if host.is_empty() { asked } else { host }.into(), port })
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
