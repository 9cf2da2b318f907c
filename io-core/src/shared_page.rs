//! Buffers for operations that run on threads of their own, and go on if their futures are dropped.
//!
//! ```text
//!        page             start                                     finish
//!  pool ------> SharedPage -----> RunningPage, on any thread      ----------> SharedPage ------> pool
//!                           '---> PendingPage, the future's side -- woken ---^  |
//!                                  |                                            | nobody waits:
//!                                  '-- dropped: its permit goes to the other side, and both go back
//! ```
//!
//! From `start` to `finish` the buffer belongs to the operation, and then to the future. If the future is
//! dropped first, the operation gives the buffer to the pool, and the permit back.

use crate::buffer::{BLOCK_BYTES, Block, new_block};
use crate::fork;
use crate::gate::Permit;
use crate::shared_pool::{Pooled, SharedPool};
use std::fmt;
use std::io;
use std::mem::replace;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where the two sides of an operation meet. It is kept with its buffer, so an operation allocates nothing.
struct Meeting(Mutex<Stage>);

enum Stage {
    /// No operation.
    Idle,
    /// The operation has not ended. Its future has been polled if there is a waker.
    Running(Option<Waker>),
    /// The operation has ended, and its future has not seen it.
    Ended(io::Result<usize>, Block),
    /// The operation has not ended, and its future is gone.
    Abandoned(Option<Permit>),
}

impl Meeting {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        // Nothing but the clone of a waker can panic while the lock is held. It leaves the stage whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer without an operation.
struct Idle {
    block: Block,
    meeting: Arc<Meeting>,
}

impl Pooled for Idle {
    fn with_blocks(blocks: usize) -> Self {
        let meeting = Arc::new(Meeting(Mutex::new(Stage::Idle)));
        Self { block: new_block(blocks * BLOCK_BYTES), meeting }
    }

    fn blocks(&self) -> usize {
        self.block.len() / BLOCK_BYTES
    }
}

/// A pool of buffers for operations on any thread. Clones share it.
///
/// It keeps up to 32 MiB of unused buffers. The gate of a reader bounds the buffers in use.
#[derive(Clone)]
pub struct SharedBufferPool(Arc<SharedPool<Idle>>);

impl fmt::Debug for SharedBufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedBufferPool").field(&self.0).finish()
    }
}

impl Default for SharedBufferPool {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedBufferPool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(SharedPool::new()))
    }

    /// A buffer of exactly `len` bytes, aligned to [`BLOCK_BYTES`]. Its content is unspecified.
    #[must_use]
    pub fn page(&self, len: usize) -> SharedPage {
        SharedPage { idle: Some(self.0.take(len)), len, pool: self.clone() }
    }
}

/// Bytes that were read or will be written. Dropping it returns the buffer to its pool.
pub struct SharedPage {
    /// `None` only while the page is dropped or started.
    idle: Option<Idle>,
    len: usize,
    pool: SharedBufferPool,
}

impl SharedPage {
    /// Keeps the first `len` bytes. Does nothing if there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Splits the page into the two sides of an operation, with its permit if it has one.
    #[must_use]
    pub fn start(mut self, permit: Option<Permit>) -> (PendingPage, RunningPage) {
        let idle = self.idle.take().expect("a page has a buffer until it is dropped or started");
        *idle.meeting.stage() = Stage::Running(None);
        let meeting = Some(Arc::clone(&idle.meeting));
        let pending = PendingPage {
            meeting,
            len: self.len,
            permit,
            pool: self.pool.clone(),
            generation: fork::generation(),
        };
        let running = RunningPage {
            idle: Some(idle),
            len: self.len,
            pool: self.pool.clone(),
            generation: fork::generation(),
        };
        (pending, running)
    }
}

impl fmt::Debug for SharedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPage").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Deref for SharedPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.idle.as_ref().map_or(&[], |idle| &idle.block[..self.len])
    }
}

impl DerefMut for SharedPage {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.idle.as_mut().map_or(&mut [], |idle| &mut idle.block[..self.len])
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.take() {
            self.pool.0.put(idle);
        }
    }
}

/// The future's side of an operation. It ends with the page, cut to the bytes that were transferred, and with
/// the permit that it was started with.
///
/// # Errors
/// The error that the operation finished with. After a fork, [`fork::lost`](crate::backend::fork::lost).
///
/// # Cancel safety
/// If it is dropped, the operation goes on. The buffer and the permit come back when it ends.
pub struct PendingPage {
    /// `None` once it has ended.
    meeting: Option<Arc<Meeting>>,
    len: usize,
    permit: Option<Permit>,
    pool: SharedBufferPool,
    generation: u64,
}

