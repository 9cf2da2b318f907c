//! The depth and the byte budget of one open file, and the count of what is in flight on this thread.
//!
//! A [`Permit`] lives as long as the physical operation it was given for, even when the batch that asked for it is gone.
//! So the budget, `close` and the end of a backend's `run` all see the truth: what the kernel may still write to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How much may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Physical operations.
    pub queue_depth: u32,
    /// Bytes of all of them.
    pub bytes_in_flight_max: u64,
}

/// Hands out permits within [`ReadLimits`], first come, first served. Clones share it; it stays on its thread.
#[derive(Clone, Debug)]
pub struct Gate(Rc<GateState>);

#[derive(Debug)]
struct GateState {
    limits: ReadLimits,
    operations: Cell<u32>,
    bytes: Cell<u64>,
    ticket_next: Cell<u64>,
    /// Batches that were refused, oldest first.
    queue: RefCell<VecDeque<(u64, Waker)>>,
    /// Who waits for nothing to be in flight.
    idle: RefCell<Vec<Waker>>,
}

/// The right to have one operation of so many bytes in flight. Dropping it gives the right back.
#[derive(Debug)]
pub struct Permit {
    gate: Rc<GateState>,
    scope: Rc<Scope>,
    bytes: u64,
}

impl Gate {
    /// A gate with nothing in flight.
    #[must_use]
    pub fn new(limits: ReadLimits) -> Self {
        Self(Rc::new(GateState {
            limits,
            operations: Cell::new(0),
            bytes: Cell::new(0),
            ticket_next: Cell::new(0),
            queue: RefCell::default(),
            idle: RefCell::default(),
        }))
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> ReadLimits {
        self.0.limits
    }

    /// Operations in flight.
    #[must_use]
    pub fn operations_in_flight(&self) -> u32 {
        self.0.operations.get()
    }

    /// Bytes in flight.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.0.bytes.get()
    }

    /// Waits until nothing is in flight.
    pub async fn drained(&self) {
        poll_fn(|cx| {
            if self.0.operations.get() == 0 {
                return Poll::Ready(());
            }
            self.0.idle.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A place in the queue of those who want permits; one a batch.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter { gate: Rc::clone(&self.0), ticket: None }
    }
}

impl GateState {
    fn fits(&self, bytes: u64) -> bool {
        self.operations.get() < self.limits.queue_depth
            && self.bytes.get().saturating_add(bytes) <= self.limits.bytes_in_flight_max
    }

    fn wake_front(&self) {
        if let Some((_, waker)) = self.queue.borrow().front() {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let gate = &self.gate;
        gate.operations.set(gate.operations.get() - 1);
        gate.bytes.set(gate.bytes.get() - self.bytes);
        self.scope.left();
        gate.wake_front();
        if gate.operations.get() == 0 {
            gate.idle.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// One batch's place in the queue.
pub(crate) struct Waiter {
    gate: Rc<GateState>,
    ticket: Option<u64>,
}

impl Waiter {
    /// Gives a permit for `bytes` when they fit and nobody waits ahead; else queues this batch and wakes it later.
    pub(crate) fn poll_acquire(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<Permit> {
        debug_assert!(bytes <= self.gate.limits.bytes_in_flight_max, "a permit that could never be given");
        let scope = Scope::current();
        if scope.draining.get() {
            scope.held.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        let first = self.gate.queue.borrow().front().is_none_or(|(ticket, _)| Some(*ticket) == self.ticket);
        if !first || !self.gate.fits(bytes) {
            self.queue(cx);
            return Poll::Pending;
        }
        self.leave();
        self.gate.operations.set(self.gate.operations.get() + 1);
        self.gate.bytes.set(self.gate.bytes.get() + bytes);
        scope.entered();
        Poll::Ready(Permit { gate: Rc::clone(&self.gate), scope, bytes })
    }

    fn queue(&mut self, cx: &Context<'_>) {
        let mut queue = self.gate.queue.borrow_mut();
        if let Some(entry) = queue.iter_mut().find(|(ticket, _)| Some(*ticket) == self.ticket) {
            entry.1.clone_from(cx.waker());
            return;
        }
        let ticket = self.gate.ticket_next.get();
        self.gate.ticket_next.set(ticket + 1);
        self.ticket = Some(ticket);
        queue.push_back((ticket, cx.waker().clone()));
    }

    /// Gives the place up, so that whoever is next may go.
    pub(crate) fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.queue.borrow_mut().retain(|(queued, _)| *queued != ticket);
            self.gate.wake_front();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What was started in one `run` on one thread, over all gates. What somebody else's runtime left behind, which may never
/// end, is not in it.
#[derive(Default, Debug)]
struct Scope {
    operations: Cell<usize>,
    draining: Cell<bool>,
    /// Who waits for nothing to be in flight.
    idle: RefCell<Vec<Waker>>,
    /// Batches held back while the scope drains.
    held: RefCell<Vec<Waker>>,
}

thread_local! {
    static SCOPE: RefCell<Rc<Scope>> = RefCell::default();
}

impl Scope {
    fn current() -> Rc<Self> {
        SCOPE.with_borrow(Rc::clone)
    }

    fn entered(&self) {
        self.operations.set(self.operations.get() + 1);
    }

    fn left(&self) {
        self.operations.set(self.operations.get() - 1);
        if self.operations.get() == 0 {
            self.idle.take().into_iter().for_each(Waker::wake);
        }
    }

    async fn drain(&self) {
        self.draining.set(true);
        poll_fn(|cx| {
            if self.operations.get() == 0 {
                return Poll::Ready(());
            }
            self.idle.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.draining.set(false);
        self.held.take().into_iter().for_each(Waker::wake);
    }
}

/// Waits until no operation that was started on this thread is in flight; new ones are held back meanwhile.
///
/// For users who run a runtime themselves, before they leave it. Inside a backend's `run` there is no need.
pub async fn drain_this_thread() {
    Scope::current().drain().await;
}

/// Puts the scope before back, also on a panic.
struct Restore(Rc<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        SCOPE.set(Rc::clone(&self.0));
    }
}

/// Runs `future` and then waits for all it has in flight on this thread, also when it panics; the panic then goes on.
///
/// For a backend's `run`: `runtime.block_on(run_to_drain(main()))`.
pub async fn run_to_drain<F: Future>(future: F) -> F::Output {
    let scope = Rc::<Scope>::default();
    let _restore = Restore(SCOPE.replace(Rc::clone(&scope)));
    let mut future = std::pin::pin!(future);
    let result = poll_fn(|cx| {
        // Unwind safety: after a panic nothing looks at the future again, it is only dropped.
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx)));
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
