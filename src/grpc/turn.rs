//! A connection's turn: what came is read, all of its calls are answered, and all answers leave in one write.
//!
//! Each answer wakes the connection, which is awake: what it is woken for is the rest of the turn, not a turn of its own.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

/// How often a connection is polled in one turn: to read, to write, and once more for what came meanwhile. Then it is the
/// others' turn.
const POLLS_MAX: usize = 3;

/// Polls a connection in turns, until it is over or `until` is.
pub(super) struct Turns<'c, C, U> {
    connection: &'c mut C,
    until: Pin<&'c mut U>,
    of_connection: Bell,
    of_until: Bell,
}

/// What came first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<C, U> {
    Connection(C),
    Until(U),
}

impl<'c, C, U> Turns<'c, C, U> {
    pub(super) fn new(connection: &'c mut C, until: Pin<&'c mut U>) -> Self {
        Self { connection, until, of_connection: Bell::rung(), of_until: Bell::rung() }
    }
}

impl<C: Future + Unpin, U: Future> Future for Turns<'_, C, U> {
    type Output = First<C::Output, U::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let turns = &mut *self;
        turns.of_until.ring.passes_on_to(cx.waker());
        turns.of_connection.ring.passes_on_to(cx.waker());
        if turns.of_until.was_rung()
            && let Poll::Ready(until) = turns.until.as_mut().poll(&mut Context::from_waker(&turns.of_until.waker))
        {
            return Poll::Ready(First::Until(until));
        }
        turns.of_connection.ring.muffled.store(true, SeqCst);
        let turn = turns.turn();
        turns.of_connection.ring.muffled.store(false, SeqCst);
        if turns.of_connection.ring.rung.load(SeqCst) {
            cx.waker().wake_by_ref();
        }
        turn.map(First::Connection)
    }
}

impl<C: Future + Unpin, U> Turns<'_, C, U> {
    fn turn(&mut self) -> Poll<C::Output> {
        let mut connection = Context::from_waker(&self.of_connection.waker);
        for _ in 0..POLLS_MAX {
            if !self.of_connection.was_rung() {
                break;
            }
            let polled = Pin::new(&mut *self.connection).poll(&mut connection);
            if polled.is_ready() {
                return polled;
            }
        }
        Poll::Pending
    }
}

/// A waker that tells who was woken of those who share a task, so that only they are polled.
#[derive(Debug)]
struct Bell {
    ring: Arc<Ring>,
    waker: Waker,
}

#[derive(Debug)]
struct Ring {
    rung: AtomicBool,
    /// Who is woken looks anyway before it sleeps: its task need not be.
    muffled: AtomicBool,
    /// The waker of the task; none before it was first polled.
    task: Mutex<Option<Waker>>,
}

impl Bell {
    /// One that was rung: everything is polled once.
    fn rung() -> Self {
        let ring =
            Arc::new(Ring { rung: AtomicBool::new(true), muffled: AtomicBool::new(false), task: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&ring));
        Self { ring, waker }
    }

    fn was_rung(&self) -> bool {
        // Looked at before it is changed: mostly it was not, and then nothing is written.
        self.ring.rung.load(SeqCst) && self.ring.rung.swap(false, SeqCst)
    }
}

impl Ring {
    fn passes_on_to(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        // Whoever muffles it looks whether it was rung after it is no more: one of both sees the other.
        if !self.muffled.load(SeqCst)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        pin::pin,
        sync::atomic::AtomicUsize,
        thread,
    };

    use super::*;

    /// A task's waker that counts.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Counts how often it is polled, keeps the last waker, and wakes itself in each of its first polls.
    struct Restless {
        wakes: usize,
        polls: usize,
        waker: Option<Waker>,
    }

    impl Restless {
        fn for_polls(wakes: usize) -> Self {
            Self { wakes, polls: 0, waker: None }
        }
    }

    impl Future for Restless {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.polls += 1;
            self.waker = Some(cx.waker().clone());
            if self.polls <= self.wakes {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }
    }

    #[test]
    fn what_is_woken_while_it_is_polled_is_polled_again_at_once_and_a_few_times_at_most() {
        for (wakes, polls, task_wakes) in [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 3, 1), (100, 3, 1)] {
            let task = Arc::new(Task::default());
            let mut connection = Restless::for_polls(wakes);
            let mut never = pin!(pending::<()>());
            let mut turns = Turns::new(&mut connection, never.as_mut());
            let waker = Waker::from(Arc::clone(&task));
            assert!(Pin::new(&mut turns).poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!((connection.polls, task.0.load(SeqCst)), (polls, task_wakes), "{wakes} wakes");
        }
    }

    #[test]
    fn only_who_was_woken_is_polled() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let (mut connection, until_polls) = (Restless::for_polls(0), AtomicUsize::new(0));
        let mut until = pin!(poll_fn(|_| {
            until_polls.fetch_add(1, SeqCst);
            Poll::<()>::Pending
        }));
        let mut turns = Turns::new(&mut connection, until.as_mut());
        for polled in 1..4 {
            assert!(Pin::new(&mut turns).poll(&mut cx).is_pending());
            assert_eq!((turns.connection.polls, until_polls.load(SeqCst)), (polled, 1));
            // From wherever: a socket that became readable, another thread.
            let bell = turns.connection.waker.clone().unwrap();
            thread::scope(|scope| scope.spawn(|| bell.wake_by_ref()).join().unwrap());
            assert_eq!(task.0.load(SeqCst), polled);
        }
        assert!(Pin::new(&mut turns).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut turns).poll(&mut cx).is_pending());
        assert_eq!(turns.connection.polls, 4, "nobody woke it for the last");
    }

    #[test]
    fn the_end_of_either_is_the_end() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut over = pin!(async { 1 });
        let first = pin!(Turns::new(&mut over, pin!(pending::<()>()))).poll(&mut cx);
        assert_eq!(first, Poll::Ready(First::Connection(1)));
        let mut connection = Restless::for_polls(0);
        let first = pin!(Turns::new(&mut connection, pin!(async { 2 }))).poll(&mut cx);
        assert_eq!(first, Poll::Ready(First::Until(2)));
    }
}
