//! Files of pages in memory, for tests.

use io_core::testing::MemoryBackend;
use io_core::{DynBackend, Executor, FileSystem, OpenOptions};
use std::path::Path;
use vecstore_format::pages::{Pages, PagesKind, PagesWriter};
use vecstore_format::{FileIdentity, RandomId};

/// Writes a file of pages in memory and reads it again.
pub(crate) fn with_pages<T, W>(
    kind: PagesKind,
    write: impl AsyncFnOnce(PagesWriter) -> W,
    read: impl AsyncFnOnce(Pages) -> T,
) -> T {
    with_identified_pages(kind, RandomId::random().file(0), write, read)
}

/// As [`with_pages`], with this identity.
pub(crate) fn with_identified_pages<T, W>(
    kind: PagesKind,
    identity: FileIdentity,
    write: impl AsyncFnOnce(PagesWriter) -> W,
    read: impl AsyncFnOnce(Pages) -> T,
) -> T {
    let backend = DynBackend::new(MemoryBackend::new(5));
    let (path, options) = (Path::new("test.pages"), OpenOptions::default());
    backend
        .run(|| async {
            write(PagesWriter::new(backend.create(path, &options).await.unwrap(), kind, identity)).await;
            let reader = backend.open(path, &options).await.unwrap();
            read(Pages::open_any(reader, kind).await.unwrap()).await
        })
        .unwrap()
}
