//! Immutable structures: built once, with exactly the space they need, and read through the contract.

pub(crate) mod deleted;
pub(crate) mod fields;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod originals;
pub(crate) mod payload;
pub(crate) mod records;
pub(crate) mod search;
pub(crate) mod segment;

use crate::error::Error;
use io_core::{ReadOutcome, ReadStats};
use roaring::RoaringBitmap;
use vecstore_format::postings;

/// The cost of a batch that ran to its end; [`Error::Stopped`] of another one.
pub(crate) fn ended(outcome: ReadOutcome) -> Result<ReadStats, Error> {
    if outcome.stopped { Err(Error::Stopped) } else { Ok(outcome.stats) }
}

/// A set of points below `end`, from postings.
fn points_from_postings(bytes: &[u8], count: usize, end: u32) -> Option<RoaringBitmap> {
    let points = postings::Postings::parse(bytes, count).ok()?.to_bitmap().ok()?;
    points.max().is_none_or(|max| max < end).then_some(points)
}

/// Records of any length that are in memory together are at most this many bytes, or a single one.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// Items in pieces that are not too long together.
pub(crate) fn chunks_by_bytes<T>(mut items: &[T], bytes: impl Fn(&T) -> u64) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut sum = 0u64;
        let fits = |item: &T| {
            sum = sum.saturating_add(bytes(item));
            sum <= CHUNK_BYTES_MAX
        };
        let count = items.iter().map(fits).take_while(|&fits| fits).count().max(1);
        let chunk;
        (chunk, items) = items.split_at_checked(count)?;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_as_long_as_they_may_be() {
        let max = CHUNK_BYTES_MAX;
        let sizes = [1, max - 1, 1, max + 1, u64::MAX, u64::MAX, 0, max, 1];
        let chunks: Vec<&[u64]> = chunks_by_bytes(&sizes, |&size| size).collect();
        let expected: [&[u64]; 7] =
            [&[1, max - 1], &[1], &[max + 1], &[u64::MAX], &[u64::MAX], &[0, max], &[1]];
        assert_eq!(chunks, expected);
        assert_eq!(chunks_by_bytes(&[], |&size: &u64| size).count(), 0);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use io_core::testing::MemoryBackend;
    use io_core::{BackendFactory, DynBackend, OpenOptions};
    use std::path::Path;
    use vecstore_format::RandomId;
    use vecstore_format::pages::{Pages, PagesKind, PagesWriter};

    /// Writes a file of pages in memory and reads it again.
    pub(crate) fn with_pages<T, W>(
        kind: PagesKind,
        write: impl AsyncFnOnce(PagesWriter) -> W,
        read: impl AsyncFnOnce(Pages) -> T,
    ) -> T {
        let backend = DynBackend::new(MemoryBackend::new(5));
        let (path, options) = (Path::new("test.pages"), OpenOptions::default());
        backend
            .run(|| async {
                let identity = RandomId::random().file(0);
                write(PagesWriter::new(backend.create(path, &options).await.unwrap(), kind, identity)).await;
                let reader = backend.open(path, &options).await.unwrap();
                read(Pages::open_any(reader, kind).await.unwrap()).await
            })
            .unwrap()
    }
}
