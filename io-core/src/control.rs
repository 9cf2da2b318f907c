//! Stopping, timing and counting a batch while it runs.

use crate::gate::wake_all;
use crate::{BatchEnd, Meter, fork};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// A flag that ends batches early. Once up, it never comes down. Clones share it, also across threads.
///
/// A batch that waits for its turn on the device ends as soon as the flag is raised. In a forked process, a
/// flag from before the fork wakes nobody.
#[derive(Clone, Debug)]
pub struct StopFlag(Arc<StopState>);

#[derive(Debug)]
struct StopState {
    raised: AtomicBool,
    /// Something else that raises the flag, such as a signal handler. It wakes nobody.
    other: Option<Arc<AtomicBool>>,
    waiting: Mutex<Waiting>,
    /// In a forked process, another thread of the parent may hold the lock. There the flag wakes nobody.
    generation: u64,
}

/// The batches to wake when the flag is raised.
#[derive(Debug, Default)]
struct Waiting {
    ticket_next: u64,
    wakers: SmallVec<[(u64, Waker); 2]>,
}

/// A batch that wakes when its flag is raised, until this is dropped.
#[derive(Debug)]
pub(crate) struct StopWaiter {
    flag: StopFlag,
    ticket: u64,
}

impl StopFlag {
    /// A flag that is down.
    #[must_use]
    pub fn new() -> Self {
        Self::with_other(None)
    }

    fn with_other(other: Option<Arc<AtomicBool>>) -> Self {
        let (raised, waiting) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(StopState { raised, other, waiting, generation: fork::generation() }))
    }

    /// Raises the flag, and wakes the batches that wait.
    pub fn stop(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        // No lock is held while tasks are woken: a waker may drop a batch.
        let Some(mut waiting) = self.waiting() else { return };
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wake_all(wakers.into_iter().map(|(_, waker)| waker));
    }

    /// Whether the flag is up.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let other = || self.0.other.as_ref().is_some_and(|other| other.load(Ordering::Acquire));
        self.0.raised.load(Ordering::SeqCst) || other()
    }

    /// Calls `waker` when the flag is raised. A flag that is up already calls nothing.
    pub(crate) fn wake(&self, waker: Waker) -> Option<StopWaiter> {
        let mut waiting = self.waiting()?;
        let ticket = waiting.ticket_next;
        waiting.ticket_next += 1;
        waiting.wakers.push((ticket, waker));
        drop(waiting);
        Some(StopWaiter { flag: self.clone(), ticket })
    }

    fn waiting(&self) -> Option<MutexGuard<'_, Waiting>> {
        if self.0.generation != fork::generation() {
            return None;
        }
        // Nothing panics while the lock is held.
        Some(self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for StopFlag {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for StopWaiter {
    fn drop(&mut self) {
        let Some(mut waiting) = self.flag.waiting() else { return };
        let at = waiting.wakers.iter().position(|&(ticket, _)| ticket == self.ticket);
        let waker = at.map(|at| waiting.wakers.swap_remove(at));
        // The lock goes first, because dropping a waker runs the executor's code.
        drop(waiting);
        drop(waker);
    }
}

impl From<Arc<AtomicBool>> for StopFlag {
    /// A flag that is up while `raised` is true, such as one that a signal handler sets.
    ///
    /// A batch looks at it before each submission and each delivery. Nothing wakes a batch that waits.
    fn from(raised: Arc<AtomicBool>) -> Self {
        Self::with_other(Some(raised))
    }
}

/// How a batch or a session is controlled and counted. The default neither stops nor counts.
///
/// ```
/// use io_core::{ReadControl, StopFlag};
/// use std::time::{Duration, Instant};
///
/// let stop = StopFlag::new();
/// let soon = Instant::now() + Duration::from_millis(20);
/// let control = ReadControl::new().with_stop(stop.clone()).with_deadline(soon);
/// stop.stop();
/// assert!(control.is_over());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReadControl {
    /// Looked at before each submission and each delivery.
    pub stop: Option<StopFlag>,
    /// A batch ends then, with [`BatchEnd::Deadline`]. A read of a session that has not completed by then
    /// completes with [`ReadError::Deadline`](crate::ReadError::Deadline).
    ///
    /// Looked at before each submission and each delivery. It also wakes a batch that waits for its turn.
    /// Reads in flight are drained, as at a stop. A deadline starts a thread of the process, which serves
    /// all of them.
    pub deadline: Option<Instant>,
    /// Counts what the batch does. [`Metered`](crate::Metered) sets it. A backend only has to pass it on.
    pub meter: Option<Meter>,
}

impl ReadControl {
    /// A control that neither stops nor counts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the batch when `stop` is raised.
    #[must_use]
    pub fn with_stop(self, stop: StopFlag) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Ends the batch at `deadline`.
    #[must_use]
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Counts into `meter`.
    #[must_use]
    pub fn with_meter(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Whether the caller raised the stop flag.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(StopFlag::is_stopped)
    }

    /// Whether the batch must end now. For readers that deliver themselves, such as a memory map's.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.end() != BatchEnd::Complete
    }

    /// Why the batch must end now. [`BatchEnd::Complete`]: it need not.
    #[must_use]
    pub fn end(&self) -> BatchEnd {
        if self.is_stopped() {
            BatchEnd::Stopped
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            BatchEnd::Deadline
        } else {
            BatchEnd::Complete
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own panic");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_lose_the_wakes_of_others() {
        let (stop, woken) = (StopFlag::new(), Arc::<Woken>::default());
        let _waiting = [Arc::new(Panics).into(), Arc::clone(&woken).into()].map(|waker| stop.wake(waker));
        let stopped = std::panic::catch_unwind(|| stop.stop());
        assert!(stopped.is_err(), "the panic goes on");
        assert!(woken.0.load(Ordering::SeqCst));
    }
}
