//! The file that orders are kept in, beside the counters: one line with a checksum, then JSON. Written whole, and in
//! one step, before an order is confirmed.

use std::{
    io::{self, Read as _, Write as _},
    sync::{Arc, atomic::AtomicU64},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    About, BlockOrder, OverrideOrder, Started,
    standing::{Deletion, Kind, Order, Record, ResetOrder, Standing, Told},
};
use crate::{bounds::RESET_KEPT, charge::CounterKey, store::memory::snapshot::Disk, text::Text, units::Timestamp};

const FILE: &str = "orders.json";
const UNFINISHED: &str = "orders.json.unfinished";
const DAMAGED: &str = "orders.json.damaged";
/// Raised when older programs could not make sense of the file any more.
const VERSION: u32 = 1;

/// What a file gave back.
#[derive(Debug, Default)]
pub struct Found {
    pub orders: Standing,
    pub started: Vec<(CounterKey, Started)>,
}

/// Why there is nothing to give back.
#[derive(Debug, Error)]
pub enum Unreadable {
    #[error("cannot read {FILE}: {0}")]
    Io(#[from] io::Error),
    /// It was given another name, [`DAMAGED`].
    #[error("{FILE} is damaged ({0}); it is kept as {DAMAGED}")]
    Damaged(String),
}

/// Reads the file; nothing, where there is none. `now` is when its resets count as last met: the file may be old.
///
/// # Errors
///
/// It cannot be read, or makes no sense: then it is set aside.
pub fn load(disk: &impl Disk, now: Timestamp) -> Result<Found, Unreadable> {
    let mut bytes = Vec::new();
    match disk.open(FILE) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(error.into()),
    };
    parse(&bytes, now).map_err(|why| match disk.rename(FILE, DAMAGED) {
        Ok(()) => Unreadable::Damaged(why),
        Err(error) => error.into(),
    })
}

/// Writes the file in place of the old one.
///
/// # Errors
///
/// What the disk says; the old one is there then.
pub fn save(disk: &impl Disk, orders: &Standing, started: &[(CounterKey, Started)]) -> io::Result<()> {
    let started = started.iter().map(|(key, started)| KeptStarted::new(*key, started)).collect();
    let mut kept = Kept { version: VERSION, started, ..Kept::default() };
    for record in orders.records() {
        match &record.order {
            Order::Override(order) => kept.overrides.push(Stamped::new(record, order.into())),
            Order::Block(order) => kept.blocks.push(Stamped::new(record, order.into())),
            Order::Reset(order) => kept.resets.push(Stamped::new(record, order.into())),
            Order::Deleted(deletion) => kept.deleted.push(Stamped::new(record, deletion.into())),
        }
    }
    let json = serde_json::to_vec(&kept)?;
    let mut file = disk.create(UNFINISHED)?;
    writeln!(file, "{:08x}", crc32fast::hash(&json))?;
    file.write_all(&json)?;
    disk.replace(file, UNFINISHED, FILE)
}

fn parse(bytes: &[u8], now: Timestamp) -> Result<Found, String> {
    let split = bytes.iter().position(|byte| *byte == b'\n').ok_or("no checksum")?;
    let (checksum, json) = (&bytes[..split], &bytes[split + 1..]);
    if checksum != format!("{:08x}", crc32fast::hash(json)).as_bytes() {
        return Err("the checksum does not match".to_owned());
    }
    let kept: Kept = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {}, this program knows {VERSION}", kept.version));
    }
    let overrides = kept.overrides.into_iter().map(|it| it.record(|order| Some(Order::Override(order.into()))));
    let blocks = kept.blocks.into_iter().map(|it| it.record(|order| Some(Order::Block(order.into()))));
    let resets = kept.resets.into_iter().map(|it| it.record(|order| order.order(now).map(Order::Reset)));
    let deleted = kept.deleted.into_iter().map(|it| it.record(|order| Some(Order::Deleted(order.into()))));
    let mut orders = Standing::default();
    for record in overrides.chain(blocks).chain(resets).chain(deleted) {
        // The checksum held: what makes no sense was never written.
        orders.merge(record.ok_or("an order makes no sense")?);
    }
    Ok(Found { orders, started: kept.started.into_iter().map(KeptStarted::started).collect() })
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    overrides: Vec<Stamped<KeptOverride>>,
    blocks: Vec<Stamped<KeptBlock>>,
    resets: Vec<Stamped<KeptReset>>,
    #[serde(default)]
    deleted: Vec<Stamped<KeptDeletion>>,
    started: Vec<KeptStarted>,
}

/// An order, and what is known of it beside what it says: nothing, in files from before replicas shared their orders.
#[derive(Serialize, Deserialize)]
struct Stamped<T> {
    #[serde(default)]
    stamp: u64,
    #[serde(default)]
    kept_until_ns: u64,
    #[serde(flatten)]
    order: T,
}

