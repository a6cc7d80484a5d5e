//! The state directory, and who of several processes may keep what in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::keep;
use crate::store::memory::snapshot::Directory;

/// The state directory, if it can be written; that there is none is said once, and costs only what it is for.
pub(super) fn directory(path: &Path) -> Option<PathBuf> {
    let probe = path.join(".writable");
    match fs::create_dir_all(path).and_then(|()| fs::write(&probe, "")).and_then(|()| fs::remove_file(&probe)) {
        Ok(()) => Some(path.to_owned()),
        Err(error) => {
            warn!(%error, state = %path.display(), "no state directory: neither counters nor the last good rules are kept");
            None
        }
    }
}

/// Where orders are kept, if no other process keeps its own there; and the lock that says so to the next one.
pub(super) fn of_orders(state: PathBuf) -> Option<(Directory, fs::File)> {
    let lock = keep::lock(&state.join("orders.lock"));
    match lock.and_then(|lock| Ok((Directory::new(state)?, lock))) {
        Ok(both) => Some(both),
        Err(error) => {
            warn!(error = format!("{error:#}"), "orders are not kept over a restart");
            None
        }
    }
}
