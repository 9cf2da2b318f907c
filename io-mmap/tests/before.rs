//! A map before a backend that fails.
#![cfg(target_os = "linux")]

use io_core::testing::{Faults, FaultyBackend};
use io_core::{
    Executor, FileSystem, OpenError, OpenOptions, ReadControl, ReadError, ReadRequest, VectorReader,
};
use io_mmap::MmapBefore;
use io_tokio_uring::TokioUringBackend;
use std::ops::ControlFlow;

#[test]
fn an_error_tells_the_index_and_the_count_of_the_whole_batch() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = dir.path().join("file");
    std::fs::write(&path, [7; 8 * 4096]).expect("writes");
    // The first two reads succeed.
    let faults = Faults { io_error_at: Some(2), ..Faults::default() };
    let faulty = FaultyBackend::new(TokioUringBackend::default(), faults);
    let backend = MmapBefore::new("mmap+faults", faulty.clone());
    let options = OpenOptions::default().with_gap_max(0);
    let run = backend.run(|| async {
        let reader = backend.open(&path, &options).await.expect("opens");
        let page = |page: u64| ReadRequest::new(page * 4096, 10);
        let read = async |requests: &[ReadRequest]| {
            reader.read_vectors(requests, &ReadControl::default(), |_, _| ControlFlow::Continue(())).await
        };
        read(&[page(1), page(3)]).await.expect("reads");
        let error = read(&[page(1), page(2), page(3), page(1)]).await.expect_err("a fault");
        let ReadError::Io { index, offset, delivered, .. } = error else { panic!("{error}") };
        assert_eq!((index, offset, delivered), (1, 2 * 4096, 3));
        // A page whose read failed is not known.
        let transfers = faulty.log().transfers();
        assert_eq!(read(&[page(1), page(2)]).await.expect("reads").delivered, 2);
        assert_eq!(faulty.log().transfers(), transfers + 1);
    });
    run.expect("starts");
}

#[test]
fn past_the_page_cache_there_is_no_map() {
    let backend = MmapBefore::new("mmap+tokio-uring", TokioUringBackend::default());
    let program = std::env::current_exe().expect("a path");
    let run = backend.run(|| async { backend.open(&program, &OpenOptions::direct()).await.map(drop) });
    let refused = run.expect("starts").expect_err("no map");
    assert!(matches!(refused, OpenError::Unsupported { backend: "mmap+tokio-uring", .. }), "{refused}");
}
