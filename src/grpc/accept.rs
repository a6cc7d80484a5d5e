//! The accept loop: takes connections from the system and deals them to the cores, and sees that none is left with far
//! too many.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    core::{Core, Dealt},
    deal::{Load, deal, overburdened},
    events::{Events, TurnedAway},
    handshakes::Handshakes,
    places::Places,
    tls::Tls,
    wire::Accepted,
};
use crate::bounds::{ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN};

/// How often the cores' work is looked at. Their load is that of the last one to two of these.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A core is overburdened at so many looks in a row before it must give a connection away: a burst passes.
const UNEVEN_LOOKS: u32 = 5;

/// Accepts for as long as it is polled. Never fails: what goes wrong is told, and tried again after a pause.
pub(super) async fn accept<S, E>(source: &S, cores: &[Core], places: &Arc<Places>, events: &E)
where
    S: Source,
    E: Events,
{
    let mut dealer = Dealer::new(cores, places);
    let mut handshakes = Handshakes::default();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            now = look.tick() => {
                dealer.look(now);
                continue;
            }
            Some(shaken) = handshakes.next(events) => {
                dealer.seat(shaken, events);
                continue;
            }
            accepted = source.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                pause = Pause::default();
                match (source.tls(), socket) {
                    (Some(tls), Accepted::Tcp(socket)) => handshakes.begin(socket, tls.live(), events),
                    (_, socket) => dealer.seat(socket, events),
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of handles or memory. The connection stays in the system's queue, so that accepting at once
                // would fail at once, for ever.
                events.accept_failed(&error);
                sleep(pause.next()).await;
            }
        }
    }
}

/// Where connections come from: a listener.
pub(super) trait Source: Sync {
    /// The next connection, ready to move to another runtime.
    fn accept(&self) -> impl Future<Output = io::Result<Accepted>> + Send;

    /// What is spoken there, unless it is plain text.
    fn tls(&self) -> Option<&Tls> {
        None
    }
}

/// The client was gone before it was accepted: the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable)
}

fn turn_away<E: Events>(socket: Accepted, why: TurnedAway, events: &E) {
    drop(socket);
    events.turned_away(why);
}

/// Pauses after failures in a row: each twice as long as the last, up to a bound.
#[derive(Debug, Default)]
struct Pause {
    last: Duration,
}

impl Pause {
    fn next(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(ACCEPT_PAUSE_MIN, ACCEPT_PAUSE_MAX);
        self.last
    }
}

/// Remembers what each core had done at the last looks, and what was dealt to it since.
struct Dealer<'c> {
    cores: &'c [Core],
    places: &'c Arc<Places>,
    /// The number of the last connection.
    number: u64,
    histories: Vec<History>,
    /// The second last look, which loads are measured from.
    since: Instant,
    last: Instant,
    /// The core that was overburdened at the last look, and at how many in a row.
    overburdened: Option<(usize, u32)>,
}

#[derive(Clone, Debug, Default)]
struct History {
    busy_since: Duration,
    busy_last: Duration,
    /// Connections dealt to it between the last two looks, and since the last one.
    dealt_before: u32,
    dealt_now: u32,
}

impl<'c> Dealer<'c> {
    fn new(cores: &'c [Core], places: &'c Arc<Places>) -> Self {
        let now = Instant::now();
        let histories = vec![History::default(); cores.len()];
        Self { cores, places, number: 0, histories, since: now, last: now, overburdened: None }
    }

    fn look(&mut self, now: Instant) {
        self.since = std::mem::replace(&mut self.last, now);
        for (core, history) in self.cores.iter().zip(&mut self.histories) {
            history.busy_since = std::mem::replace(&mut history.busy_last, core.busy_total());
            history.dealt_before = std::mem::take(&mut history.dealt_now);
        }
        self.even_out();
    }

    /// Envoy comes back after a good-bye, and is dealt to the core that has least to do.
    fn even_out(&mut self) {
        let Some(place) = overburdened(&self.loads()) else {
            self.overburdened = None;
            return;
        };
        let looks = match self.overburdened {
            Some((before, looks)) if before == place => looks + 1,
            _ => 1,
        };
        self.overburdened = Some((place, looks % UNEVEN_LOOKS));
        if looks == UNEVEN_LOOKS {
            self.cores[place].shed();
        }
    }

    /// Finds a place and a core for a connection.
    fn seat<E: Events>(&mut self, socket: Accepted, events: &E) {
        self.number += 1;
        match self.places.take() {
            Some(place) => self.deal(Dealt { socket, number: self.number, place }, events),
            None => turn_away(socket, TurnedAway::TooMany, events),
        }
    }

    fn deal<E: Events>(&mut self, dealt: Dealt, events: &E) {
        let Some(place) = deal(self.loads()) else { return };
        match self.cores[place].deal(dealt) {
            Ok(()) => {
                self.histories[place].dealt_now += 1;
                events.accepted(place);
            }
            Err(dealt) => turn_away(dealt.socket, TurnedAway::CoreHangs, events),
        }
    }

    fn loads(&self) -> Vec<Load> {
        let window = self.since.elapsed();
        let load = |(core, history): (&Core, &History)| Load {
            busy_percent: percent(core.busy_total().saturating_sub(history.busy_since), window),
            young: history.dealt_before.saturating_add(history.dealt_now),
            working: u32::try_from(core.working()).unwrap_or(u32::MAX),
        };
        self.cores.iter().zip(&self.histories).map(load).collect()
    }
}

/// `part` of `whole` in percent; 0 of nothing.
fn percent(part: Duration, whole: Duration) -> u32 {
    let percent = part.as_micros().saturating_mul(100).checked_div(whole.as_micros()).unwrap_or(0);
    u32::try_from(percent).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::time::timeout;

    use super::*;

    #[derive(Default)]
    struct Failures(AtomicUsize);

    impl Events for Failures {
        fn accept_failed(&self, error: &io::Error) {
            assert_eq!(error.raw_os_error(), Some(EMFILE));
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[derive(Default)]
    struct NoHandles(AtomicUsize);

    impl Source for NoHandles {
        async fn accept(&self) -> io::Result<Accepted> {
            self.0.fetch_add(1, Relaxed);
            Err(io::Error::from_raw_os_error(EMFILE))
        }
    }

    /// Too many open files, on Linux.
    const EMFILE: i32 = 24;

    #[tokio::test]
    async fn accepting_does_not_spin_while_there_are_no_handles() {
        let (source, failures) = (NoHandles::default(), Failures::default());
        let places = Arc::new(Places::new(1));
        let accepting = accept(&source, &[], &places, &failures);
        // 10 + 20 + 40 + 80 ms and a fifth pause under way: five tries, or fewer on a busy machine.
        let _ = timeout(Duration::from_millis(200), accepting).await;
        assert!((1..=5).contains(&failures.0.load(Relaxed)));
        assert_eq!(failures.0.load(Relaxed), source.0.load(Relaxed));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_start_again() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = (0..6).map(|_| pause.next().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 100, 100]);
    }

    #[test]
    fn shares_are_percents() {
        let secs = Duration::from_secs;
        assert_eq!(percent(secs(1), secs(2)), 50);
        assert_eq!(percent(secs(1), Duration::ZERO), 0);
        assert_eq!(percent(Duration::MAX, Duration::from_micros(1)), u32::MAX);
    }
}
