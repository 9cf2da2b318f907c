//! The spans and events of maps, which are those of all readers.

#![cfg(target_os = "linux")]

use io_core::testing::{Captured, MemoryBackend};
use io_core::{BackendFactory, FileSession, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_mmap::{MmapBackend, MmapBefore};
use std::ops::ControlFlow;

/// What is captured while a batch of two requests is read, and a session of two.
fn captured<B: BackendFactory>(backend: &B) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 1 << 16]).unwrap();
    let captured = Captured::new();
    tracing::subscriber::with_default(captured.clone(), || {
        backend
            .run(|| async {
                let reader = backend.open(file.path(), &OpenOptions::default()).await.unwrap();
                let requests = [ReadRequest::new(0, 400), ReadRequest::new(50_000, 0)];
                let sink = |_, _: &[u8]| ControlFlow::Continue(());
                reader.read_vectors(&requests, &ReadControl::default(), sink).await.unwrap();
                let mut session = reader.session(ReadControl::default());
                session.submit(1, ReadRequest::new(0, 400));
                session.submit(2, ReadRequest::new(40_000, 100));
                while session.next().await.is_some() {}
            })
            .unwrap();
    });
    let path = file.path().display().to_string();
    captured
        .take()
        .into_iter()
        .map(|line| line.replace(&path, "F").replace("DEBUG io_core::read ", ""))
        .collect()
}

#[test]
fn a_map_has_the_spans_and_events_of_a_reader() {
    assert_eq!(
        captured(&MmapBackend::default()),
        [
            "batch file=F backend=mmap requests=2 bytes_wanted=400",
            "batch/batch_ended delivered=2 end=Complete reads=1 bytes_read=400 merged=0 duplicates=0",
            "session file=F backend=mmap",
            "session/session_ended delivered=2 bytes_wanted=500 reads=2 bytes_read=500 merged=0 duplicates=0",
        ]
    );
}

/// The first request of the session is known from the batch.
#[test]
fn the_other_reader_of_a_map_has_a_span_within_the_batch() {
    let mut lines = captured(&MmapBefore::new("both", MemoryBackend::new(1)));
    lines[4..].sort();
    assert_eq!(
        lines,
        [
            "batch file=F backend=both requests=2 bytes_wanted=400",
            "batch/batch file=F backend=memory requests=1 bytes_wanted=400",
            "batch/batch/batch_ended delivered=1 end=Complete reads=1 bytes_read=400 merged=0 duplicates=0",
            "batch/batch_ended delivered=2 end=Complete reads=1 bytes_read=400 merged=0 duplicates=0",
            "session file=F backend=both",
            "session file=F backend=memory",
            "session/session_ended delivered=1 bytes_wanted=100 reads=1 bytes_read=100 merged=0 duplicates=0",
            "session/session_ended delivered=1 bytes_wanted=400 reads=1 bytes_read=400 merged=0 duplicates=0",
        ]
    );
}
