//! When to send, on one thread with its connections.
//!
//! A **closed loop** sends a call when another one was answered: it shows how much a server can do. An **open loop** sends
//! when a call is due, whatever was answered, as clients do who do not know of each other; a call's latency begins when it
//! was due, not when it could be sent, so that a server that stalls is charged for all who waited.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};

use crate::{
    call::Call,
    connection::{Connection, Ended, room},
    options::{Options, Stop},
    tally::Tally,
};

/// After the end, the calls under way may take so long: a limit of Envoy's own would have passed a hundred times.
const PATIENCE: Duration = Duration::from_secs(2);
/// A thread that waits for answers looks at the clock so often.
const LOOK: Duration = Duration::from_millis(5);

/// When counting begins and ends; without an end, all answers count.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    start: Instant,
    pub begin: Instant,
    pub end: Option<Instant>,
}

impl Plan {
    pub fn from(start: Instant, stop: Stop) -> Self {
        match stop {
            Stop::After { warm, measured } => Self { start, begin: start + warm, end: Some(start + warm + measured) },
            Stop::Calls(_) => Self { start, begin: start, end: None },
        }
    }

    fn since_start_ns(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// One thread's part of the load.
#[derive(Debug)]
pub struct Thread {
    call: Call,
    connections: Vec<Connection>,
    poll: Poll,
    keys: Keys,
    outstanding: usize,
    /// Calls a second of this thread.
    rate: Option<f64>,
    /// The connection that the next due call is tried on first.
    turn: usize,
    /// Calls that were due and have been sent.
    sent: u64,
}

impl Thread {
    /// Opens the connections of thread `number`.
    pub fn connect(options: &Options, number: usize) -> io::Result<Self> {
        let call = Call::from(options);
        let poll = Poll::new()?;
        let mine = (number..options.connections).step_by(options.threads);
        let mut connections = Vec::new();
        for token in 0..mine.len() {
            let mut connection = Connection::open(options.to, call.kind)?;
            connection.register(poll.registry(), Token(token))?;
            connections.push(connection);
        }
        let threads = options.threads as u64;
        let keys = match options.stop {
            Stop::Calls(calls) => Keys::InOrder { next: number as u64, step: threads, calls, among: options.keys },
            Stop::After { .. } => Keys::random(options.keys, number as u64),
        };
        let rate = options.rate.map(|rate| rate / options.threads as f64);
        Ok(Self { call, connections, poll, keys, outstanding: options.outstanding, rate, turn: 0, sent: 0 })
    }

    pub fn run(mut self, plan: Plan) -> io::Result<Tally> {
        let (mut tally, mut events) = (Tally::new(), Events::with_capacity(1_024));
        let (mut room, mut ended) = (room(), Vec::new());
        let count = |ended: &mut Vec<Ended>, now: Instant, tally: &mut Tally| {
            let now_ns = plan.since_start_ns(now);
            for (due_ns, answer) in ended.drain(..) {
                // Answers of the measured time count; a call that was due in it counts its latency even when late.
                if now >= plan.begin && plan.end.is_none_or(|end| now < end) {
                    tally.count(answer);
                }
                if due_ns >= plan.since_start_ns(plan.begin) {
                    tally.latency_us.saturating_record((now_ns.saturating_sub(due_ns) / 1_000).max(1));
                }
            }
        };
        loop {
            let now = Instant::now();
            let over = plan.end.is_some_and(|end| now >= end) || self.keys.are_spent();
            if over {
                let under_way: usize = self.connections.iter().map(Connection::open_calls).sum();
                let patience_ended = plan.end.is_some_and(|end| now >= end + PATIENCE);
                if (under_way == 0 && self.behind(&plan) == 0) || patience_ended {
                    tally.unanswered = under_way as u64 + self.behind(&plan);
                    return Ok(tally);
                }
            }
            self.send(&plan, now, over);
            for connection in &mut self.connections {
                connection.flush()?;
            }
            // An open loop does not sleep: the system would wake it late, and that would be told as latency. It gives way
            // to who else wants its core.
            let sleeps = self.rate.is_none() || over;
            match self.poll.poll(&mut events, Some(if sleeps { LOOK } else { Duration::ZERO })) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if events.is_empty() && !sleeps {
                thread::yield_now();
            }
            for event in &events {
                self.connections[event.token().0].receive(&mut room, &mut ended)?;
                count(&mut ended, Instant::now(), &mut tally);
            }
        }
    }

    fn send(&mut self, plan: &Plan, now: Instant, over: bool) {
        match self.rate {
            Some(rate) => self.send_due(rate, plan, now),
            None if !over => self.send_freely(plan.since_start_ns(now)),
            None => {}
        }
    }

    /// Closed loop: every connection has `outstanding` calls under way.
    fn send_freely(&mut self, now_ns: u64) {
        for connection in &mut self.connections {
            while connection.open_calls() < self.outstanding {
                let Some(key) = self.keys.peek() else { return };
                if !connection.send(&self.call, key, now_ns) {
                    break;
                }
                self.keys.advance();
            }
        }
    }

    /// Open loop: everything that is due by now, each on the next connection in turn that has room. What finds none stays
    /// due.
    fn send_due(&mut self, rate: f64, plan: &Plan, now: Instant) {
        while self.sent < due_by(rate, plan, now) {
            let Some(key) = self.keys.peek() else { return };
            let due_ns = (self.sent as f64 / rate * 1e9) as u64;
            let connections = self.connections.len();
            let taken = (0..connections).any(|_| {
                self.turn = (self.turn + 1) % connections;
                self.connections[self.turn].send(&self.call, key, due_ns)
            });
            if !taken {
                return;
            }
            self.keys.advance();
            self.sent += 1;
        }
    }

    /// Calls that were due before the end and are not sent yet.
    fn behind(&self, plan: &Plan) -> u64 {
        match (self.rate, plan.end) {
            (Some(rate), Some(end)) => due_by(rate, plan, end).saturating_sub(self.sent),
            _ => 0,
        }
    }
}

/// How many calls are due by `now`, the end at the latest.
fn due_by(rate: f64, plan: &Plan, now: Instant) -> u64 {
    let now = plan.end.map_or(now, |end| now.min(end));
    (now.saturating_duration_since(plan.start).as_secs_f64() * rate) as u64
}

/// Which key comes next.
#[derive(Debug)]
enum Keys {
    /// xorshift64*: each thread has a stretch of its own of one long sequence, the same in every run.
    Random {
        state: u64,
        among: u64,
    },
    InOrder {
        next: u64,
        step: u64,
        calls: u64,
        among: u64,
    },
}

impl Keys {
    fn random(among: u64, thread: u64) -> Self {
        let mut keys = Self::Random { state: 0x9e37_79b9_7f4a_7c15 ^ (thread + 1), among };
        (0..16).for_each(|_| keys.advance()); // until the seeds of neighbours have nothing in common
        keys
    }

    fn peek(&self) -> Option<u64> {
        match self {
            Self::Random { state, among } => Some((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % among),
            Self::InOrder { next, calls, among, .. } => (next < calls).then_some(next % among),
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Random { state, .. } => {
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
            }
            Self::InOrder { next, step, .. } => *next += *step,
        }
    }

    fn are_spent(&self) -> bool {
        self.peek().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_go_in_order_send_each_key_once() {
        let mut all: Vec<u64> = Vec::new();
        for thread in 0..3 {
            let mut keys = Keys::InOrder { next: thread, step: 3, calls: 10, among: 10 };
            while let Some(key) = keys.peek() {
                all.push(key);
                keys.advance();
            }
        }
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn random_keys_reach_all_and_no_more() {
        let mut keys = Keys::random(10, 0);
        let mut seen = [0; 10];
        for _ in 0..1_000 {
            seen[usize::try_from(keys.peek().unwrap()).unwrap()] += 1;
            keys.advance();
        }
        assert!(seen.iter().all(|count| (50..200).contains(count)), "{seen:?}");
    }

    #[test]
    fn calls_are_due_evenly_and_not_after_the_end() {
        let start = Instant::now();
        let plan = Plan::from(start, Stop::After { warm: Duration::from_secs(1), measured: Duration::from_secs(2) });
        assert_eq!(due_by(10.0, &plan, start + Duration::from_millis(500)), 5);
        assert_eq!(due_by(10.0, &plan, start + Duration::from_secs(9)), 30);
    }
}
