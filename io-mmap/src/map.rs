//! The map itself. The only `unsafe` of this crate is here: mapping a file, and asking the kernel about pages
//! and faults.

#![allow(unsafe_code)]

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

/// A map that lives as long as any of the bytes that were taken from it.
#[derive(Clone, Debug)]
pub(crate) struct SharedMap(Arc<Mmap>);

impl SharedMap {
    pub(crate) fn new(map: Mmap) -> Self {
        Self(Arc::new(map))
    }

    /// All bytes of the map. Slices of them are made without a copy, and keep the map alive.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }
}

impl Deref for SharedMap {
    type Target = Mmap;

    fn deref(&self) -> &Mmap {
        &self.0
    }
}

impl AsRef<[u8]> for SharedMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps `len` bytes of `file`. `len` must not be 0. Brings in all pages if `populate`.
pub(crate) fn map(file: &File, len: usize, populate: bool) -> io::Result<Mmap> {
    let mut options = MmapOptions::new();
    options.len(len);
    if populate {
        options.populate();
    }
    // SAFETY: the map is read-only and no longer than the file. A change of the file under it changes bytes
    // that we only copy or hand out as plain bytes. A truncation kills this process, as the crate's
    // documentation says.
    unsafe { options.map(file) }
}

/// Whether `pages` pages from `offset` on are in memory. Looks at 64 pages at most. `offset` is a multiple of
/// the page size.
#[cfg(target_os = "linux")]
pub(crate) fn all_resident(map: &Mmap, offset: usize, pages: usize, page_bytes: usize) -> bool {
    const PAGES_MAX: usize = 64;
    let mut states = [0u8; PAGES_MAX];
    let pages = pages.min(PAGES_MAX);
    let end = offset.saturating_add((pages - 1) * page_bytes);
    assert!(end < map.len(), "pages of the map only");
    let start = map[offset..].as_ptr();
    // SAFETY: the pages lie in the map, and `states` has a byte for each. The kernel only writes to `states`.
    let result = unsafe { libc::mincore(start.cast_mut().cast(), pages * page_bytes, states.as_mut_ptr()) };
    // If the system does not answer, the pages count as resident. The advice that this saves is optional.
    result != 0 || states[..pages].iter().all(|state| state & 1 == 1)
}

/// Major faults of this thread: how often touching a page waited for the disk.
#[cfg(target_os = "linux")]
pub(crate) fn major_faults() -> i64 {
    // SAFETY: an all-zero `rusage` is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for writes, and nothing else is touched.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    if result == 0 { usage.ru_majflt } else { 0 }
}
