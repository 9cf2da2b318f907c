//! Pooled, aligned buffers that go to the kernel and come back. None is freed while the kernel may use it.
//!
//! ```text
//!        page          into_kernel            hand over           completed          drop
//!  pool -------> Page -------------> KernelBuf ---------> runtime ----------> Page ------> pool
//!                                                            |
//!                                                            '-- dropped without a completion: leaked
//! ```

use aligned_vec::{AVec, ConstAlign};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers have addresses and lengths that are multiples of this many bytes. That suits any `O_DIRECT`
/// device.
pub const BLOCK_BYTES: usize = 4096;

/// The memory of one buffer, zeroed when made. Its address and length are multiples of [`BLOCK_BYTES`].
pub(crate) type Block = AVec<u8, ConstAlign<BLOCK_BYTES>>;

pub(crate) fn new_block(len: usize) -> Block {
    let capacity = len.next_multiple_of(BLOCK_BYTES);
    let mut block = AVec::with_capacity(BLOCK_BYTES, capacity);
    block.resize(capacity, 0);
    block
}

/// Keeps unused buffers. The gate of a reader bounds the buffers in use; the pool bounds the unused ones.
///
/// Clones share the pool, also across threads, since a page may be dropped on any thread.
#[derive(Clone, Debug)]
pub struct BufferPool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    free_bytes_max: usize,
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    /// Unused buffers by their length in blocks.
    free: Vec<Vec<Block>>,
    free_bytes: usize,
    made: u64,
    leaked: u64,
}

impl BufferPool {
    /// A pool that keeps up to `free_bytes_max` bytes of unused buffers.
    #[must_use]
    pub fn new(free_bytes_max: usize) -> Self {
        Self(Arc::new(PoolState { free_bytes_max, buffers: Mutex::default() }))
    }

    /// A buffer of exactly `len` bytes, for the kernel to read into.
    #[must_use]
    pub fn take(&self, len: usize) -> KernelBuf {
        self.page(len).into_kernel()
    }

    /// A buffer of exactly `len` bytes, for the caller to fill. Its content is unspecified.
    #[must_use]
    pub fn page(&self, len: usize) -> Page {
        let blocks = len.div_ceil(BLOCK_BYTES);
        let mut buffers = self.0.buffers();
        let block = match buffers.free.get_mut(blocks).and_then(Vec::pop) {
            Some(block) => {
                buffers.free_bytes -= block.len();
                drop(buffers);
                block
            }
            None => {
                buffers.made += 1;
                drop(buffers);
                new_block(len)
            }
        };
        Page { block, len, pool: Arc::clone(&self.0) }
    }
}

impl PoolState {
    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        // Nothing panics while the lock is held.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, block: Block) {
        // `into_kernel` leaves an empty block behind. The pool does not keep it.
        if block.is_empty() {
            return;
        }
        let (bytes, blocks) = (block.len(), block.len() / BLOCK_BYTES);
        let mut buffers = self.buffers();
        if buffers.free_bytes + bytes > self.free_bytes_max {
            // The lock goes before the memory is freed.
            drop(buffers);
            return;
        }
        buffers.free_bytes += bytes;
        if buffers.free.len() <= blocks {
            buffers.free.resize_with(blocks + 1, Vec::new);
        }
        buffers.free[blocks].push(block);
    }
}

/// A buffer on its way to the kernel and back.
///
/// [`KernelBuf::completed`] takes the buffer back when the operation has completed. A runtime that is torn
/// down may drop the buffer earlier. The memory is then leaked on purpose, since the kernel may still write
/// to it.
#[derive(Debug)]
pub struct KernelBuf {
    block: ManuallyDrop<Block>,
    len: usize,
    pool: Arc<PoolState>,
}

impl KernelBuf {
    /// Bytes the kernel may read or write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to transfer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Start of the buffer. It does not move until [`KernelBuf::completed`].
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.block.as_ptr()
    }

    /// Start of the buffer, to write to.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.block.as_mut_ptr()
    }

    /// Takes the buffer back from the kernel. The operation has completed and transferred `bytes`.
    #[must_use]
    pub fn completed(mut self, bytes: usize) -> Page {
        let block = std::mem::replace(&mut self.block, ManuallyDrop::new(AVec::new(BLOCK_BYTES)));
        let page = Page {
            block: ManuallyDrop::into_inner(block),
            len: bytes.min(self.len),
            pool: Arc::clone(&self.pool),
        };
        self.len = 0;
        page
    }
}

impl Drop for KernelBuf {
    fn drop(&mut self) {
        // `block` is not dropped. Either `completed` left it empty, or the kernel may still use it.
        if !self.block.is_empty() {
            self.pool.buffers().leaked += 1;
        }
    }
}

/// Bytes that were read or will be written. Dropping it returns the buffer to its pool.
#[derive(Debug)]
pub struct Page {
    block: Block,
    len: usize,
    pool: Arc<PoolState>,
}

impl Page {
    /// Turns the page into a buffer for the kernel.
    #[must_use]
    pub(crate) fn into_kernel(mut self) -> KernelBuf {
        let block = std::mem::replace(&mut self.block, AVec::new(BLOCK_BYTES));
        KernelBuf { block: ManuallyDrop::new(block), len: self.len, pool: Arc::clone(&self.pool) }
    }
}

impl Deref for Page {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block[..self.len]
    }
}

impl DerefMut for Page {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.block[..self.len]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pool.put(std::mem::replace(&mut self.block, AVec::new(BLOCK_BYTES)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_reused() {
        let pool = BufferPool::new(1 << 20);
        for len in [1, 400, 4096, 4097, 3072] {
            let buffer = pool.take(len);
            assert_eq!(buffer.as_ptr() as usize % BLOCK_BYTES, 0);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.completed(len).len(), len);
        }
        assert_eq!(pool.0.buffers().made, 2, "one of one block and one of two");
        assert_eq!(pool.0.buffers().leaked, 0);
    }

    #[test]
    fn a_short_completion_shows_only_what_was_read() {
        let pool = BufferPool::new(1 << 20);
        let mut page = pool.page(8);
        page.copy_from_slice(b"abcdefgh");
        assert_eq!(&*page.into_kernel().completed(3), b"abc");
    }

    #[test]
    fn unused_buffers_stay_within_the_bound() {
        let pool = BufferPool::new(2 * BLOCK_BYTES);
        let pages: Vec<_> = (0..5).map(|_| pool.take(10).completed(10)).collect();
        drop(pages);
        assert_eq!(pool.0.buffers().free_bytes, 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_buffer_without_a_completion_is_leaked_not_reused() {
        let pool = BufferPool::new(1 << 20);
        let lost = pool.take(10);
        let address = lost.as_ptr() as usize;
        drop(lost);
        assert_eq!(pool.0.buffers().leaked, 1);
        assert_ne!(pool.take(10).as_ptr() as usize, address);
    }
}
