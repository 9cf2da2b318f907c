//! The depth and the byte budget of one open file, and the count of what is in flight in one `run`.
//!
//! A [`Permit`] lives as long as its physical operation, even when the batch is gone. So the budget, `close`
//! and the end of a backend's `run` count every buffer that the kernel may still write to.
//!
//! Giving and returning a permit takes no lock, since that happens with every read. Waiting for one does.

use crate::fork;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Limits of what may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadLimits {
    /// Physical operations. More than 65,535 count as that many.
    pub(crate) queue_depth: u32,
    /// Bytes of all of them. More than 256 TiB less one count as that many.
    pub(crate) bytes_in_flight_max: u64,
}

/// Hands out permits within the depth and the byte budget of a file, first come, first served.
///
/// Clones share it, also across threads.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    limits: ReadLimits,
    /// In flight: operations in the bits from [`BYTES_BITS`] on, bytes below. One word, so that both change
    /// in one step.
    taken: AtomicU64,
    /// The number of waiters. Returning a permit reads it instead of taking the lock.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
    generation: u64,
}

const BYTES_BITS: u32 = 48;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

#[derive(Debug, Default)]
struct Waiters {
    ticket_next: u64,
    /// Batches that were refused, oldest first.
    queue: VecDeque<(u64, Waker)>,
    /// Tasks that wait until nothing is in flight.
    idle: Vec<Waker>,
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
}

impl Gate {
    /// A gate with nothing in flight.
    pub(crate) fn new(limits: ReadLimits) -> Self {
        Self(Arc::new(GateState {
            limits: ReadLimits {
                queue_depth: limits.queue_depth.min(u32::from(u16::MAX)),
                bytes_in_flight_max: limits.bytes_in_flight_max.min(BYTES_MASK),
            },
            taken: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
            generation: fork::generation(),
        }))
    }

    /// The limits it keeps to.
    pub(crate) fn limits(&self) -> ReadLimits {
        self.0.limits
    }

    /// Operations in flight.
    #[must_use]
    pub fn operations_in_flight(&self) -> u32 {
        (self.0.taken.load(SeqCst) >> BYTES_BITS) as u32
    }

