//! The depth and the byte budget of a device, and the counts of what is in flight: of one open file, and in
//! one `run`.
//!
//! A [`Permit`] lives as long as its physical operation, even when the batch is gone. So the budget, `close`
//! and the end of a backend's `run` count every buffer that the kernel may still write to.
//!
//! Giving and returning a permit takes no lock, since that happens with every read. Waiting for one does.

mod device;
mod scope;
#[cfg(test)]
mod tests;

use crate::{Lane, fork};
use device::{Taken, Ticket};
use scope::Scope;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub use device::DeviceBudget;
pub(crate) use device::ReadLimits;
pub use scope::run_to_drain;

/// Hands out permits for one open file, within the budget of its device, and counts them.
///
/// Clones share it, also across threads.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    device: DeviceBudget,
    /// The lane of the file.
    lane: Lane,
    /// Of this file alone.
    taken: Taken,
    /// Tasks that wait until nothing of this file is in flight.
    idle: Mutex<Vec<Waker>>,
    idle_waiting: AtomicBool,
    generation: u64,
}

/// The right to have one operation of so many bytes in flight. Dropping it gives the right back.
///
/// A backend gets a permit with each operation and returns it with the result. An operation that goes on
/// without its future keeps the permit.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<GateState>,
    scope: Arc<Scope>,
    bytes: u64,
    lane: Lane,
}

impl Gate {
    /// The gate of a file with nothing in flight.
    pub(crate) fn new(device: DeviceBudget, lane: Lane) -> Self {
        let (taken, idle) = (Taken::default(), Mutex::default());
        let (idle_waiting, generation) = (AtomicBool::new(false), fork::generation());
        let device = device.of_this_process();
        Self(Arc::new(GateState { device, lane, taken, idle, idle_waiting, generation }))
    }

    /// The limits it keeps to.
    pub(crate) fn limits(&self) -> ReadLimits {
        self.0.device.limits()
    }

    /// Operations of this file in flight.
    #[must_use]
    pub fn operations_in_flight(&self) -> u32 {
        self.0.taken.operations() as u32
    }

    /// Bytes of this file in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.0.taken.bytes()
    }

    /// Waits until nothing of this file is in flight.
    async fn drained(&self) {
        poll_fn(|cx| {
            if self.operations_in_flight() == 0 {
                return Poll::Ready(());
            }
            {
                let mut idle = self.0.idle();
                push_once(&mut idle, cx.waker());
                self.0.idle_waiting.store(true, SeqCst);
            }
            // The last permit may have come back before it could see this waiter.
            if self.operations_in_flight() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until nothing of this file is in flight, or until `lost` returns an error.
    pub(crate) async fn drained_unless(&self, lost: impl Fn() -> Option<io::Error>) -> io::Result<()> {
        let mut drained = pin!(self.drained());
        poll_fn(|cx| match lost() {
            Some(error) => Poll::Ready(Err(error)),
            None => drained.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// A place in the device's queue for permits, one a batch.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter { gate: Arc::clone(&self.0), place: None }
    }
}

impl GateState {
    fn idle(&self) -> MutexGuard<'_, Vec<Waker>> {
        // Nothing panics while the lock is held.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether those who wait are in another process, which this one was forked from. They may hold locks.
    fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Adds the wakers to call to `wakers`.
    fn give_back(&self, bytes: u64, wakers: &mut Vec<Waker>) {
        let left = self.taken.give_back(bytes);
        self.device.give_back(bytes);
        if self.is_of_another_process() {
            return;
        }
        if left == 0 && self.idle_waiting.swap(false, SeqCst) {
            wakers.append(&mut self.idle());
        }
        wakers.extend(self.device.front());
    }
}

impl Permit {
    /// The lane of the operation: that of its file, or that of its request where the file is in the
    /// foreground.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Runs an operation and returns the permit with its result, for runtimes whose operations end with their
    /// futures.
    pub async fn over<F: Future>(self, operation: F) -> (F::Output, Self) {
        (operation.await, self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Everything is counted before a task is woken. No lock is held, because a waker may drop a task with
        // its place in a queue.
        let mut wakers = Vec::new();
        self.scope.left(&mut wakers);
        self.gate.give_back(self.bytes, &mut wakers);
        if !wakers.is_empty() {
            wake_all(wakers);
        }
    }
}

/// Keeps one waker a task, however often the task is polled.
fn push_once(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|queued| queued.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

/// Calls all wakers. They are callers' code: one may panic. The others are still called, and then the panic
/// goes on.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut panic = None;
    for waker in wakers {
        if let Err(now) = std::panic::catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panic = Some(now);
        }
    }
    if let Some(panic) = panic {
        std::panic::resume_unwind(panic);
    }
}

/// One batch's place in the queue.
pub(crate) struct Waiter {
    gate: Arc<GateState>,
    place: Option<Ticket>,
}

impl Waiter {
    /// Gives a permit if `bytes` fit and no batch waits ahead. Otherwise queues this batch in its lane and
    /// wakes it later. A file in the background makes all of its operations background ones.
    pub(crate) fn poll_acquire(&mut self, bytes: u64, lane: Lane, cx: &mut Context<'_>) -> Poll<Permit> {
        let scope = Scope::current();
        if scope.holds_back(cx) {
            return Poll::Pending;
        }
        let device = &self.gate.device;
        let lane = if self.gate.lane == Lane::Background { Lane::Background } else { lane };
        let unhindered = self.place.is_none() && device.try_take(bytes);
        if !unhindered && !device.take_in_turn(&mut self.place, bytes, lane, cx.waker()) {
            return Poll::Pending;
        }
        self.gate.taken.take(bytes);
        scope.entered();
        Poll::Ready(Permit { gate: Arc::clone(&self.gate), scope, bytes, lane })
    }

    /// Whether this batch has a place in the queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.place.is_some()
    }

    /// Gives the place up, so that the next batch may go.
    pub(crate) fn leave(&mut self) {
        if let Some(ticket) = self.place.take().filter(|_| !self.gate.is_of_another_process()) {
            self.gate.device.leave(ticket);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}
