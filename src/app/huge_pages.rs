//! Huge pages of memory: for counters, and not before there are any.
//!
//! The allocator asks the system for pages of 2 MB, which spare a charge among millions of counters the search for where its
//! page is. At rest they are nearly empty: the 2 MB that a service without traffic uses lie in nine of them.

use std::{sync::Arc, time::Duration};

use tokio::time::interval;
use tracing::debug;

use crate::store::Store;

/// Counters that take so much mean traffic: huge pages begin to fill, and what lies in small ones by then is little. Some
/// 300 clients take as much, since a shard's first counter takes a page of 4 KiB.
const AT_WORK_BYTES: usize = 1 << 20;

/// How often to look: a flood of a million new counters a second, or a restore, is 5 MB ahead at most. A look takes each
/// shard's lock for a moment.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Has the system use small pages, until counters come.
pub fn hold_back() {
    disable(true);
}

/// Waits for counters to come; from then on what is new lies in huge pages, where the system has them.
pub(super) async fn allow_when_at_work(store: Arc<Store>) {
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let Store::Memory(memory) = &*store;
        if memory.fill().bytes >= AT_WORK_BYTES {
            disable(false);
            return;
        }
    }
}

/// A system that refuses has other figures for memory, and the same decisions.
#[cfg(target_os = "linux")]
fn disable(disabled: bool) {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(disabled) {
        debug!(%error, "huge pages are left as they are");
    }
}

#[cfg(not(target_os = "linux"))]
fn disable(_disabled: bool) {}
