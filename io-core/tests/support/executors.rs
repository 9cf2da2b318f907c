//! Tasks and threads under any executor share readers and writers of concrete type. Their futures are `Send`.

use crate::common::{
    Backend, Reader, Writer, bytes_at, directory, file_of, ignore, options, read_and_check, requests,
};
use io_core::{
    FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use std::path::Path;
use std::sync::Arc;

const TASKS: u64 = 8;
const REQUESTS: u64 = 512;
/// Some pages begin and end within one of the system's pages.
const PAGE: usize = 3000;
const PAGES: u64 = 16;
const ROUNDS: u64 = 4;
const WRITTEN: usize = (ROUNDS * PAGES * TASKS) as usize * PAGE;

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Reads overlapping batches. Several tasks do so at once, with more reads than fit into the depth.
async fn read_batches(reader: Arc<Reader>, task: u64) {
    for batch in 0..10 {
        let first = (task * 37 + batch * 11) % (REQUESTS - 100);
        read_and_check(&reader, &requests(first..first + 100)).await;
    }
}

async fn reader_in(directory: &Path) -> Arc<Reader> {
    let path = file_of(directory, REQUESTS as usize);
    Arc::new(Backend::default().open(&path, &options()).await.expect("opens"))
}

async fn writer_to(path: &Path) -> Arc<Writer> {
    Arc::new(Backend::default().create(path, &OpenOptions::default()).await.expect("creates"))
}

/// Page `task` of each group of [`TASKS`] pages is this task's.
async fn write_batches(writer: Arc<Writer>, task: u64) {
    for round in 0..ROUNDS {
        let offsets = (0..PAGES).map(|page| ((round * PAGES + page) * TASKS + task) * PAGE as u64);
        let pages: Vec<_> = offsets.map(|offset| (offset, bytes_at(offset, PAGE))).collect();
        let writes: Vec<_> =
            pages.iter().map(|(offset, bytes)| PageWrite { offset: *offset, bytes }).collect();
        let outcome = writer.write_pages(&writes).await.expect("writes");
        assert_eq!(outcome.bytes_written, PAGES * PAGE as u64);
        writer.sync(SyncKind::Data).await.expect("syncs");
    }
}

#[test]
fn every_future_is_send_before_it_is_polled() {
    let (directory, backend) = (directory(), Backend::default());
    let path = file_of(directory.path(), 4);
    pollster::block_on(assert_send(async {
        let reader = assert_send(backend.open(&path, &options())).await.expect("opens");
        let (control, requests) = (ReadControl::default(), [ReadRequest::new(0, 10)]);
        let read = reader.read_vectors(&requests, &control, ignore);
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

/// Waits for all tasks of tokio.
async fn join(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("reads and writes right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_tokio_share_a_reader() {
    let directory = directory();
    let reader = reader_in(directory.path()).await;
    join((0..TASKS).map(|task| tokio::spawn(read_batches(Arc::clone(&reader), task))).collect()).await;
    assert_eq!(reader.gate().operations_in_flight(), 0);
    reader.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_tokio_share_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    let writer = writer_to(&path).await;
    join((0..TASKS).map(|task| tokio::spawn(write_batches(Arc::clone(&writer), task))).collect()).await;
    writer.close().await.expect("closes");
    assert!(std::fs::read(&path).expect("is there") == bytes_at(0, WRITTEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_tokio_share_a_reader_and_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    let (reader, writer) = (reader_in(directory.path()).await, writer_to(&path).await);
    let reads = (0..TASKS).map(|task| tokio::spawn(read_batches(Arc::clone(&reader), task)));
    let writes = (0..TASKS).map(|task| tokio::spawn(write_batches(Arc::clone(&writer), task)));
    join(reads.chain(writes).collect()).await;
    assert_eq!(reader.gate().operations_in_flight(), 0);
    reader.close().await.expect("closes");
    writer.close().await.expect("closes");
    assert!(std::fs::read(&path).expect("is there") == bytes_at(0, WRITTEN));
}

#[test]
fn tasks_of_smol_share_a_reader_and_a_writer() {
    let directory = directory();
    let path = directory.path().join("written");
    smol::block_on(async {
        let (reader, writer) = (reader_in(directory.path()).await, writer_to(&path).await);
        let reads = (0..TASKS).map(|task| smol::spawn(read_batches(Arc::clone(&reader), task)));
        let writes = (0..TASKS).map(|task| smol::spawn(write_batches(Arc::clone(&writer), task)));
        for task in reads.chain(writes).collect::<Vec<_>>() {
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
    let reader = pollster::block_on(reader_in(directory.path()));
    let writer = pollster::block_on(writer_to(&path));
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
