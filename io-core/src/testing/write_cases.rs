//! The promises that every writer keeps.

use super::Faults;
use super::battery::{Case, Subject, byte_at};
use crate::backend::{PageSink, PageSource, PagedReader, PagedWriter};
use crate::{
    BackendFactory, FileSystem, OpenError, PageWrite, PageWriter, PlanError, ReadControl, ReadRequest,
    SyncKind, VectorReader, WriteError,
};
use std::ops::ControlFlow;
use std::path::Path;

pub(super) fn write_cases<B: BackendFactory>() -> Vec<Case<B>> {
    vec![
        ("w1 pages in any order arrive, contiguous ones in one write", pages_in_any_order),
        ("w2 the length is set to the byte, and a second batch adds to the first", tail),
        ("w3 overlapping writes are refused before anything is written", overlap),
        ("w3 misaligned direct writes are refused before anything is written", misaligned),
        ("w4 an existing file is not overwritten", existing),
        ("w5 after close, writes fail", closed),
        ("w9 an existing file is opened for writing, and keeps its other bytes", reopened),
        ("w9 a file that is missing is not created", missing),
    ]
}

pub(super) fn write_fault_cases<B, S, K>() -> Vec<Case<B>>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    vec![
        ("w6 partial and interrupted writes are carried on", partial_writes),
        ("w7 a full disk is an error that says where", disk_full),
        ("w8 writes never exceed the depth and the byte budget", within_limits),
    ]
}

const PAGE: u64 = 4096;

/// The bytes of `pages` pages of the pattern from page `first` on.
fn pages(first: u64, pages: u64) -> Vec<u8> {
    (first * PAGE..(first + pages) * PAGE).map(byte_at).collect()
}

/// Reads a file back through the backend and fails unless it holds `expected`.
async fn check_file<B: BackendFactory>(subject: &Subject<B>, path: &Path, expected: &[u8]) {
    let reader = subject.backend.open(path, &subject.options).await.expect("opens");
    assert_eq!(reader.file().len, expected.len() as u64);
    let mut found = Vec::new();
    reader
        .read_vectors(&[ReadRequest::new(0, expected.len() as u32)], &ReadControl::default(), |_, bytes| {
            found.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .await
        .expect("reads");
    assert!(found == expected, "the file differs from what was written");
    reader.close().await.expect("closes");
}

fn reopened<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        let writer = subject.backend.create(&path, &subject.options).await.expect("creates");
        let mut expected = pages(0, 4);
        writer.write_pages(&[PageWrite { offset: 0, bytes: &expected }]).await.expect("writes");
        writer.close().await.expect("closes");
        let writer = subject.backend.open_for_writing(&path, &subject.options).await.expect("opens");
        assert_eq!(writer.file().len, 4 * PAGE);
        let other = pages(100, 1);
        for page in [1, 4] {
            writer.write_pages(&[PageWrite { offset: page * PAGE, bytes: &other }]).await.expect("writes");
        }
        writer.sync(SyncKind::All).await.expect("syncs");
        writer.close().await.expect("closes");
        expected[PAGE as usize..2 * PAGE as usize].copy_from_slice(&other);
        expected.extend_from_slice(&other);
        check_file(subject, &path, &expected).await;
    });
}

fn missing<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        for _ in 0..2 {
            let refused = subject.backend.open_for_writing(&path, &subject.options).await.map(drop);
            let refused = refused.expect_err("there is no such file");
            let OpenError::Io { path: named, source } = refused else { panic!("{refused:?}") };
            assert_eq!((named, source.kind()), (path.clone(), std::io::ErrorKind::NotFound));
        }
    });
}

fn pages_in_any_order<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        let writer = subject.backend.create(&path, &subject.options).await.expect("creates");
        let all = pages(0, 64);
        let mut order: Vec<u64> = (0..64).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut order);
        let batch: Vec<_> = order
            .iter()
            .map(|&page| PageWrite {
                offset: page * PAGE,
                bytes: &all[(page * PAGE) as usize..][..PAGE as usize],
            })
            .chain([PageWrite { offset: 0, bytes: &[] }])
            .collect();
        let outcome = writer.write_pages(&batch).await.expect("writes");
        assert_eq!(outcome.bytes_written, 64 * PAGE);
        let fewest = (64 * PAGE).div_ceil(u64::from(writer.info().geometry.read_size_max));
        assert_eq!(outcome.writes, fewest, "contiguous pages were not merged");
        writer.sync(SyncKind::Data).await.expect("syncs");
        writer.close().await.expect("closes");
        check_file(subject, &path, &all).await;
    });
}

