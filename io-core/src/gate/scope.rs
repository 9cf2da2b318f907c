//! The operations in flight in one `run`, so that its end can wait for them.

use super::{push_once, wake_all};
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The operations of one `run`, over all gates. Operations that another runtime left behind are not counted,
/// since they may never end.
#[derive(Default, Debug)]
pub(super) struct Scope {
    pub(super) operations: AtomicUsize,
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
    pub(super) fn current() -> Arc<Self> {
        SCOPE.with_borrow(Arc::clone)
    }

    fn waiters(&self) -> MutexGuard<'_, ScopeWaiters> {
        // Nothing panics while the lock is held.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing may start now, because the scope drains. The task is woken when the scope has drained.
    pub(super) fn holds_back(&self, cx: &Context<'_>) -> bool {
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

    pub(super) fn entered(&self) {
        self.operations.fetch_add(1, SeqCst);
    }

    /// Adds the wakers to call to `wakers`.
    pub(super) fn left(&self, wakers: &mut Vec<Waker>) {
        if self.operations.fetch_sub(1, SeqCst) == 1 && self.draining.load(SeqCst) {
            wakers.append(&mut self.waiters().idle);
        }
    }

    pub(super) async fn drain(&self) {
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
