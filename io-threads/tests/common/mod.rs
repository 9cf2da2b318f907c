//! Files with known bytes, and a pool of one thread, which is held.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use io_core::{
    BatchEnd, FileSystem, OpenOptions, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use io_threads::{ThreadsBackend, ThreadsOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) type Reader = <ThreadsBackend as FileSystem>::Reader;
pub(crate) type Writer = <ThreadsBackend as FileSystem>::Writer;

/// Each request is a read of its own.
const STRIDE: u64 = 8192;
pub(crate) const LEN: u32 = 4096;

/// Opens files past the page cache, so that each read needs a thread.
pub(crate) fn direct() -> OpenOptions {
    OpenOptions::direct().with_gap_max(0)
}

/// A pool besides the process's one.
pub(crate) fn pool(threads_max: usize) -> ThreadsBackend {
    ThreadsBackend::start(&ThreadsOptions::default().with_threads_max(threads_max)).expect("a thread starts")
}

/// The byte at `offset` of each file.
fn byte_at(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16)) as u8
}

pub(crate) fn bytes_at(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(byte_at).collect()
}

/// A directory for files of this test. It is removed at the end.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written to")
}

/// A file for `count` requests.
pub(crate) fn file_of(directory: &Path, count: usize) -> PathBuf {
    let path = directory.join("vectors");
    std::fs::write(&path, bytes_at(0, count * STRIDE as usize)).expect("is written");
    path
}

/// Requests `range`, last first.
pub(crate) fn requests(range: std::ops::Range<u64>) -> Vec<ReadRequest> {
    range.rev().map(|number| ReadRequest::new(number * STRIDE, LEN)).collect()
}

pub(crate) fn open(backend: &ThreadsBackend, path: &Path, options: &OpenOptions) -> Reader {
    pollster::block_on(backend.open(path, options)).expect("opens")
}

pub(crate) fn ignore(_: usize, _: &[u8]) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Reads a batch. Checks every byte, and that each request is delivered once.
pub(crate) async fn read_and_check(reader: &Reader, requests: &[ReadRequest]) {
    let mut seen = vec![0; requests.len()];
    let outcome = reader
        .read_vectors(requests, &ReadControl::default(), |index, bytes| {
            let ReadRequest { offset, len } = requests[index];
            assert_eq!(bytes, bytes_at(offset, len as usize), "request {index}");
            seen[index] += 1;
            ControlFlow::Continue(())
        })
        .await
        .expect("reads");
    assert_eq!((outcome.delivered, outcome.end), (requests.len(), BatchEnd::Complete));
    assert!(seen.iter().all(|&times| times == 1));
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Holds the only thread of a pool inside a waker until this is dropped. Operations that are handed in
/// meanwhile stay in flight.
pub(crate) struct Stalled {
    _release: Sender<()>,
    _woken: Pin<Box<dyn Future<Output = ()>>>,
}

struct BlockingWaker {
    entered: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Wake for BlockingWaker {
    fn wake(self: std::sync::Arc<Self>) {
        // Both calls fail only if the test has gone on without this waker.
        let _ = self.entered.send(());
        let _ = self.release.lock().expect("one waits").recv();
    }
}

impl Stalled {
    pub(crate) fn new(backend: &ThreadsBackend) -> Self {
        let directory = directory();
        let path = directory.path().join("stall");
        loop {
            let writer = pollster::block_on(backend.create(&path, &OpenOptions::default())).expect("creates");
            std::fs::remove_file(&path).expect("was created");
            let (entered, has_entered) = channel();
            let (release, released) = channel();
            let waker =
                Waker::from(std::sync::Arc::new(BlockingWaker { entered, release: Mutex::new(released) }));
            let mut woken: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                writer.sync(SyncKind::All).await.expect("syncs");
            });
            // A sync that ended at once woke nothing.
            if woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                drop(waker);
                has_entered.recv().expect("the thread wakes it");
                return Self { _release: release, _woken: woken };
            }
        }
    }
}

/// The number of threads of pools in this process.
#[cfg(target_os = "linux")]
pub(crate) fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    // A thread that has ended meanwhile has no entry.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "io-threads").count()
}
