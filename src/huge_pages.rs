//! Huge pages of memory: for counters and for large rule sets, and not before there are any.
//!
//! The allocator asks the system for pages of 2 MB, which spare a decision among millions of counters, or a hundred thousand
//! rules, the search for where each of their pages is. At rest they are nearly empty: the 2 MB that a service without
//! traffic uses lie in nine of them, and those that the allocator takes before `main` in two.

use std::convert::Infallible;

use tracing::debug;

/// Has the system use small pages, until somebody [allows](allow) others.
///
/// What was allocated before lies in huge pages already: 4 MB of the 16 that a service had at rest. So the process begins
/// anew, by the same name and with the same arguments, as the same process to everybody else; which takes a millisecond. The
/// system remembers what it was asked, and so it begins anew but once.
pub fn hold_back() {
    if !are_disabled() {
        disable(true);
        if are_disabled() {
            let Err(error) = begin_anew();
            debug!(%error, "a few huge pages are kept");
        }
    }
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

#[cfg(target_os = "linux")]
fn are_disabled() -> bool {
    rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(false)
}

#[cfg(unix)]
fn begin_anew() -> std::io::Result<Infallible> {
    use std::{env, os::unix::process::CommandExt as _, process::Command};

    let mut words = env::args_os();
    let mut anew = Command::new(env::current_exe()?);
    if let Some(name) = words.next() {
        anew.arg0(name);
    }
    Err(anew.args(words).exec())
}

#[cfg(not(target_os = "linux"))]
fn disable(_disabled: bool) {}

#[cfg(not(target_os = "linux"))]
fn are_disabled() -> bool {
    true
}