impl<T> Stamped<T> {
    fn new(record: &Record, order: T) -> Self {
        Self { stamp: record.stamp, kept_until_ns: record.kept_until.0, order }
    }

    fn record(self, order: impl FnOnce(T) -> Option<Order>) -> Option<Record> {
        let order = order(self.order)?;
        let kept_until = Timestamp(self.kept_until_ns).max(order.until().unwrap_or_default());
        Some(Record { order, stamp: self.stamp, kept_until, told: Told::Untold })
    }
}

#[derive(Serialize, Deserialize)]
struct KeptAbout {
    domain: Box<str>,
    descriptor: Vec<(Text, Text)>,
    prefix: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeptOverride {
    about: KeptAbout,
    limits: Box<str>,
    until_ns: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeptBlock {
    about: KeptAbout,
    until_ns: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeptReset {
    about: KeptAbout,
    /// Hexadecimal: JSON's readers lose bits of large numbers.
    mark: String,
    /// Missing in files from before resets had an end.
    #[serde(default)]
    until_ns: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeptDeletion {
    kind: KeptKind,
    about: KeptAbout,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptKind {
    Override,
    Block,
    Reset,
}

#[derive(Serialize, Deserialize)]
struct KeptStarted {
    key: String,
    about: KeptAbout,
    rule: Box<str>,
    until_ns: u64,
}

impl From<&About> for KeptAbout {
    fn from(about: &About) -> Self {
        let text = |bytes: &[u8]| Text::new(bytes.to_vec());
        let descriptor = about.entries.iter().map(|(key, value)| (text(key), text(value))).collect();
        Self { domain: about.domain.clone(), descriptor, prefix: about.prefix }
    }
}

impl From<KeptAbout> for About {
    fn from(kept: KeptAbout) -> Self {
        let bytes = |text: Text| text.into_bytes().into_boxed_slice();
        let entries = kept.descriptor.into_iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
        Self { domain: kept.domain, entries, prefix: kept.prefix }
    }
}

impl From<&OverrideOrder> for KeptOverride {
    fn from(order: &OverrideOrder) -> Self {
        Self { about: (&order.about).into(), limits: order.limits.clone(), until_ns: order.until.0 }
    }
}

impl From<KeptOverride> for OverrideOrder {
    fn from(kept: KeptOverride) -> Self {
        Self { about: kept.about.into(), limits: kept.limits, until: Timestamp(kept.until_ns) }
    }
}

impl From<&BlockOrder> for KeptBlock {
    fn from(order: &BlockOrder) -> Self {
        Self { about: (&order.about).into(), until_ns: order.until.0 }
    }
}

impl From<KeptBlock> for BlockOrder {
    fn from(kept: KeptBlock) -> Self {
        Self { about: kept.about.into(), until: Timestamp(kept.until_ns) }
    }
}

impl From<&ResetOrder> for KeptReset {
    fn from(order: &ResetOrder) -> Self {
        Self { about: (&order.about).into(), mark: format!("{:032x}", order.mark), until_ns: order.until.0 }
    }
}

impl KeptReset {
    /// The order, which counts as last met `now`; None if its mark is no number.
    pub(super) fn order(self, now: Timestamp) -> Option<ResetOrder> {
        let until = if self.until_ns == 0 { now.plus(RESET_KEPT) } else { Timestamp(self.until_ns) };
        Some(ResetOrder {
            about: self.about.into(),
            mark: u128::from_str_radix(&self.mark, 16).ok()?,
            until,
            last_met_secs: Arc::new(AtomicU64::new(now.0 / 1_000_000_000)),
        })
    }
}

impl From<&Deletion> for KeptDeletion {
    fn from(deletion: &Deletion) -> Self {
        let kind = match deletion.kind {
            Kind::Override => KeptKind::Override,
            Kind::Block => KeptKind::Block,
            Kind::Reset => KeptKind::Reset,
        };
        Self { kind, about: (&deletion.about).into() }
    }
}

impl From<KeptDeletion> for Deletion {
    fn from(kept: KeptDeletion) -> Self {
        let kind = match kept.kind {
            KeptKind::Override => Kind::Override,
            KeptKind::Block => Kind::Block,
            KeptKind::Reset => Kind::Reset,
        };
        Self { kind, about: kept.about.into() }
    }
}

impl KeptStarted {
    fn new(key: CounterKey, started: &Started) -> Self {
        Self {
            key: format!("{:032x}", key.0),
            about: (&started.about).into(),
            rule: started.rule.clone(),
            until_ns: started.until.0,
        }
    }

    fn started(self) -> (CounterKey, Started) {
        let key = CounterKey(u128::from_str_radix(&self.key, 16).unwrap_or(0));
        (key, Started { about: self.about.into(), rule: self.rule, until: Timestamp(self.until_ns) })
    }
}
