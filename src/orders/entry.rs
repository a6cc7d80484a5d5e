//! Orders as the store that replicas share keeps them: entries of JSON, in the same words as the file.

use serde::{Deserialize, Serialize};

use super::{
    kept::{KeptBlock, KeptDeletion, KeptOverride, KeptReset},
    standing::{Order, Record, Told},
};
use crate::{store::redis::Entry, units::Timestamp};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Override(KeptOverride),
    Block(KeptBlock),
    Reset(KeptReset),
    Deleted(KeptDeletion),
}

/// What a store keeps of a record.
pub fn encode(name: u128, record: &Record) -> Entry {
    let bytes = bytes_of(&record.order).into();
    Entry { name, stamp: record.stamp, until: record.kept_until, bytes }
}

/// The record that a store kept, whose resets count as last met `now`; None if it is none, or has another's name.
pub fn decode(entry: &Entry, now: Timestamp) -> Option<Record> {
    let order = match serde_json::from_slice(&entry.bytes).ok()? {
        Kept::Override(order) => Order::Override(order.into()),
        Kept::Block(order) => Order::Block(order.into()),
        Kept::Reset(order) => Order::Reset(order.order(now)?),
        Kept::Deleted(order) => Order::Deleted(order.into()),
    };
    let good = !order.about().entries.is_empty() && order.name() == entry.name;
    good.then_some(Record { order, stamp: entry.stamp, kept_until: entry.until, told: Told::Told })
}

/// The order alone, always in the same bytes.
pub fn bytes_of(order: &Order) -> Vec<u8> {
    let kept = match order {
        Order::Override(order) => Kept::Override(order.into()),
        Order::Block(order) => Kept::Block(order.into()),
        Order::Reset(order) => Kept::Reset(order.into()),
        Order::Deleted(deletion) => Kept::Deleted(deletion.into()),
    };
    // Strings, numbers and lists are always JSON.
    serde_json::to_vec(&kept).unwrap_or_default()
}
