//! A process that is forked while reads are in flight. One test, alone in its process.
#![cfg(unix)]

mod common;

use common::{
    Stalled, bytes_at, direct, directory, file_of, ignore, open, poll_once, pool, read_and_check, requests,
};
use io_core::{
    Executor, FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, SyncKind, VectorReader,
    with_causes,
};
use io_threads::ThreadsBackend;
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

/// Whether the error is that of a file opened before the fork, and says what to do.
fn tells_of_fork<T>(result: Result<T, impl Error + 'static>) -> bool {
    let error = result.err().map(|error| with_causes(&error).to_string());
    error.is_some_and(|error| error.contains("before a fork") && error.contains("in this process"))
}

fn poll_to_be_told<T, E: Error + 'static>(future: Pin<&mut impl Future<Output = Result<T, E>>>) -> bool {
    match poll_once(future) {
        Poll::Ready(result) => tells_of_fork(result),
        Poll::Pending => false,
    }
}

/// Runs `child` in a forked process and returns its process id. The child's status is 0 if `child` returns
/// `Ok`.
fn in_child(child: impl FnOnce() -> Result<(), u8>) -> libc::pid_t {
    // SAFETY: the child uses only memory of its own, the system's allocator, which allows a fork, and the
    // code under test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid > 0 {
        return pid;
    }
    // SAFETY: ends a child that hangs.
    unsafe { libc::alarm(10) };
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
    let status = done.map_or(255, |done| done.err().unwrap_or(0));
    // SAFETY: the child ends here. Its destructors are the parent's to run.
    unsafe { libc::_exit(i32::from(status)) }
}

fn status(child: libc::pid_t) -> (bool, i32) {
    let mut status = 0;
    // SAFETY: waits for a child of this process. `status` outlives the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    (libc::WIFEXITED(status), libc::WEXITSTATUS(status))
}

#[test]
fn the_child_is_told_and_goes_on_with_new_files_and_the_parent_with_its_own() {
    let directory = directory();
    let path = file_of(directory.path(), 256);
    let (control, all, some) = (ReadControl::default(), requests(0..256), requests(100..104));
    let backend = pool(1);
    let reader = open(&backend, &path, &direct());
    let of_process = open(&ThreadsBackend::default(), &path, &direct());
    let idle_reader = open(&backend, &path, &OpenOptions::default());
    let written = directory.path().join("written");
    let writer = pollster::block_on(backend.create(&written, &OpenOptions::default())).expect("creates");
    let page = bytes_at(0, 4096);
    let writes = [PageWrite { offset: 0, bytes: &page }];

    let stalled = Stalled::new(&backend);
    // The reads of the dropped batch go on without it, and hold their permits.
    let mut dropped = Box::pin(reader.read_vectors(&some, &control, ignore));
    assert!(poll_once(dropped.as_mut()).is_pending());
    drop(dropped);
    // This batch fills the depth. The rest of it waits, and so does the next batch.
    let mut pending = Box::pin(reader.read_vectors(&all, &control, ignore));
    assert!(poll_once(pending.as_mut()).is_pending());
    let mut waiting = Box::pin(reader.read_vectors(&some, &control, ignore));
    assert!(poll_once(waiting.as_mut()).is_pending());
    let mut writing = Box::pin(writer.write_pages(&writes));
    assert!(poll_once(writing.as_mut()).is_pending());
    let mut syncing = Box::pin(writer.sync(SyncKind::All));
    assert!(poll_once(syncing.as_mut()).is_pending());
    assert_eq!(reader.gate().operations_in_flight(), 32);

    let child = in_child(|| {
        let is_told = |number, is_told: bool| if is_told { Ok(()) } else { Err(number) };
        // The batch that waits for permits comes first. Its permits never come.
        is_told(1, poll_to_be_told(waiting.as_mut()))?;
        is_told(2, poll_to_be_told(pending.as_mut()))?;
        is_told(3, poll_to_be_told(writing.as_mut()))?;
        is_told(4, poll_to_be_told(syncing.as_mut()))?;
        for (number, reader) in [(5, &reader), (6, &idle_reader), (7, &of_process)] {
            is_told(number, tells_of_fork(pollster::block_on(reader.read_vectors(&some, &control, ignore))))?;
        }
        is_told(8, tells_of_fork(pollster::block_on(reader.close())))?;
        is_told(9, tells_of_fork(pollster::block_on(idle_reader.close())))?;
        is_told(10, tells_of_fork(pollster::block_on(writer.write_pages(&writes))))?;
        is_told(11, tells_of_fork(pollster::block_on(writer.set_len(0))))?;
        is_told(12, tells_of_fork(pollster::block_on(writer.close())))?;
        is_told(13, tells_of_fork(pollster::block_on(backend.open(&path, &direct())).map(drop)))?;
        // The process's pool is the child's own.
        let run = ThreadsBackend::default().run(|| async {
            let anew = ThreadsBackend::default().open(&path, &direct()).await.expect("opens");
            read_and_check(&anew, &all).await;
            anew.close().await.expect("closes");
        });
        run.map_err(|_| 14)
    });
    assert_eq!(status(child), (true, 0), "the number of the step that failed");

    drop(stalled);
    let (pending, waiting) = pollster::block_on(smol::future::zip(pending, waiting));
    assert_eq!(pending.expect("the parent reads on").delivered, 256);
    assert_eq!(waiting.expect("the parent reads on").delivered, 4);
    assert_eq!(pollster::block_on(writing).expect("the parent writes on").bytes_written, 4096);
    pollster::block_on(syncing).expect("syncs");
    pollster::block_on(read_and_check(&reader, &all));
    pollster::block_on(reader.close()).expect("everything came back");
    pollster::block_on(writer.close()).expect("everything came back");
    assert_eq!(std::fs::read(&written).expect("is there"), page);

    // Now forks at any moment of reads that go on, and while another thread starts the process's pool. The
    // child also drops what it has of its parent's. The statuses are checked at the end, so the other thread
    // is always stopped.
    let mut statuses = Vec::new();
    for opens_anew in [false, true] {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if opens_anew {
                        drop(open(&ThreadsBackend::default(), &path, &direct()));
                    } else {
                        pollster::block_on(read_and_check(&of_process, &all));
                    }
                }
            });
            for _ in 0..20 {
                let mut pending = Box::pin(of_process.read_vectors(&some, &control, ignore));
                let _ = poll_once(pending.as_mut());
                let child = in_child(|| {
                    drop(pending);
                    let old = pollster::block_on(of_process.read_vectors(&some, &control, ignore));
                    if !tells_of_fork(old) {
                        return Err(1);
                    }
                    let anew = open(&ThreadsBackend::default(), &path, &direct());
                    pollster::block_on(read_and_check(&anew, &all));
                    Ok(())
                });
                statuses.push(status(child));
            }
            stop.store(true, Ordering::Relaxed);
            busy.join().expect("the parent's reads are right");
        });
    }
    assert_eq!(statuses, [(true, 0); 40], "the numbers of the steps that failed");
}