    /// Bytes in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.0.taken.load(SeqCst) & BYTES_MASK
    }

    /// Waits until nothing is in flight.
    async fn drained(&self) {
        poll_fn(|cx| {
            if self.operations_in_flight() == 0 {
                return Poll::Ready(());
            }
            {
                let mut waiters = self.0.waiters();
                push_once(&mut waiters.idle, cx.waker());
                self.0.note_waiting(&waiters);
            }
            // The last permit may have come back before it could see this waiter.
            if self.operations_in_flight() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until nothing is in flight, or until `lost` returns an error.
    pub(crate) async fn drained_unless(&self, lost: impl Fn() -> Option<io::Error>) -> io::Result<()> {
        let mut drained = pin!(self.drained());
        poll_fn(|cx| match lost() {
            Some(error) => Poll::Ready(Err(error)),
            None => drained.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// A place in the queue for permits, one a batch.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter { gate: Arc::clone(&self.0), ticket: None }
    }
}

impl GateState {
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        // Nothing panics while the lock is held.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether those who wait are in another process, which this one was forked from. They may hold locks.
    fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    fn note_waiting(&self, waiters: &Waiters) {
        self.waiting.store(waiters.queue.len() + waiters.idle.len(), SeqCst);
    }

    fn try_take(&self, bytes: u64) -> bool {
        let took = self.taken.fetch_update(SeqCst, SeqCst, |taken| {
            let (operations, in_flight) = (taken >> BYTES_BITS, taken & BYTES_MASK);
            let fits = operations < u64::from(self.limits.queue_depth)
                && in_flight.saturating_add(bytes) <= self.limits.bytes_in_flight_max;
            fits.then(|| taken + (1 << BYTES_BITS) + bytes)
        });
        took.is_ok()
    }

    /// Returns the wakers to call.
    #[must_use]
    fn give_back(&self, bytes: u64) -> (Vec<Waker>, Option<Waker>) {
        let left = self.taken.fetch_sub((1 << BYTES_BITS) + bytes, SeqCst) - (1 << BYTES_BITS) - bytes;
        if self.waiting.load(SeqCst) == 0 || self.is_of_another_process() {
            return (Vec::new(), None);
        }
        let mut waiters = self.waiters();
        let idle = if left >> BYTES_BITS == 0 { std::mem::take(&mut waiters.idle) } else { Vec::new() };
        self.note_waiting(&waiters);
        (idle, waiters.queue.front().map(|(_, waker)| waker.clone()))
    }

    /// Wakes the first batch in the queue. No lock is held meanwhile, for the reason in [`Permit`]'s drop.
    fn wake_front(&self) {
        let front = self.waiters().queue.front().map(|(_, waker)| waker.clone());
        if let Some(waker) = front {
            waker.wake();
        }
    }
}

impl Permit {
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
        let of_scope = self.scope.left();
        let (idle, front) = self.gate.give_back(self.bytes);
        wake_all(of_scope.into_iter().chain(idle).chain(front));
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
fn wake_all(wakers: impl Iterator<Item = Waker>) {
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
    ticket: Option<u64>,
}

impl Waiter {
    /// Gives a permit if `bytes` fit and no batch waits ahead. Otherwise queues this batch and wakes it
    /// later.
    pub(crate) fn poll_acquire(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<Permit> {
        debug_assert!(bytes <= self.gate.limits.bytes_in_flight_max, "a permit that could never be given");
        let scope = Scope::current();
        if scope.holds_back(cx) {
            return Poll::Pending;
        }
        let unhindered = self.ticket.is_none() && self.gate.waiting.load(SeqCst) == 0;
        if !(unhindered && self.gate.try_take(bytes) || self.take_in_turn(bytes, cx)) {
            return Poll::Pending;
        }
        scope.entered();
        Poll::Ready(Permit { gate: Arc::clone(&self.gate), scope, bytes })
    }

    /// Takes the bytes if it is this batch's turn and they fit. Queues the batch otherwise.
    fn take_in_turn(&mut self, bytes: u64, cx: &Context<'_>) -> bool {
        {
            let mut waiters = self.gate.waiters();
            match waiters.queue.iter_mut().find(|(ticket, _)| Some(*ticket) == self.ticket) {
                Some(entry) => entry.1.clone_from(cx.waker()),
                None => {
                    let ticket = waiters.ticket_next;
                    waiters.ticket_next += 1;
                    self.ticket = Some(ticket);
                    waiters.queue.push_back((ticket, cx.waker().clone()));
                }
            }
            self.gate.note_waiting(&waiters);
            // The batch is queued now, so a permit that comes back from here on wakes it.
            let first = waiters.queue.front().is_some_and(|(ticket, _)| Some(*ticket) == self.ticket);
            if !first || !self.gate.try_take(bytes) {
                return false;
            }
        }
        self.leave();
        true
    }

    /// Gives the place up, so that the next batch may go.
    pub(crate) fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take().filter(|_| !self.gate.is_of_another_process()) {
            let left = {
                let mut waiters = self.gate.waiters();
                let at = waiters.queue.iter().position(|(queued, _)| *queued == ticket);
                let left = at.and_then(|at| waiters.queue.remove(at));
                self.gate.note_waiting(&waiters);
                left
            };
            drop(left);
            self.gate.wake_front();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The operations of one `run`, over all gates. Operations that another runtime left behind are not counted,
/// since they may never end.
#[derive(Default, Debug)]
struct Scope {
    operations: AtomicUsize,
    draining: AtomicBool,
    waiters: Mutex<ScopeWaiters>,
}

#[derive(Default, Debug)]
struct ScopeWaiters {
    /// Tasks that wait until nothing is in flight.
    idle: Vec<Waker>,
    /// Batches held back while the scope drains.
    held: Vec<Waker>,
}

thread_local! {
    static SCOPE: RefCell<Arc<Scope>> = RefCell::default();
}

impl Scope {
    fn current() -> Arc<Self> {
        SCOPE.with_borrow(Arc::clone)
    }

    fn waiters(&self) -> MutexGuard<'_, ScopeWaiters> {
        // Nothing panics while the lock is held.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing may start now, because the scope drains. The task is woken when the scope has drained.
    fn holds_back(&self, cx: &Context<'_>) -> bool {
        if !self.draining.load(SeqCst) {
            return false;
        }
        let mut waiters = self.waiters();
        let draining = self.draining.load(SeqCst);
        if draining {
            push_once(&mut waiters.held, cx.waker());
        }
        draining
    }

    fn entered(&self) {
        self.operations.fetch_add(1, SeqCst);
    }

    /// Returns the wakers to call.
    #[must_use]
    fn left(&self) -> Vec<Waker> {
        if self.operations.fetch_sub(1, SeqCst) == 1 && self.draining.load(SeqCst) {
            return std::mem::take(&mut self.waiters().idle);
        }
        Vec::new()
    }

    async fn drain(&self) {
        self.draining.store(true, SeqCst);
        poll_fn(|cx| {
            push_once(&mut self.waiters().idle, cx.waker());
            // The waker is stored first. So the last operation sees it, or this check sees that operation's
            // end.
            if self.operations.load(SeqCst) == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let held = {
            let mut waiters = self.waiters();
            self.draining.store(false, SeqCst);
            waiters.idle.clear();
            std::mem::take(&mut waiters.held)
        };
        wake_all(held.into_iter());
    }
}

/// Restores the previous scope, also on a panic.
struct Restore(Arc<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        SCOPE.set(Arc::clone(&self.0));
    }
}

/// Runs `future`, and then waits for all its operations in flight on this thread, also if it panics. The
/// panic then goes on.
///
/// For a backend's `run`: `runtime.block_on(run_to_drain(main()))`.
pub async fn run_to_drain<F: Future>(future: F) -> F::Output {
    let scope = Arc::<Scope>::default();
    let _restore = Restore(SCOPE.replace(Arc::clone(&scope)));
    let mut future = std::pin::pin!(future);
    let result = poll_fn(|cx| {
        // Unwind safety: after a panic the future is only dropped.
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await;
    scope.drain().await;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    fn poll(waiter: &mut Waiter, bytes: u64) -> Option<Permit> {
        match waiter.poll_acquire(bytes, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn never_above_the_depth_or_the_budget() {
        let gate = Gate::new(ReadLimits { queue_depth: 2, bytes_in_flight_max: 100 });
        let mut waiter = gate.waiter();
        let first = poll(&mut waiter, 60).expect("fits");
        assert!(poll(&mut waiter, 41).is_none(), "over the byte budget");
        let second = poll(&mut waiter, 40).expect("fits exactly");
        assert!(poll(&mut waiter, 0).is_none(), "over the depth");
        drop(first);
        assert_eq!((gate.operations_in_flight(), gate.bytes_in_flight()), (1, 40));
        drop(second);
        assert!(poll(&mut waiter, 100).is_some());
    }

    #[test]
    fn a_large_waiter_is_not_overtaken_by_small_ones() {
        let gate = Gate::new(ReadLimits { queue_depth: 8, bytes_in_flight_max: 100 });
        let (mut large, mut small) = (gate.waiter(), gate.waiter());
        let held = poll(&mut small, 50).expect("fits");
        assert!(poll(&mut large, 80).is_none());
        assert!(poll(&mut small, 10).is_none(), "would fit, but the large one waits ahead");
        drop(held);
        let held = poll(&mut large, 80).expect("its turn");
        assert!(poll(&mut small, 10).is_some());
        drop(held);
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own panic");
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_waker_that_panics_loses_neither_a_permit_nor_the_wakes_of_others() {
        let gate = Gate::new(ReadLimits { queue_depth: 1, bytes_in_flight_max: 100 });
        let (mut holder, mut next) = (gate.waiter(), gate.waiter());
        let held = poll(&mut holder, 50).expect("fits");
        let wakes = Arc::<Wakes>::default();
        let (bad, good) = (Waker::from(Arc::new(Panics)), Waker::from(Arc::clone(&wakes)));
        let mut drained: Vec<_> = (0..2).map(|_| Box::pin(gate.drained())).collect();
        assert!(next.poll_acquire(80, &mut Context::from_waker(&good)).is_pending());
        let scope = Scope::current();
        let mut left = Box::pin(scope.drain());
        assert!(left.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        assert!(drained[0].as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        assert!(drained[1].as_mut().poll(&mut Context::from_waker(&good)).is_pending());
        let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| drop(held)));
        assert!(dropped.is_err(), "the panic goes on");
        assert_eq!(wakes.0.load(SeqCst), 2, "who waits for the end, and who waits for the permit");
        assert_eq!((gate.operations_in_flight(), scope.operations.load(SeqCst)), (0, 0));
    }

    #[test]
    fn who_waits_for_the_end_is_woken_once_however_often_it_looked() {
        let gate = Gate::new(ReadLimits { queue_depth: 1, bytes_in_flight_max: 100 });
        let held = poll(&mut gate.waiter(), 50).expect("fits");
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut drained = pin!(gate.drained());
        for _ in 0..3 {
            assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(held);
        assert_eq!(wakes.0.load(SeqCst), 1);
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn a_waiter_that_gives_up_lets_the_next_one_go() {
        let gate = Gate::new(ReadLimits { queue_depth: 8, bytes_in_flight_max: 100 });
        let (mut large, mut small) = (gate.waiter(), gate.waiter());
        let _held = poll(&mut small, 50).expect("fits");
        assert!(poll(&mut large, 80).is_none());
        drop(large);
        assert!(poll(&mut small, 10).is_some());
    }
}
