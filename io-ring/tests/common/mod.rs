//! Files with known bytes, and a ring whose thread is held.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use io_core::{
    BatchEnd, FileSystem, OpenOptions, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader,
};
use io_ring::{RingBackend, RingOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) type Reader = <RingBackend as FileSystem>::Reader;
pub(crate) type Writer = <RingBackend as FileSystem>::Writer;

/// Bytes of each request of [`requests`]. The gaps between them are larger, so each is a physical read of its
/// own.
pub(crate) const LEN: u32 = 400;
const STRIDE: u64 = 8192;

/// Opens files so that each request is a read of its own.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::default().with_gap_max(0)
}

/// A ring besides the process's one.
pub(crate) fn ring() -> RingBackend {
    RingBackend::start(&RingOptions::default()).expect("this system has io_uring")
}

/// The byte at `offset` of each file.
pub(crate) fn byte_at(offset: u64) -> u8 {
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
    range.rev().map(|number| ReadRequest::new(number * STRIDE + number % 100, LEN)).collect()
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

/// Counts wakes.
#[derive(Default)]
pub(crate) struct Wakes(pub(crate) AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Holds a ring's thread inside a waker until this is dropped. Operations that are handed in meanwhile stay
/// in flight.
pub(crate) struct Stalled {
    _release: Sender<()>,
    _woken: Pin<Box<dyn Future<Output = ()>>>,
}

struct BlockingWaker {
    entered: Sender<()>,
    release: Mutex<Receiver<()>>,
}

impl Wake for BlockingWaker {
    fn wake(self: Arc<Self>) {
        // Both calls fail only if the test has gone on without this waker.
        let _ = self.entered.send(());
        let _ = self.release.lock().expect("one waits").recv();
    }
}

impl Stalled {
    pub(crate) fn new(backend: &RingBackend) -> Self {
        let directory = directory();
        let path = directory.path().join("stall");
        loop {
            let writer = pollster::block_on(backend.create(&path, &OpenOptions::default())).expect("creates");
            std::fs::remove_file(&path).expect("was created");
            let (entered, has_entered) = channel();
            let (release, released) = channel();
            let waker = Waker::from(Arc::new(BlockingWaker { entered, release: Mutex::new(released) }));
            let mut woken: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                writer.sync(SyncKind::All).await.expect("syncs");
            });
            // A sync that ended at once woke nothing.
            if woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                drop(waker);
                has_entered.recv().expect("the ring wakes it");
                return Self { _release: release, _woken: woken };
            }
        }
    }
}

/// The ids of the threads of this process with this name.
pub(crate) fn threads_named(name: &str) -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    let tasks = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        // A thread that has ended meanwhile has no entry.
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim_end() == name).then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
    });
    tasks.collect()
}
