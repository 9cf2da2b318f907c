//! The ring's table of registered buffers. The kernel keeps their pages pinned, so a direct operation saves
//! the lookup.
//!
//! A buffer gets a place at its operation's second use. It keeps the place until the operation is dropped. So
//! a place never leads to another buffer's pages.

#![allow(unsafe_code)]

use crate::operation::{OperationFile, Running};
use crate::place::FreePlaces;
use io_uring::IoUring;
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;

/// Maximum of buffers in the table.
const PLACES: u16 = 1024;

/// The table. Only the ring's thread changes it.
pub(crate) struct Table {
    free: Arc<FreePlaces>,
    /// Bytes pinned for each place. The kernel keeps a dropped buffer's pages until the place's next buffer
    /// comes.
    pinned: Vec<u64>,
    bytes: u64,
    bytes_max: u64,
}

impl Table {
    /// A table for `bytes_max` bytes, but at most a quarter of what the user may lock. The user's other rings
    /// need some too. `None` if the user may lock nothing, or on a kernel without such tables.
    pub(crate) fn new(ring: &IoUring, bytes_max: u64) -> Option<Self> {
        let limit = getrlimit(Resource::Memlock).current;
        let bytes_max = limit.map_or(bytes_max, |limit| bytes_max.min(limit / 4));
        if bytes_max == 0 {
            return None;
        }
        ring.submitter().register_buffers_sparse(u32::from(PLACES)).ok()?;
        Some(Self::with_room(PLACES, bytes_max))
    }

    pub(crate) fn with_room(count: u16, bytes_max: u64) -> Self {
        Self { free: FreePlaces::new(count), pinned: vec![0; usize::from(count)], bytes: 0, bytes_max }
    }

    /// The place of the operation's buffer. `None` if it has none and cannot get one.
    pub(crate) fn place<F: OperationFile>(
        &mut self,
        ring: &IoUring,
        operation: &mut Running<F>,
    ) -> Option<u16> {
        if let Some(place) = operation.place() {
            return Some(place.index());
        }
        if !operation.is_used_again() || self.bytes_max == 0 {
            return None;
        }
        let len = operation.buffer_len() as u64;
        let place = self.free.take()?;
        let index = place.index();
        let pinned = &mut self.pinned[usize::from(index)];
        let bytes = self.bytes - *pinned + len;
        if bytes > self.bytes_max {
            // The place goes to the end of the queue. Later takes reach dropped buffers' places, which frees
            // their bytes.
            return None;
        }
        let buffer = libc::iovec { iov_base: operation.buffer_ptr().cast(), iov_len: len as usize };
        // SAFETY: the memory belongs to the operation, and only that operation uses the place. After the
        // operation is dropped, the kernel keeps the pages, even if the memory is used again.
        let registered =
            unsafe { ring.submitter().register_buffers_update(u32::from(index), &[buffer], None) };
        if registered.is_err() {
            // The user may lock no more memory. No further buffer is registered.
            self.bytes_max = 0;
            return None;
        }
        (self.bytes, *pinned) = (bytes, len);
        operation.set_place(place);
        Some(index)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::operation::Idle;

    const BLOCK: usize = io_core::backend::BLOCK_BYTES;

    fn ring() -> IoUring {
        let ring = IoUring::new(4).expect("this system has io_uring");
        ring.submitter().register_buffers_sparse(4).expect("this kernel has tables of buffers");
        ring
    }

    /// A type for operations that have no file.
    struct NoFile;

    impl OperationFile for NoFile {
        fn take_back(&self, _idle: Idle<Self>) {
            unreachable!("no operation has it")
        }
    }

    /// An operation in flight, used before or not.
    fn running(blocks: usize, used: bool) -> Running<NoFile> {
        let (mut pending, running) = Idle::new(blocks).start(None);
        if !used {
            return running;
        }
        running.finish(0);
        match pending.poll(&std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(ended) => ended.idle.expect("it comes back").start(None).1,
            std::task::Poll::Pending => panic!("it has ended"),
        }
    }

    #[test]
    fn a_buffer_has_a_place_from_its_second_use_on_and_gives_it_back() {
        let (ring, mut table) = (ring(), Table::with_room(2, 1 << 20));
        assert_eq!(table.place(&ring, &mut running(1, false)), None);
        let (mut first, mut second, mut third) = (running(1, true), running(2, true), running(1, true));
        assert_eq!(table.place(&ring, &mut first), Some(0));
        assert_eq!(table.place(&ring, &mut second), Some(1));
        assert_eq!(table.place(&ring, &mut first), Some(0), "it keeps it");
        assert_eq!(table.place(&ring, &mut third), None, "there are two");
        drop(second);
        assert_eq!(table.place(&ring, &mut third), Some(1));
        assert_eq!(table.bytes, 2 * BLOCK as u64);
    }

    #[test]
    fn no_more_is_pinned_than_may_be() {
        let (ring, mut table) = (ring(), Table::with_room(4, 3 * BLOCK as u64));
        let (mut large, mut small, mut third) = (running(2, true), running(1, true), running(1, true));
        assert_eq!(table.place(&ring, &mut large), Some(0));
        assert_eq!(table.place(&ring, &mut small), Some(1));
        assert_eq!(table.place(&ring, &mut third), None);
        assert_eq!(table.bytes, 3 * BLOCK as u64);
        // The kernel keeps the pages of dropped buffers until their places are used again.
        drop((large, small));
        let places: Vec<_> = (0..3).filter_map(|_| table.place(&ring, &mut third)).collect();
        assert_eq!(places, [0], "after two that are empty, and would be one block too many");
        assert_eq!(table.bytes, 2 * BLOCK as u64);
    }

    #[test]
    fn a_kernel_that_refuses_is_not_asked_again() {
        // The ring has no table, so the kernel refuses.
        let (ring, mut table) =
            (IoUring::new(4).expect("this system has io_uring"), Table::with_room(4, 1 << 20));
        assert_eq!(table.place(&ring, &mut running(1, true)), None);
        assert_eq!((table.bytes, table.bytes_max), (0, 0));
        assert_eq!(
            std::iter::from_fn(|| table.free.take()).fuse().collect::<Vec<_>>().len(),
            4,
            "the place is free again"
        );
    }
}
