//! Ports for servers that are killed and come back on the same one.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// The first that anybody may take, past those that well-known services like to have.
const FIRST: u32 = 12_000;
/// Below the ports that Linux gives to clients, which begin at 32,768.
///
/// A port from among those could be a client's when its server comes back, and one who asks again and again for a
/// port on which nobody listens is given that very port by the system one day, and connected to himself.
const PAST_LAST: u32 = 32_000;

/// A port on which nobody listens; another one each time.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run tests at once begin far from each other: a prime spreads ids that follow on each other.
    let start = process::id().wrapping_mul(7_919);
    let port = || {
        let step = NEXT.fetch_add(1, Relaxed);
        let port = FIRST + start.wrapping_add(step) % (PAST_LAST - FIRST);
        u16::try_from(port).expect("all are below 32,000")
    };
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (FIRST..PAST_LAST).map(|_| port()).find(free).expect("there is a free port")
}
