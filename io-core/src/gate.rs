//! The depth and the byte budget of a device, and the counts of what is in flight: of one open file, and in
//! one `run`.
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

/// The depth and the byte budget of one device, for all files that are opened with it.
///
/// Without one, each open file has a budget of its own. Files of one disk together may then have many times
/// its depth in flight. Clones share the budget, also across threads. First come, first served.
///
/// ```
/// use io_core::{DeviceBudget, OpenOptions};
///
/// let disk = DeviceBudget::new(64, 16 << 20);
/// let options = OpenOptions::default().on_device(&disk);
/// assert_eq!((options.queue_depth, options.bytes_in_flight_max), (64, 16 << 20));
/// ```
#[derive(Clone, Debug)]
pub struct DeviceBudget(Arc<DeviceState>);

#[derive(Debug)]
struct DeviceState {
    limits: ReadLimits,
    taken: Taken,
    /// The number of waiters. Returning a permit reads it instead of taking the lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

/// Batches that were refused a permit.
#[derive(Debug, Default)]
struct Queue {
    ticket_next: u64,
    /// Oldest first.
    waiters: VecDeque<(u64, Waker)>,
}

/// What is in flight: operations in the bits from [`BYTES_BITS`] on, bytes below. One word, so that both
/// change in one step.
#[derive(Debug, Default)]
struct Taken(AtomicU64);

const BYTES_BITS: u32 = 48;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

impl Taken {
    fn operations(&self) -> u64 {
        self.0.load(SeqCst) >> BYTES_BITS
    }

    fn bytes(&self) -> u64 {
        self.0.load(SeqCst) & BYTES_MASK
    }

    fn take(&self, bytes: u64) {
        self.0.fetch_add((1 << BYTES_BITS) + bytes, SeqCst);
    }

    fn try_take(&self, bytes: u64, limits: ReadLimits) -> bool {
        let took = self.0.fetch_update(SeqCst, SeqCst, |taken| {
            let (operations, in_flight) = (taken >> BYTES_BITS, taken & BYTES_MASK);
            let fits = operations < u64::from(limits.queue_depth)
                && in_flight.saturating_add(bytes) <= limits.bytes_in_flight_max;
            fits.then(|| taken + (1 << BYTES_BITS) + bytes)
        });
        took.is_ok()
    }

    /// Returns the operations that are left.
    fn give_back(&self, bytes: u64) -> u64 {
        let one = (1 << BYTES_BITS) + bytes;
        (self.0.fetch_sub(one, SeqCst) - one) >> BYTES_BITS
    }
}

impl DeviceBudget {
    /// A budget of `queue_depth` physical operations, with `bytes_in_flight_max` bytes in all.
    ///
    /// [`OpenOptions::check`](crate::OpenOptions::check) says which values are allowed.
    #[must_use]
    pub fn new(queue_depth: u32, bytes_in_flight_max: u64) -> Self {
        Self(Arc::new(DeviceState {
            limits: ReadLimits {
                queue_depth: queue_depth.min(u32::from(u16::MAX)),
                bytes_in_flight_max: bytes_in_flight_max.min(BYTES_MASK),
            },
            taken: Taken::default(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        }))
    }

    /// The depth and the bytes it was made with.
    pub(crate) fn limits(&self) -> ReadLimits {
        self.0.limits
    }
}

/// Two budgets are equal if they are clones of one.
impl PartialEq for DeviceBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for DeviceBudget {}

impl DeviceState {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the lock is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_waiting(&self, queue: &Queue) {
        self.waiting.store(queue.waiters.len(), SeqCst);
    }