impl fmt::Debug for PendingPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingPage").field("ended", &self.meeting.is_none()).finish_non_exhaustive()
    }
}

impl PendingPage {
    /// The result, with the permit of an operation that was started with one.
    ///
    /// # Panics
    /// If it was started without one.
    pub async fn with_permit(self) -> (io::Result<SharedPage>, Permit) {
        let (result, permit) = self.await;
        (result, permit.expect("the operation was started with a permit"))
    }
}

impl Future for PendingPage {
    type Output = (io::Result<SharedPage>, Option<Permit>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.generation != fork::generation() {
            // The operation never ends in this process. A thread that stayed behind may hold the lock.
            this.meeting = None;
            return Poll::Ready((Err(fork::lost()), this.permit.take()));
        }
        let meeting = this.meeting.as_ref().expect("not polled after its end");
        let mut stage = meeting.stage();
        match replace(&mut *stage, Stage::Idle) {
            Stage::Ended(result, block) => {
                drop(stage);
                let meeting = this.meeting.take().expect("looked at above");
                let page = SharedPage {
                    idle: Some(Idle { block, meeting }),
                    len: this.len,
                    pool: this.pool.clone(),
                };
                let result = result.map(|bytes| {
                    let mut page = page;
                    page.truncate(bytes);
                    page
                });
                Poll::Ready((result, this.permit.take()))
            }
            before => {
                *stage = Stage::Running(Some(cx.waker().clone()));
                drop(stage);
                // The waker of an earlier poll. It is the caller's code, so no lock is held.
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl Drop for PendingPage {
    fn drop(&mut self) {
        // After a fork, as in `poll`.
        if self.generation != fork::generation() {
            return;
        }
        let Some(meeting) = self.meeting.take() else { return };
        let mut stage = meeting.stage();
        let before = replace(&mut *stage, Stage::Idle);
        if let Stage::Ended(_, block) = before {
            drop(stage);
            self.pool.0.put(Idle { block, meeting });
            return;
        }
        *stage = Stage::Abandoned(self.permit.take());
        drop(stage);
        drop(before);
    }
}

/// The operation's side: the buffer to read into or to write from, on whichever thread carries it out.
///
/// Dropping it finishes the operation with an error, so that no future waits for ever.
pub struct RunningPage {
    /// `None` once it has finished.
    idle: Option<Idle>,
    len: usize,
    pool: SharedBufferPool,
    generation: u64,
}

impl fmt::Debug for RunningPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningPage").field("len", &self.len).finish_non_exhaustive()
    }
}

impl RunningPage {
    /// Whether the future is gone, so that the operation need not begin.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.idle.as_ref().is_some_and(|idle| matches!(*idle.meeting.stage(), Stage::Abandoned(_)))
    }

    /// Ends the operation, which transferred this many bytes, and wakes its future.
    ///
    /// A panic of the future's waker ends here, since it must not end the thread of other operations.
    pub fn finish(mut self, result: io::Result<usize>) {
        self.end(result);
    }

    fn end(&mut self, result: io::Result<usize>) {
        let Some(Idle { block, meeting }) = self.idle.take() else { return };
        let mut stage = meeting.stage();
        let woken = match replace(&mut *stage, Stage::Idle) {
            Stage::Abandoned(permit) => {
                drop(stage);
                self.pool.0.put(Idle { block, meeting });
                // The permit wakes who waits for it.
                catch_unwind(AssertUnwindSafe(|| drop(permit)))
            }
            before => {
                *stage = Stage::Ended(result, block);
                drop(stage);
                let Stage::Running(Some(waker)) = before else { return };
                catch_unwind(AssertUnwindSafe(|| waker.wake()))
            }
        };
        drop(woken);
    }
}

impl Deref for RunningPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.idle.as_ref().map_or(&[], |idle| &idle.block[..self.len])
    }
}

impl DerefMut for RunningPage {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.idle.as_mut().map_or(&mut [], |idle| &mut idle.block[..self.len])
    }
}

impl Drop for RunningPage {
    fn drop(&mut self) {
        // After a fork, a thread that stayed behind may hold the lock. Nobody waits for the end either.
        if self.idle.is_some() && self.generation == fork::generation() {
            self.end(Err(io::Error::other("the operation was given up before it ended")));
        }
    }
}

#[cfg(test)]
mod tests;
