//! Requests for many pages, in batches.
//!
//! What a header says is there may be far more than the file really holds. Memory is taken for no more than a
//! batch, until its pages have proved to be sound.

use super::PAGE;
use io_core::ReadRequest;

/// Pages read by one request when a whole section is read.
pub(super) const CHUNK_PAGES: u64 = 64;
/// Requests of a batch then.
const CHUNKS: usize = 64;

/// Requests for the pages from one to another, in batches, each with its first page.
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
