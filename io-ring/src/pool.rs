//! Idle operations by the size of their buffers, for any file of the ring. Taking and putting takes no lock.

use crate::fork;
use crate::operation::{Idle, OperationFile};
use crossbeam_queue::ArrayQueue;
use io_core::backend::BLOCK_BYTES;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum of bytes in idle buffers.
const FREE_BYTES_MAX: usize = 32 << 20;
/// The longest buffer that is kept, in blocks.
const BLOCKS_MAX: usize = (1 << 20) / BLOCK_BYTES;
/// Maximum of idle operations of one size.
const OF_A_SIZE_MAX: usize = 4096;

/// Keeps idle operations, within bounds. The budgets of files bound the operations in use.
pub(crate) struct Pool<F> {
    /// Idle operations by their blocks. A queue is made when it is first needed.
    sizes: Box<[OnceLock<ArrayQueue<Idle<F>>>]>,
    free_bytes: AtomicUsize,
    /// A fork may interrupt another thread's take or put, which then never ends. So a forked process uses no
    /// queue.
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

    /// An operation with room for `len` bytes. The content of its buffer is unspecified.
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

    /// Keeps an operation if there is room.
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