    /// The first batch in the queue, to wake while no lock is held. [`Permit`]'s drop has the reason.
    #[must_use]
    fn front(&self) -> Option<Waker> {
        self.queue().waiters.front().map(|(_, waker)| waker.clone())
    }
}

/// Hands out permits for one open file, within the budget of its device, and counts them.
///
/// Clones share it, also across threads.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    device: DeviceBudget,
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
}

impl Gate {
    /// The gate of a file with nothing in flight.
    pub(crate) fn new(device: DeviceBudget) -> Self {
        let (taken, idle) = (Taken::default(), Mutex::default());
        let (idle_waiting, generation) = (AtomicBool::new(false), fork::generation());
        Self(Arc::new(GateState { device, taken, idle, idle_waiting, generation }))
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
        Waiter { gate: Arc::clone(&self.0), ticket: None }
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
        let device = &self.device.0;
        let left = self.taken.give_back(bytes);
        device.taken.give_back(bytes);
        if self.is_of_another_process() {
            return;
        }
        if left == 0 && self.idle_waiting.swap(false, SeqCst) {
            wakers.append(&mut self.idle());
        }
        if device.waiting.load(SeqCst) > 0 {
            wakers.extend(device.front());
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
fn wake_all(wakers: Vec<Waker>) {
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
        let device = &self.gate.device.0;
        debug_assert!(bytes <= device.limits.bytes_in_flight_max, "a permit that could never be given");
        let scope = Scope::current();
        if scope.holds_back(cx) {
            return Poll::Pending;
        }
        let unhindered = self.ticket.is_none() && device.waiting.load(SeqCst) == 0;
        if !(unhindered && device.taken.try_take(bytes, device.limits) || self.take_in_turn(bytes, cx)) {
            return Poll::Pending;
        }
        self.gate.taken.take(bytes);
        scope.entered();
        Poll::Ready(Permit { gate: Arc::clone(&self.gate), scope, bytes })
    }

    /// Takes the bytes if it is this batch's turn and they fit. Queues the batch otherwise.
    fn take_in_turn(&mut self, bytes: u64, cx: &Context<'_>) -> bool {
        let device = &self.gate.device.0;
        {
            let mut queue = device.queue();
            match queue.waiters.iter_mut().find(|(ticket, _)| Some(*ticket) == self.ticket) {
                Some(entry) => entry.1.clone_from(cx.waker()),
                None => {
                    let ticket = queue.ticket_next;
                    queue.ticket_next += 1;
                    self.ticket = Some(ticket);
                    queue.waiters.push_back((ticket, cx.waker().clone()));
                }
            }
            device.note_waiting(&queue);
            // The batch is queued now, so a permit that comes back from here on wakes it.
            let first = queue.waiters.front().is_some_and(|(ticket, _)| Some(*ticket) == self.ticket);
            if !first || !device.taken.try_take(bytes, device.limits) {
                return false;
            }
        }
        self.leave();
        true
    }

    /// Gives the place up, so that the next batch may go.
    pub(crate) fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take().filter(|_| !self.gate.is_of_another_process()) {
            let device = &self.gate.device.0;
            let left = {
                let mut queue = device.queue();
                let at = queue.waiters.iter().position(|(queued, _)| *queued == ticket);
                let left = at.and_then(|at| queue.waiters.remove(at));
                device.note_waiting(&queue);
                left
            };
            drop(left);
            if let Some(front) = device.front() {
                front.wake();
            }
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

    /// Adds the wakers to call to `wakers`.
    fn left(&self, wakers: &mut Vec<Waker>) {
        if self.operations.fetch_sub(1, SeqCst) == 1 && self.draining.load(SeqCst) {
            wakers.append(&mut self.waiters().idle);
        }
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
        wake_all(held);
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
        let gate = Gate::new(DeviceBudget::new(2, 100));
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
        let gate = Gate::new(DeviceBudget::new(8, 100));
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
        let gate = Gate::new(DeviceBudget::new(1, 100));
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
        let gate = Gate::new(DeviceBudget::new(1, 100));
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
    fn files_of_one_device_share_its_budget_and_drain_alone() {
        let device = DeviceBudget::new(2, 100);
        let (one, other) = (Gate::new(device.clone()), Gate::new(device));
        let (mut of_one, mut of_other) = (one.waiter(), other.waiter());
        let first = poll(&mut of_one, 10).expect("fits");
        let second = poll(&mut of_other, 20).expect("fits");
        assert!(poll(&mut of_one, 10).is_none(), "over the depth of the device");
        assert_eq!((one.bytes_in_flight(), other.bytes_in_flight()), (10, 20));
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut drained = pin!(one.drained());
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(second);
        assert_eq!(wakes.0.load(SeqCst), 0, "the other file's operation");
        drop(first);
        assert_eq!(wakes.0.load(SeqCst), 1);
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn a_waiter_that_gives_up_lets_the_next_one_go() {
        let gate = Gate::new(DeviceBudget::new(8, 100));
        let (mut large, mut small) = (gate.waiter(), gate.waiter());
        let _held = poll(&mut small, 50).expect("fits");
        assert!(poll(&mut large, 80).is_none());
        drop(large);
        assert!(poll(&mut small, 10).is_some());
    }
}
