//! Bytes that callers keep after a read.

use crate::buffer::BLOCK_BYTES;
use bytes::Bytes;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the bytes of pages that callers keep, up to a maximum. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct KeptBytes {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

/// The right to keep one page. A backend gets it in [`PageSource::share`](crate::backend::PageSource::share).
#[derive(Debug)]
pub struct Kept {
    all: Arc<AtomicU64>,
    bytes: u64,
}

impl KeptBytes {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes: Arc::default(), bytes_max }
    }

    /// The right to keep a page of so many bytes, or `None` beyond the maximum. A page holds whole blocks of
    /// memory.
    pub(crate) fn keep(&self, bytes: u64) -> Option<Kept> {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES as u64);
        let kept = Kept { all: Arc::clone(&self.bytes), bytes };
        let before = self.bytes.fetch_add(bytes, Relaxed);
        (before + bytes <= self.bytes_max).then_some(kept)
    }
}

impl Kept {
    /// The page as bytes, without a copy. The page is dropped with their last owner, on any thread.
    pub fn over<P>(self, page: P) -> Bytes
    where
        P: Deref<Target = [u8]> + Send + 'static,
    {
        Bytes::from_owner(KeptPage { page, _kept: self })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

struct KeptPage<P> {
    page: P,
    _kept: Kept,
}

impl<P: Deref<Target = [u8]>> AsRef<[u8]> for KeptPage<P> {
    fn as_ref(&self) -> &[u8] {
        &self.page
    }
}
