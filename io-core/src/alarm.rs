//! Wakes tasks at a time, for backends whose runtime has no timer.

use crate::fork;
use crate::of_process::OfProcess;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The thread ends after this time without a task that waits. Batches with deadlines often follow each other.
const IDLE: Duration = Duration::from_secs(1);

static CLOCK: OfProcess<Clock> = OfProcess::new();

/// Waits until `at`, woken by a thread that the process has for this.
///
/// The thread starts with the first task that waits, and ends a second after the last one. In a forked
/// process, a future from before the fork never ends.
///
/// # Errors
/// The system's error if it refuses the thread.
#[must_use]
pub fn alarm(at: Instant) -> Alarm {
    Alarm { at, waits: None }
}

/// The tasks that wait, and the thread that wakes them.
#[derive(Debug, Default)]
struct Clock {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    ticket_next: u64,
    /// By time, and by ticket where times are equal.
    tasks: BTreeMap<(Instant, u64), Waker>,
    runs: bool,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while the lock is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, at: Instant, waker: Waker) -> io::Result<u64> {
        let mut waiting = self.lock();
        if !waiting.runs {
            let clock = Arc::clone(self);
            std::thread::Builder::new().name("io-alarm".into()).spawn(move || clock.run())?;
            waiting.runs = true;
        }
        let ticket = waiting.ticket_next;
        waiting.ticket_next += 1;
        let is_first = waiting.tasks.keys().next().is_none_or(|&(first, _)| at < first);
        waiting.tasks.insert((at, ticket), waker);
        if is_first {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    fn run(&self) {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let Some(entry) = waiting.tasks.first_entry() else {
                let idle = self.changed.wait_timeout(waiting, IDLE);
                let (after, timed_out) = idle.unwrap_or_else(PoisonError::into_inner);
                waiting = after;
                // A task may have come and gone before this thread could see it. Others will follow.
                if waiting.tasks.is_empty() && timed_out.timed_out() {
                    waiting.runs = false;
                    return;
                }
                continue;
            };
            let (at, _) = *entry.key();
            if at > now {
                let later = self.changed.wait_timeout(waiting, at - now);
                waiting = later.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let waker = entry.remove();
            // No lock is held while a task is woken: a waker runs its executor's code, and may panic.
            drop(waiting);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            waiting = self.lock();
        }
    }
}

/// The future of [`alarm`].
#[derive(Debug)]
pub struct Alarm {
    at: Instant,
    waits: Option<Waits>,
}

impl Alarm {
    /// The time it waits for.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }
}

#[derive(Debug)]
struct Waits {
    clock: Arc<Clock>,
    generation: u64,
    ticket: u64,
    /// The one that the clock has.
    waker: Waker,
}

impl Waits {
    fn renew(&self, at: Instant, waker: Waker) {
        // Both wakers are dropped after the lock, because that runs the executor's code.
        let mut waiting = self.clock.lock();
        let place = waiting.tasks.get_mut(&(at, self.ticket));
        let old = place.map(|place| std::mem::replace(place, waker));
        drop(waiting);
        drop(old);
    }
}

impl Future for Alarm {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let at = self.at;
        if Instant::now() >= at {
            return Poll::Ready(Ok(()));
        }
        if let Some(waits) = &mut self.waits {
            if waits.generation == fork::generation() && !waits.waker.will_wake(cx.waker()) {
                waits.renew(at, cx.waker().clone());
                waits.waker.clone_from(cx.waker());
            }
            return Poll::Pending;
        }
        let clock = CLOCK.get_or_start(|| Ok::<_, io::Error>(Arc::default()))?;
        let ticket = clock.add(at, cx.waker().clone())?;
        let (generation, waker) = (fork::generation(), cx.waker().clone());
        self.waits = Some(Waits { clock, generation, ticket, waker });
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(waits) = self.waits.take().filter(|waits| waits.generation == fork::generation()) {
            // The waker is dropped after the lock, because that runs the executor's code.
            let waker = waits.clock.lock().tasks.remove(&(self.at, waits.ticket));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn it_wakes_at_its_time_and_not_before() {
        let start = Instant::now();
        let times = [30, 10, 20, 10].map(|ms| start + Duration::from_millis(ms));
        let waiting: Vec<_> =
            times.map(|at| std::thread::spawn(move || (pollster::block_on(alarm(at)), at))).into();
        for thread in waiting {
            let (ended, at) = thread.join().expect("waits");
            ended.expect("the thread starts");
            assert!(Instant::now() >= at);
        }
    }

    #[test]
    fn a_time_that_is_over_needs_no_thread() {
        let mut over = std::pin::pin!(alarm(Instant::now()));
        assert!(over.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_future_that_is_gone_wakes_nobody() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let soon = Instant::now() + Duration::from_millis(20);
        for _ in 0..10 {
            let mut gone = Box::pin(alarm(soon));
            assert!(gone.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        pollster::block_on(alarm(soon + Duration::from_millis(1))).expect("the thread starts");
        assert_eq!((count.0.load(SeqCst), Arc::strong_count(&count)), (0, 2));
    }
}
