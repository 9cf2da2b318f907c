//! Operations of one file that wait to be used again, by the size of their buffers. Taking and putting takes no lock.

use crate::fork;
use crate::operation::Idle;
use crossbeam_queue::ArrayQueue;
use io_core::{BLOCK_BYTES, OpenOptions};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget bounds how many are out; this bounds how many wait.
pub(crate) struct Pool {
    /// By the length of the buffer in blocks; made when first needed.
    sizes: Box<[OnceLock<ArrayQueue<Idle>>]>,
    depth: usize,
    free_bytes: AtomicUsize,
    free_bytes_max: usize,
    /// A fork may have come between the two steps of another thread's take or put, which then never ends.
    generation: u64,
}

impl Pool {
    pub(crate) fn new(options: &OpenOptions) -> Self {
        let blocks_max = (options.read_size_max as usize).div_ceil(BLOCK_BYTES);
        Self {
            sizes: (0..=blocks_max).map(|_| OnceLock::new()).collect(),
            depth: options.queue_depth as usize,
            free_bytes: AtomicUsize::new(0),
            free_bytes_max: options.bytes_in_flight_max as usize,
            generation: fork::generation(),
        }
    }

    /// An operation with room for `len` bytes. What its buffer holds is unspecified.
    pub(crate) fn take(&self, len: usize) -> Idle {
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
    pub(crate) fn put(&self, idle: Idle) {
        if self.generation != fork::generation() {
            return;
        }
        let bytes = idle.buffer().len();
        let Some(size) = self.sizes.get(bytes / BLOCK_BYTES) else { return };
        if self.free_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.free_bytes_max
            || size.get_or_init(|| ArrayQueue::new(self.depth)).push(idle).is_err()
        {
            self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
