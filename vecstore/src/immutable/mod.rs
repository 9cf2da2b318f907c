//! Immutable structures: built once, with exactly the space they need, and read through the contract.

pub(crate) mod build;
pub(crate) mod deleted;
pub(crate) mod fields;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod offsets;
pub(crate) mod payload;
pub(crate) mod perfect_hash;
pub(crate) mod postings;
pub(crate) mod search;
pub(crate) mod segment;
pub(crate) mod table;

use roaring::RoaringBitmap;

/// A set of points below `end`, from postings.
fn points_from_postings(bytes: &[u8], count: usize, end: u32) -> Option<RoaringBitmap> {
    let points = postings::Postings::parse(bytes, count).ok()?.to_bitmap().ok()?;
    points.max().is_none_or(|max| max < end).then_some(points)
}

#[cfg(test)]
mod testing {
    use crate::pages::{Pages, PagesKind, PagesWriter};
    use io_core::testing::MemoryBackend;
    use io_core::{BackendFactory, DynBackend, OpenOptions};
    use std::path::Path;

    /// Writes a file of pages in memory and reads it again.
    pub(super) fn with_pages<T>(
        kind: PagesKind,
        write: impl AsyncFnOnce(PagesWriter),
        read: impl AsyncFnOnce(Pages) -> T,
    ) -> T {
        let backend = DynBackend::new(MemoryBackend::new(5));
        let (path, options) = (Path::new("test.pages"), OpenOptions::default());
        backend
            .run(|| async {
                write(PagesWriter::new(backend.create(path, &options).await.unwrap(), kind)).await;
                let reader = backend.open(path, &options).await.unwrap();
                read(Pages::open(reader, kind).await.unwrap()).await
            })
            .unwrap()
    }
}
