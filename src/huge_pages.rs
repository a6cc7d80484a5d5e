//! Huge pages of memory: for counters and for large rule sets, and not before there are any.
//!
//! The allocator asks the system for pages of 2 MB, which spare a decision among millions of counters, or a hundred thousand
//! rules, the search for where each of their pages is. At rest they are nearly empty: the 2 MB that a service without
//! traffic uses lie in nine of them.

use tracing::debug;

/// Has the system use small pages, until somebody [allows](allow) others.
pub fn hold_back() {
    disable(true);
}

/// From now on, what is new lies in huge pages, where the system has them.
pub fn allow() {
    disable(false);
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
