//! Keeps a thread from sleeping for ever with an operation that the kernel did not take.

use crate::LocalBoxFuture;
use crate::alarm::alarm;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The longest that a refused operation waits for its next chance.
const PERIOD: Duration = Duration::from_millis(100);

thread_local! {
    /// Operations of this thread that have not ended.
    static OPERATIONS: Cell<usize> = const { Cell::new(0) };
    static WAKING: Cell<bool> = const { Cell::new(false) };
}

/// Runs an operation of this thread's runtime, and wakes the thread ten times a second meanwhile.
///
/// Some runtimes hand operations to the kernel just before their thread sleeps, and ignore a refusal, which
/// `io_uring_enter` calls `EAGAIN`, `EBUSY` or `EINTR`. A thread that wakes and sleeps again tries once more.
///
/// `spawn` is as [`PageSource::spawn`](crate::backend::PageSource::spawn). One task a thread serves all of
/// its operations. If the system refuses the thread of [`alarm`], nothing is woken.
pub async fn woken<F: Future>(operation: F, spawn: fn(LocalBoxFuture<'static, ()>)) -> F::Output {
    let _one = One::new();
    if !WAKING.get() {
        WAKING.set(true);
        spawn(Box::pin(wake(Waking)));
    }
    operation.await
}

async fn wake(_waking: Waking) {
    while OPERATIONS.get() > 0 && alarm(Instant::now() + PERIOD).await.is_ok() {}
}

/// An operation that has not ended.
struct One;

impl One {
    fn new() -> Self {
        OPERATIONS.set(OPERATIONS.get() + 1);
        Self
    }
}

impl Drop for One {
    fn drop(&mut self) {
        OPERATIONS.set(OPERATIONS.get() - 1);
    }
}

/// Lowers the flag when the task ends, also with its runtime.
struct Waking;

impl Drop for Waking {
    fn drop(&mut self) {
        WAKING.set(false);
    }
}
