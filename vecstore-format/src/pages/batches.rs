//! Requests for many pages, in batches.
//!
//! A header may claim far more pages than the file holds. Memory is therefore taken for one batch at a time,
//! until its pages prove sound.

use super::PAGE;
use io_core::ReadRequest;

/// Pages of one request when a whole section is read.
pub(super) const CHUNK_PAGES: u64 = 64;
/// Requests of a batch when a whole section is read.
const CHUNKS: usize = 64;

/// Requests for the pages from `first` to `end`, in batches. Each batch comes with its first page.
pub(super) fn batches(first: u64, end: u64) -> impl Iterator<Item = (u64, Vec<ReadRequest>)> {
    (first..end).step_by(CHUNK_PAGES as usize * CHUNKS).map(move |start| {
        let chunks = (start..end).step_by(CHUNK_PAGES as usize).take(CHUNKS);
        let request = |page: u64| {
            ReadRequest::new(page * PAGE as u64, ((end - page).min(CHUNK_PAGES) * PAGE as u64) as u32)
        };
        (start, chunks.map(request).collect())
    })
}

pub(super) fn batch_pages(requests: &[ReadRequest]) -> usize {
    requests.iter().map(|request| request.len as usize / PAGE).sum()
}
