//! Announces reads to the kernel while that helps, and does nothing when it does not.
//!
//! ```text
//!          every page looked at was there
//!   Cold ---------------------------------> Warm
//!   looks at the pages of a chunk (mincore)  counts major faults, once a chunk
//!   and advises those not there (WILLNEED)
//!        <---------------------------------
//!          there were major faults
//! ```

use io_core::ReadRequest;
use memmap2::Mmap;

/// Requests that are checked and announced before the first of them is touched.
pub(crate) const CHUNK: usize = 256;

#[cfg(target_os = "linux")]
pub(crate) use linux::Advisor;

#[cfg(target_os = "linux")]
mod linux {
    use super::{CHUNK, Mmap, ReadRequest};
    use crate::map::{all_resident, major_faults};
    use memmap2::Advice;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

    /// Remembers whether the file was found in memory lately. Faults are those of one thread. A reader that
    /// moves to another thread looks at its pages once more than it had to.
    #[derive(Debug)]
    pub(crate) struct Advisor {
        warm: AtomicBool,
        page_bytes: usize,
        faults: AtomicI64,
    }

    impl Advisor {
        pub(crate) fn new() -> Self {
            let page_bytes = rustix::param::page_size();
            Self { warm: AtomicBool::new(false), page_bytes, faults: AtomicI64::new(0) }
        }

        /// Called before the requests of a chunk are touched.
        pub(crate) fn before(&self, map: &Mmap, chunk: &[ReadRequest]) {
            debug_assert!(chunk.len() <= CHUNK);
            if self.warm.load(Relaxed) {
                return;
            }
            // Announcing a single request gains nothing: its own fault is as fast.
            if chunk.len() < 2 {
                return;
            }
            let mut missing = false;
            for request in chunk.iter().filter(|request| request.len > 0) {
                let (offset, len) = (request.offset as usize, request.len as usize);
                let start = offset / self.page_bytes * self.page_bytes;
                let pages = (offset + len - start).div_ceil(self.page_bytes);
                if !all_resident(map, start, pages, self.page_bytes) {
                    missing = true;
                    // Advice may be refused. The read then waits for its own fault.
                    let _ = map.advise_range(Advice::WillNeed, start, offset + len - start);
                }
            }
            if !missing {
                self.warm.store(true, Relaxed);
                self.faults.store(major_faults(), Relaxed);
            }
        }

        /// Called when the requests of a chunk have been touched.
        pub(crate) fn after(&self) {
            if self.warm.load(Relaxed) {
                let faults = major_faults();
                self.warm.store(faults == self.faults.swap(faults, Relaxed), Relaxed);
            }
        }
    }
}

/// On other systems the kernel gets no advice.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Advisor;

#[cfg(not(target_os = "linux"))]
impl Advisor {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn before(&self, _map: &Mmap, _chunk: &[ReadRequest]) {}

    pub(crate) fn after(&self) {}
}
