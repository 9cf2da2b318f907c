//! One operation with its buffer, and the rule for who may touch them when.
//!
//! ```text
//!  Idle ──start──> Pending (the future) + Running (the ring) ──finish──> the future wakes and has an Idle
//!                     │
//!                     └─ dropped: the operation goes on, and returns to its file when it has ended
//! ```
//!
//! The content belongs to the ring from `start` to `finish`, and then to the future. If the future was
//! dropped first, it stays with the ring. One atomic swap on each side decides this. Operations are used
//! again, buffer included, so that a read allocates nothing.
//!
//! Operations are generic over their file. So nothing here depends on rings, pools or descriptors.

#![allow(unsafe_code)]

use crate::place::Place;
use crate::sync::{Arc, AtomicPtr, AtomicU8, AtomicWaker, UnsafeCell, contain_panic};
use aligned_vec::{AVec, ConstAlign};
use io_core::SyncKind;
use io_core::backend::{BLOCK_BYTES, Permit, Pooled, fork};
use std::future::poll_fn;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
// loom models operations. Files are shared by the standard library's `Arc`.
use std::sync::Arc as FileArc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// The file of an operation, which keeps operations to use them again.
pub(crate) trait OperationFile: Send + Sync + Sized + 'static {
    /// Takes back an operation whose future is gone.
    fn take_back(&self, idle: Idle<Self>);
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Sync(SyncKind),
    Close,
}

/// An operation's task.
pub(crate) struct Order<F> {
    pub(crate) kind: Kind,
    pub(crate) file: FileArc<F>,
    /// First byte of the file.
    pub(crate) offset: u64,
    /// Bytes of the buffer to read or write.
    pub(crate) len: u32,
    /// `None` for syncing and closing, which the budget does not count.
    pub(crate) permit: Option<Permit>,
}

impl<F> Order<F> {
    /// One past the last byte in the file.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// The operation is idle, or it has not ended and its future still exists.
const RUNNING: u8 = 0;
/// The ring has finished it.
const FINISHED: u8 = 1;
/// The future is gone, and the ring has not finished it.
const ABANDONED: u8 = 2;

/// The result of an operation that lost its ring at a fork.
const FORKED: i32 = i32::MIN;

pub(crate) struct Operation<F> {
    /// The link of the hand-over.
    pub(crate) next: AtomicPtr<Self>,
    state: AtomicU8,
    waker: AtomicWaker,
    content: UnsafeCell<Content<F>>,
}

struct Content<F> {
    order: Option<Order<F>>,
    buffer: AVec<u8, ConstAlign<BLOCK_BYTES>>,
    /// The buffer's place in the ring's table, if it has one.
    place: Option<Place>,
    /// Whether it has been through the ring before.
    used: bool,
    /// As in a completion: bytes, or a negative error number.
    result: i32,
}

// SAFETY: everything but `content` is atomic. One side at a time touches `content`, as the module says. Its
// file may be shared and dropped on any thread.
unsafe impl<F: Send + Sync> Send for Operation<F> {}
// SAFETY: as above.
unsafe impl<F: Send + Sync> Sync for Operation<F> {}

/// An operation with one owner.
pub(crate) struct Idle<F>(Arc<Operation<F>>);

/// The future's side of an operation in flight.
pub(crate) struct Pending<F: OperationFile> {
    /// `None` once it has ended.
    operation: Option<Arc<Operation<F>>>,
    generation: u64,
}

/// The ring's side of an operation in flight.
pub(crate) struct Running<F>(Arc<Operation<F>>);

impl<F> Pooled for Idle<F> {
    fn with_blocks(blocks: usize) -> Self {
        Self::new(blocks)
    }

    fn blocks(&self) -> usize {
        self.buffer().len() / BLOCK_BYTES
    }
}

impl<F> Idle<F> {
    /// An operation with a buffer of so many blocks.
    pub(crate) fn new(blocks: usize) -> Self {
        let mut buffer = AVec::with_capacity(BLOCK_BYTES, blocks * BLOCK_BYTES);
        buffer.resize(blocks * BLOCK_BYTES, 0);
        Self(Arc::new(Operation {
            next: AtomicPtr::new(null_mut()),
            state: AtomicU8::new(RUNNING),
            waker: AtomicWaker::new(),
            content: UnsafeCell::new(Content { order: None, buffer, place: None, used: false, result: 0 }),
        }))
    }

    pub(crate) fn buffer(&self) -> &[u8] {
        // SAFETY: an idle operation has one owner, which is borrowed for as long as the slice lives.
        self.0.content.with(|content| unsafe { &(*content).buffer })
    }

    pub(crate) fn buffer_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `buffer`, and borrowed mutably.
        self.0.content.with_mut(|content| unsafe { &mut (*content).buffer })
    }

    fn content_mut(&mut self) -> &mut Content<F> {
        // SAFETY: as in `buffer_mut`.
        self.0.content.with_mut(|content| unsafe { &mut *content })
    }
}

impl<F: OperationFile> Idle<F> {
    /// Splits the operation into the future's side and the ring's.
    pub(crate) fn start(mut self, order: Option<Order<F>>) -> (Pending<F>, Running<F>) {
        debug_assert!(
            order.as_ref().is_none_or(|order| order.len as usize <= self.buffer().len()),
            "longer than its buffer"
        );
        self.content_mut().order = order;
        // Relaxed: the hand-over publishes it.
        self.0.state.store(RUNNING, Ordering::Relaxed);
        let pending = Pending { operation: Some(Arc::clone(&self.0)), generation: fork::generation() };
        (pending, Running(self.0))
    }

