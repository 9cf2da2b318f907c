//! Operations of one file that wait to be used again, by the size of their buffers. Taking and putting takes no lock.

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
}

impl Pool {
    pub(crate) fn new(options: &OpenOptions) -> Self {
        let blocks_max = (options.read_size_max as usize).div_ceil(BLOCK_BYTES);
        Self {
            sizes: (0..=blocks_max).map(|_| OnceLock::new()).collect(),
            depth: options.queue_depth as usize,
            free_bytes: AtomicUsize::new(0),
            free_bytes_max: options.bytes_in_flight_max as usize,
        }
    }

    /// An operation with room for `len` bytes. What its buffer holds is unspecified.
    pub(crate) fn take(&self, len: usize) -> Idle {
        let blocks = len.div_ceil(BLOCK_BYTES);
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
        let bytes = idle.buffer().len();
        let Some(size) = self.sizes.get(bytes / BLOCK_BYTES) else { return };
        if self.free_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.free_bytes_max
            || size.get_or_init(|| ArrayQueue::new(self.depth)).push(idle).is_err()
        {
            self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
