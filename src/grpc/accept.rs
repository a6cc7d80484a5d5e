//! The accept loop: takes connections from the system and deals them to the cores.

use std::{
    io,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    core::{Core, Dealt, Place},
    deal::{Load, deal},
    events::{Events, TurnedAway},
    listen::Listener,
    wire::Accepted,
};
use crate::bounds::{ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN};

/// How often the cores' work is looked at. Their load is that of the last one to two of these.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Accepts for as long as it is polled. Never fails: what goes wrong is told, and tried again after a pause.
pub(super) async fn accept<E: Events>(listener: &Listener, cores: &[Core], places_max: usize, events: &E) {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut dealer = Dealer::new(cores);
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pause = Pause::default();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            now = look.tick() => {
                dealer.look(now);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                pause = Pause::default();
                number += 1;
                match Place::take(&taken, places_max) {
                    Some(place) => dealer.deal(Dealt { socket, number, place }, events),
                    None => turn_away(socket, TurnedAway::TooMany, events),
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

/// The client was gone before it was accepted: the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, InvalidInput, NetworkUnreachable,
    };
    // InvalidInput: setting TCP_NODELAY on a socket whose client has already reset it.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | InvalidInput | NetworkUnreachable
    )
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
    histories: Vec<History>,
    /// The second last look, which loads are measured from.
    since: Instant,
    last: Instant,
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
    fn new(cores: &'c [Core]) -> Self {
        let now = Instant::now();
        Self { cores, histories: vec![History::default(); cores.len()], since: now, last: now }
    }

    fn look(&mut self, now: Instant) {
        self.since = std::mem::replace(&mut self.last, now);
        for (core, history) in self.cores.iter().zip(&mut self.histories) {
            history.busy_since = std::mem::replace(&mut history.busy_last, core.busy_total());
            history.dealt_before = std::mem::take(&mut history.dealt_now);
        }
    }

    fn deal<E: Events>(&mut self, dealt: Dealt, events: &E) {
        let window = self.since.elapsed();
        let loads = self.cores.iter().zip(&self.histories).map(|(core, history)| Load {
            busy_percent: percent(core.busy_total().saturating_sub(history.busy_since), window),
            young: history.dealt_before.saturating_add(history.dealt_now),
            working: u32::try_from(core.working()).unwrap_or(u32::MAX),
        });
        let Some(place) = deal(loads) else { return };
        match self.cores[place].deal(dealt) {
            Ok(()) => {
                self.histories[place].dealt_now += 1;
                events.accepted(place);
            }
            Err(dealt) => turn_away(dealt.socket, TurnedAway::CoreHangs, events),
        }
    }
}

/// `part` of `whole` in percent; 0 of nothing.
fn percent(part: Duration, whole: Duration) -> u32 {
    let percent = part.as_micros().saturating_mul(100).checked_div(whole.as_micros()).unwrap_or(0);
    u32::try_from(percent).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
