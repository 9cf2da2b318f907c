//! Tests of the backend on kernels of any age, with rings of any size.

use super::RingBackend;
use crate::file::RingSink;
use crate::options::RingOptions;
use crate::start::{start, start_with};
use io_core::backend::{PageSink, create_std};
use io_core::{
    Executor, FileSystem, Lane, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind,
    VectorReader,
};
use std::ops::ControlFlow;

#[test]
fn a_closed_file_is_a_bad_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let ring = start(&RingOptions::default()).expect("this system has io_uring");
    let sink = {
        let options = OpenOptions::default();
        RingSink::new(ring, create_std(&path, &options).expect("creates"), &path, &options).expect("opens")
    };
    let open_ones = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("there is /proc");
        let files = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        files.filter(|file| *file == path).count()
    };
    assert_eq!(open_ones(), 2);
    pollster::block_on(sink.close()).expect("closes");
    assert_eq!(open_ones(), 0);
    let refused = [
        pollster::block_on(sink.sync(SyncKind::All)),
        pollster::block_on(sink.set_len(1)),
        pollster::block_on(sink.close()),
    ];
    for refused in refused {
        assert_eq!(refused.expect_err("it is closed").raw_os_error(), Some(libc::EBADF));
    }
}

/// Writes a file, in either lane, and reads it.
fn writes_and_reads(backend: &RingBackend) {
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let run = backend.run(|| async {
        for lane in [Lane::Foreground, Lane::Background] {
            let options = OpenOptions::default().with_lane(lane).with_gap_max(0);
            let writer = backend.create(&path, &options).await.expect("creates");
            writer.write_pages(&[PageWrite { offset: 0, bytes: &bytes }]).await.expect("writes");
            writer.sync(SyncKind::All).await.expect("syncs");
            writer.close().await.expect("closes");
            let reader = backend.open(&path, &options).await.expect("opens");
            let requests: Vec<_> = (0..100).map(|at| ReadRequest::new(at * 1000, 900)).collect();
            let check = |index: usize, read: &[u8]| {
                assert_eq!(read, &bytes[index * 1000..index * 1000 + 900]);
                ControlFlow::Continue(())
            };
            let read = reader.read_vectors(&requests, &ReadControl::default(), check).await;
            assert_eq!(read.expect("reads").delivered, 100);
            reader.close().await.expect("closes");
            std::fs::remove_file(&path).expect("was created");
        }
    });
    run.expect("starts");
}

#[test]
fn a_kernel_with_less_does_as_well() {
    let newer = [&[][..], &["DEFER_TASKRUN"], &["DEFER_TASKRUN", "COOP_TASKRUN"]];
    for (setups_skipped, newer) in newer.into_iter().enumerate() {
        let ring = start_with(&RingOptions::default(), setups_skipped).expect("this system has io_uring");
        assert!(!ring.features().iter().any(|feature| newer.contains(feature)), "{:?}", ring.features());
        writes_and_reads(&RingBackend { own: Some(ring) });
    }
}

#[test]
fn a_ring_of_any_size_works() {
    for size in [0, 1, 5, u32::MAX] {
        let options =
            RingOptions::default().with_entries(size).with_in_flight_max(size).with_workers_max(size);
        writes_and_reads(&RingBackend::start(&options).expect("this system has io_uring"));
    }
}