    /// Gives the operation back to its file and returns the rest of the order.
    fn recycle(mut self) -> Option<Permit> {
        let order = self.content_mut().order.take()?;
        order.file.take_back(self);
        order.permit
    }
}

/// How an operation ended.
pub(crate) struct Ended<F> {
    /// The bytes read or written.
    pub(crate) result: io::Result<u32>,
    /// The operation with its buffer, to use again. `None` after a fork.
    pub(crate) idle: Option<Idle<F>>,
    /// The order that was handed in.
    pub(crate) order: Option<Order<F>>,
}

impl<F: OperationFile> Pending<F> {
    /// Waits for the end. If this is dropped before, the operation goes on alone.
    pub(crate) async fn ended(mut self) -> Ended<F> {
        poll_fn(|cx| self.poll(cx)).await
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Ended<F>> {
        let operation = self.operation.as_ref().expect("not polled after its end");
        // Acquire: the future must see the ring's writes and the kernel's before them.
        let is_finished = || operation.state.load(Ordering::Acquire) == FINISHED;
        if !is_finished() {
            operation.waker.register(cx.waker());
            if !is_finished() {
                if self.generation == fork::generation() {
                    return Poll::Pending;
                }
                return Poll::Ready(Ended { result: to_result(FORKED), idle: None, order: self.forked() });
            }
            // The operation ended in between. It may go to a pool, and must not keep a task alive there.
            drop(operation.waker.take());
        }
        let mut idle = Idle(self.operation.take().expect("looked at above"));
        let content = idle.content_mut();
        let (result, order) = (to_result(content.result), content.order.take());
        Poll::Ready(Ended { result, idle: Some(idle), order })
    }

    /// Takes the order out of an operation whose ring is in another process. It never ends here.
    fn forked(&mut self) -> Option<Order<F>> {
        // The operation is leaked. The stack of the hand-over may still lead through it.
        let mut idle = ManuallyDrop::new(Idle(self.operation.take()?));
        idle.content_mut().order.take()
    }
}

impl<F: OperationFile> Drop for Pending<F> {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            drop(self.forked());
        }
        let Some(operation) = self.operation.take() else { return };
        drop(operation.waker.take());
        // AcqRel: the side that comes second sees what the other one did.
        if operation.state.swap(ABANDONED, Ordering::AcqRel) == FINISHED {
            drop(Idle(operation).recycle());
        }
    }
}

fn to_result(result: i32) -> io::Result<u32> {
    match result {
        FORKED => Err(fork::lost()),
        error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
        bytes => Ok(bytes as u32),
    }
}

impl<F: OperationFile> Running<F> {
    pub(crate) fn into_shared(self) -> Arc<Operation<F>> {
        self.0
    }

    /// Reverses [`Running::into_shared`].
    pub(crate) fn from_shared(operation: Arc<Operation<F>>) -> Self {
        Self(operation)
    }

    pub(crate) fn order(&self) -> &Order<F> {
        // SAFETY: until `finish`, the content is the ring's, and this is the ring's only handle.
        let order = self.0.content.with(|content| unsafe { &(*content).order });
        order.as_ref().expect("the ring is given operations with orders only")
    }

    /// Start of the buffer. Until [`Running::finish`] it does not move, and it is the kernel's.
    pub(crate) fn buffer_ptr(&self) -> *mut u8 {
        // SAFETY: as in `order`.
        self.0.content.with_mut(|content| unsafe { (*content).buffer.as_mut_ptr() })
    }

    pub(crate) fn buffer_len(&self) -> usize {
        // SAFETY: as in `order`.
        self.0.content.with(|content| unsafe { (*content).buffer.len() })
    }

    /// Whether it has been through the ring before.
    pub(crate) fn is_used_again(&self) -> bool {
        // SAFETY: as in `order`.
        self.0.content.with(|content| unsafe { (*content).used })
    }

    /// The buffer's place in the ring's table.
    pub(crate) fn place(&self) -> Option<&Place> {
        // SAFETY: as in `order`.
        self.0.content.with(|content| unsafe { (*content).place.as_ref() })
    }

    /// Notes that the ring's table has the buffer from here on.
    pub(crate) fn set_place(&mut self, place: Place) {
        // SAFETY: as in `order`.
        self.0.content.with_mut(|content| unsafe { (*content).place = Some(place) });
    }

    /// Whether the future is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == ABANDONED
    }

    /// Ends the operation. The kernel no longer touches the buffer.
    pub(crate) fn finish(self, result: i32) {
        // SAFETY: as in `order`. This call consumes the handle.
        let content = self.0.content.with_mut(|content| unsafe { &mut *content });
        content.result = result;
        content.used = true;
        // Wakers are the callers' code, and may panic. That must not end the ring, on which all files depend.
        contain_panic(|| {
            if self.0.state.swap(FINISHED, Ordering::AcqRel) == ABANDONED {
                drop(Idle(self.0).recycle());
            } else {
                self.0.waker.wake();
            }
        });
    }

    /// Ends an operation that lost its ring at a fork.
    pub(crate) fn finish_forked(self) {
        self.finish(FORKED);
    }
}
