//! Idle buffers by size, for any thread. Taking and putting takes no lock.

use crate::buffer::BLOCK_BYTES;
use crate::fork;
use crossbeam_queue::ArrayQueue;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum of bytes in idle buffers.
const FREE_BYTES_MAX: usize = 32 << 20;
/// The longest buffer that is kept, in blocks.
const BLOCKS_MAX: usize = (1 << 20) / BLOCK_BYTES;
/// Maximum of idle buffers of one size.
const OF_A_SIZE_MAX: usize = 4096;

/// A buffer, alone or with what belongs to it, that a [`SharedPool`] keeps.
pub trait Pooled {
    /// A new one, with a buffer of this many blocks of [`BLOCK_BYTES`].
    fn with_blocks(blocks: usize) -> Self;

    /// The blocks of its buffer.
    fn blocks(&self) -> usize;
}

/// Keeps idle buffers for all threads, within bounds. The budgets of files bound the buffers in use.
///
/// [`BufferPool`](crate::backend::BufferPool) is the pool for one thread, and
/// [`SharedBufferPool`](crate::backend::SharedBufferPool) the one of plain buffers.
pub struct SharedPool<T> {
    /// Idle buffers by their blocks. A queue is made when it is first needed.
    sizes: Box<[OnceLock<ArrayQueue<T>>]>,
    free_bytes: AtomicUsize,
    /// A fork may interrupt another thread's take or put, which then never ends. So a forked process uses no
    /// queue.
    generation: u64,
}

impl<T> fmt::Debug for SharedPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").field("free_bytes", &self.free_bytes).finish_non_exhaustive()
    }
}

impl<T: Pooled> Default for SharedPool<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Pooled> SharedPool<T> {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        fork::watch();
        Self {
            sizes: (0..=BLOCKS_MAX).map(|_| OnceLock::new()).collect(),
            free_bytes: AtomicUsize::new(0),
            generation: fork::generation(),
        }
    }

    /// Whether the pool is that of another process, which this one was forked from.
    #[must_use]
    pub fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    /// A buffer for `len` bytes, idle or new. Its content is unspecified.
    #[must_use]
    pub fn take(&self, len: usize) -> T {
        let blocks = len.div_ceil(BLOCK_BYTES);
        if self.is_of_another_process() {
            return T::with_blocks(blocks);
        }
        let waiting = self.sizes.get(blocks).and_then(OnceLock::get).and_then(ArrayQueue::pop);
        match waiting {
            Some(idle) => {
                self.free_bytes.fetch_sub(blocks * BLOCK_BYTES, Ordering::Relaxed);
                idle
            }
            None => T::with_blocks(blocks),
        }
    }

    /// Keeps a buffer if there is room.
    pub fn put(&self, idle: T) {
        if self.is_of_another_process() {
            return;
        }
        let blocks = idle.blocks();
        let bytes = blocks * BLOCK_BYTES;
        let Some(size) = self.sizes.get(blocks) else { return };
        let room = (FREE_BYTES_MAX / bytes.max(1)).min(OF_A_SIZE_MAX);
        if self.free_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > FREE_BYTES_MAX
            || size.get_or_init(|| ArrayQueue::new(room)).push(idle).is_err()
        {
            self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbered {
        blocks: usize,
        number: usize,
    }

    impl Pooled for Numbered {
        fn with_blocks(blocks: usize) -> Self {
            Self { blocks, number: 0 }
        }

        fn blocks(&self) -> usize {
            self.blocks
        }
    }

    #[test]
    fn idle_buffers_of_a_size_are_used_again() {
        let pool = SharedPool::new();
        pool.put(Numbered { blocks: 1, number: 5 });
        pool.put(Numbered { blocks: 2, number: 6 });
        assert_eq!(pool.take(0).number, 0);
        let taken = [1, 1, BLOCK_BYTES + 1, 1].map(|len| pool.take(len).number);
        assert_eq!(taken, [5, 0, 6, 0]);
        assert_eq!(pool.free_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn idle_buffers_stay_within_the_bounds() {
        let pool = SharedPool::new();
        for number in 0..OF_A_SIZE_MAX + 5 {
            pool.put(Numbered { blocks: 1, number });
        }
        assert_eq!(pool.free_bytes.load(Ordering::Relaxed), OF_A_SIZE_MAX * BLOCK_BYTES);
        for number in 0..100 {
            pool.put(Numbered { blocks: BLOCKS_MAX, number });
            pool.put(Numbered { blocks: BLOCKS_MAX + 1, number });
        }
        assert_eq!(pool.free_bytes.load(Ordering::Relaxed), FREE_BYTES_MAX);
    }
}