fn tail<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        let writer = subject.backend.create(&path, &subject.options).await.expect("creates");
        let all = pages(0, 5);
        let (head, rest) = all.split_at(2 * PAGE as usize);
        // The far pages come first. So the file has a hole until the second batch.
        writer.write_pages(&[PageWrite { offset: 2 * PAGE, bytes: rest }]).await.expect("writes");
        writer.write_pages(&[PageWrite { offset: 0, bytes: head }]).await.expect("writes");
        writer.write_pages(&[]).await.expect("an empty batch");
        let len = 4 * PAGE + 123;
        writer.set_len(len).await.expect("cuts");
        writer.sync(SyncKind::All).await.expect("syncs");
        writer.close().await.expect("closes");
        check_file(subject, &path, &all[..len as usize]).await;
    });
}

fn overlap<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        let writer = subject.backend.create(&path, &subject.options).await.expect("creates");
        let bytes = pages(0, 2);
        let batch = [
            PageWrite { offset: 8 * PAGE, bytes: &bytes },
            PageWrite { offset: 0, bytes: &bytes },
            PageWrite { offset: PAGE, bytes: &bytes },
        ];
        let error = writer.write_pages(&batch).await.expect_err("they overlap");
        let WriteError::Plan { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source, PlanError::Overlap { first: 1, second: 2, offset: PAGE });
        writer.close().await.expect("closes");
        check_file(subject, &path, &[]).await;
    });
}

fn misaligned<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let path = subject.new_path();
        let writer = subject.backend.create(&path, &subject.options).await.expect("creates");
        let written = writer.write_pages(&[PageWrite { offset: 0, bytes: &pages(0, 1)[..100] }]).await;
        if subject.options.direct {
            let error = written.expect_err("100 bytes past the page cache");
            assert!(
                matches!(error, WriteError::Plan { source: PlanError::Misaligned { .. }, .. }),
                "{error:?}"
            );
        } else {
            written.expect("buffered files take any length");
        }
        writer.close().await.expect("closes");
    });
}

fn existing<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let created = subject.backend.create(&subject.file(), &subject.options).await.map(drop);
        let Err(OpenError::Io { source, .. }) = created else { panic!("{created:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AlreadyExists);
    });
}

fn closed<B: BackendFactory>(subject: &Subject<B>) {
    subject.run(|| async {
        let writer = subject.backend.create(&subject.new_path(), &subject.options).await.expect("creates");
        writer.close().await.expect("closes");
        writer.close().await.expect("closes again");
        let written = writer.write_pages(&[PageWrite { offset: 0, bytes: &pages(0, 1) }]).await;
        assert!(matches!(written, Err(WriteError::Closed { .. })), "{written:?}");
        let synced = writer.sync(SyncKind::Data).await;
        assert!(matches!(synced, Err(WriteError::Closed { .. })), "{synced:?}");
    });
}

fn partial_writes<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    for seed in 0..4 {
        let faults = Faults { seed, short: 0.5, interrupted: 0.2, delay: 0.3, ..Faults::default() };
        let faulty = subject.faulty(faults);
        let path = subject.new_path();
        let all = pages(0, 200);
        faulty.run(|| async {
            let writer = faulty.backend.create(&path, &faulty.options).await.expect("creates");
            let batch = [PageWrite { offset: 0, bytes: &all }];
            let outcome = writer.write_pages(&batch).await.expect("partial writes are no error");
            assert_eq!(outcome.bytes_written, all.len() as u64);
            writer.sync(SyncKind::Data).await.expect("syncs");
            writer.close().await.expect("closes");
        });
        assert!(faulty.backend.log().faults() > 0, "the case injected nothing");
        subject.run(|| check_file(subject, &path, &all));
    }
}

fn disk_full<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let faulty = subject.faulty(Faults { no_space_from: Some(3), ..Faults::default() });
    faulty.run(|| async {
        let path = subject.new_path();
        let writer = faulty.backend.create(&path, &faulty.options).await.expect("creates");
        let all = pages(0, 1024);
        let error = writer.write_pages(&[PageWrite { offset: 0, bytes: &all }]).await.expect_err("no space");
        let WriteError::Io { offset, source, ref file, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(28));
        assert_eq!(offset, 3 * u64::from(writer.info().geometry.read_size_max));
        assert_eq!(&**file, &*path);
        writer.close().await.expect("closes");
    });
    assert_eq!(faulty.backend.log().in_flight(), 0);
}

fn within_limits<B, S, K>(subject: &Subject<B>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let mut subject = subject.clone();
    subject.options.queue_depth = 3;
    subject.options.read_size_max = 8192;
    subject.options.bytes_in_flight_max = 20_000;
    let faulty = subject.faulty(Faults { seed: 9, delay: 1.0, ..Faults::default() });
    let path = subject.new_path();
    let all = pages(0, 40);
    faulty.run(|| async {
        let writer = faulty.backend.create(&path, &faulty.options).await.expect("creates");
        writer.write_pages(&[PageWrite { offset: 0, bytes: &all }]).await.expect("writes");
        writer.close().await.expect("closes");
    });
    let log = faulty.backend.log();
    assert_eq!((log.in_flight_max(), log.bytes_in_flight_max()), (2, 16_384));
    subject.run(|| check_file(&subject, &path, &all));
}
