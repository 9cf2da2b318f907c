//! Tasks and threads under any executor share readers and writers of concrete type. Their futures are `Send`.
#![cfg(target_os = "linux")]

mod common;

use common::{Reader, Writer, bytes_at, directory, file_of, options, read_and_check, requests};
use io_core::{
    FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use io_ring::RingBackend;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const TASKS: u64 = 8;
const REQUESTS: u64 = 512;

/// Reads overlapping batches. Several tasks do so at once, with more reads than fit into the depth.
async fn read_batches(reader: Arc<Reader>, task: u64) {
    for batch in 0..10 {
        let first = (task * 37 + batch * 11) % (REQUESTS - 100);
        read_and_check(&reader, &requests(first..first + 100)).await;
    }
}

async fn open(path: &Path) -> Arc<Reader> {
    Arc::new(RingBackend::default().open(path, &options()).await.expect("opens"))
}

/// Pages of 3000 bytes: page `task` of each group of [`TASKS`] is this task's.
async fn write_batches(writer: Arc<Writer>, task: u64) {
    for batch in 0..4 {
        let offsets = (0..16).map(|page| ((batch * 16 + page) * TASKS + task) * 3000);
        let pages: Vec<_> = offsets.map(|offset| (offset, bytes_at(offset, 3000))).collect();
        let writes: Vec<_> =
            pages.iter().map(|(offset, bytes)| PageWrite { offset: *offset, bytes }).collect();
        let outcome = writer.write_pages(&writes).await.expect("writes");
        assert_eq!(outcome.bytes_written, 16 * 3000);
        writer.sync(SyncKind::Data).await.expect("syncs");
    }
}

const WRITTEN: usize = 4 * 16 * TASKS as usize * 3000;

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn every_future_is_send_before_it_is_polled() {
    let (directory, backend) = (directory(), RingBackend::default());
    let path = file_of(directory.path(), 4);
    pollster::block_on(assert_send(async {
        let reader = assert_send(backend.open(&path, &options())).await.expect("opens");
        let (control, requests) = (ReadControl::default(), [ReadRequest::new(0, 10)]);
        let read = reader.read_vectors(&requests, &control, |_, _| ControlFlow::Continue(()));
        assert_eq!(assert_send(read).await.expect("reads").delivered, 1);
        assert_send(reader.close()).await.expect("closes");

        let path = directory.path().join("written");
        let writer = assert_send(backend.create(&path, &OpenOptions::default())).await.expect("creates");
        let writes = [PageWrite { offset: 0, bytes: &[1; 10] }];
        assert_send(writer.write_pages(&writes)).await.expect("writes");
        assert_send(writer.sync(SyncKind::All)).await.expect("syncs");
        assert_send(writer.set_len(5)).await.expect("cuts");
        assert_send(writer.close()).await.expect("closes");
        assert_eq!(std::fs::read(&path).expect("is there"), [1; 5]);
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_tokio_share_a_reader() {
    let directory = directory();
    let reader = open(&file_of(directory.path(), REQUESTS as usize)).await;
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(read_batches(Arc::clone(&reader), task))).collect();
    for task in tasks {
        task.await.expect("reads right");
    }
    assert_eq!(reader.gate().operations_in_flight(), 0);
    reader.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_tokio_share_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    let writer = RingBackend::default().create(&path, &OpenOptions::default()).await.expect("creates");
    let writer = Arc::new(writer);
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(write_batches(Arc::clone(&writer), task))).collect();
    for task in tasks {
        task.await.expect("writes right");
    }
    writer.close().await.expect("closes");
    assert!(std::fs::read(&path).expect("is there") == bytes_at(0, WRITTEN));
}

#[test]
fn tasks_of_smol_share_a_reader_and_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    smol::block_on(async {
        let reader = open(&file_of(directory.path(), REQUESTS as usize)).await;
        let writer = RingBackend::default().create(&path, &OpenOptions::default()).await.expect("creates");
        let writer = Arc::new(writer);
        let reads: Vec<_> =
            (0..TASKS).map(|task| smol::spawn(read_batches(Arc::clone(&reader), task))).collect();
        let writes: Vec<_> =
            (0..TASKS).map(|task| smol::spawn(write_batches(Arc::clone(&writer), task))).collect();
        for task in reads.into_iter().chain(writes) {
            task.await;
        }
        reader.close().await.expect("closes");
        writer.close().await.expect("closes");
    });
    assert!(std::fs::read(&path).expect("is there") == bytes_at(0, WRITTEN));
}

#[test]
fn threads_without_an_executor_share_a_reader_and_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    let reader = pollster::block_on(open(&file_of(directory.path(), REQUESTS as usize)));
    let writer = pollster::block_on(RingBackend::default().create(&path, &OpenOptions::default()));
    let writer = Arc::new(writer.expect("creates"));
    std::thread::scope(|scope| {
        for task in 0..TASKS {
            let (reader, writer) = (Arc::clone(&reader), Arc::clone(&writer));
            scope.spawn(move || pollster::block_on(read_batches(reader, task)));
            scope.spawn(move || pollster::block_on(write_batches(writer, task)));
        }
    });
    pollster::block_on(reader.close()).expect("closes");
    pollster::block_on(writer.close()).expect("closes");
    assert!(std::fs::read(&path).expect("is there") == bytes_at(0, WRITTEN));
}
