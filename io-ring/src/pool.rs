//! Operations that wait to be used again by any file of the ring, by the size of their buffers. Taking and putting takes no
//! lock.

use crate::fork;
use crate::operation::{Idle, OperationFile};
use crossbeam_queue::ArrayQueue;
use io_core::backend::BLOCK_BYTES;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of buffers that wait.
const FREE_BYTES_MAX: usize = 32 << 20;
/// Longer buffers are not kept.
const BLOCKS_MAX: usize = (1 << 20) / BLOCK_BYTES;
/// Operations of one size that wait.
const OF_A_SIZE_MAX: usize = 4096;

/// The budgets of files bound how many are out; this bounds how many wait.
pub(crate) struct Pool<F> {
    /// By the length of the buffer in blocks; made when first needed.
    sizes: Box<[OnceLock<ArrayQueue<Idle<F>>>]>,
    free_bytes: AtomicUsize,
    /// A fork may have come between the two steps of another thread's take or put, which then never ends.
    generation: u64,
}

impl<F: OperationFile> Pool<F> {
    pub(crate) fn new() -> Self {
        Self {
            sizes: (0..=BLOCKS_MAX).map(|_| OnceLock::new()).collect(),
            free_bytes: AtomicUsize::new(0),
            generation: fork::generation(),
        }
    }

    /// An operation with room for `len` bytes. What its buffer holds is unspecified.
    pub(crate) fn take(&self, len: usize) -> Idle<F> {
        let blocks = len.div_ceil(BLOCK_BYTES);
        if self.generation != fork::generation() {
            return Idle::new(blocks);
        }
        let waiting = self.sizes.get(blocks).and_then(OnceLock::get).and_then(ArrayQueue::pop);
        match waiting {
            Some(idle) => {
                self.free_bytes.fetch_sub(blocks * BLOCK_BYTES, Ordering::Relaxed);
                idle
            }
            None => Idle::new(blocks),
        }
    }

    /// Keeps an operation, if there is room.
    pub(crate) fn put(&self, idle: Idle<F>) {
        if self.generation != fork::generation() {
            return;
        }
        let bytes = idle.buffer().len();
        let Some(size) = self.sizes.get(bytes / BLOCK_BYTES) else { return };
        let room = (FREE_BYTES_MAX / bytes.max(1)).min(OF_A_SIZE_MAX);
        if self.free_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > FREE_BYTES_MAX
            || size.get_or_init(|| ArrayQueue::new(room)).push(idle).is_err()
        {
            self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
