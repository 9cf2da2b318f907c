//! A process that is forked while reads are in flight. One test, alone in its process.

use crate::child::{in_child, tells_of_fork};
use crate::common::{
    Backend, IS_FORKED_AT_ITS_START, Reader, Stalled, bytes_at, directory, file_of, ignore, open, options,
    own, poll_once, read_and_check, requests,
};
use io_core::{
    Executor, FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, SyncKind, VectorReader,
};
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

fn poll_to_be_told<T, E: Error + 'static>(future: Pin<&mut impl Future<Output = Result<T, E>>>) -> bool {
    match poll_once(future) {
        Poll::Ready(result) => tells_of_fork(result),
        Poll::Pending => false,
    }
}

/// Forks 20 times while another thread does `busy` again and again. Returns how the children ended.
fn forked_beside(busy: impl Fn() + Sync, mut fork: impl FnMut() -> (bool, i32)) -> Vec<(bool, i32)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                busy();
            }
        });
        let ended = (0..20).map(|_| fork()).collect();
        stop.store(true, Ordering::Relaxed);
        busy.join().expect("the parent reads right");
        ended
    })
}

#[test]
fn the_child_is_told_and_goes_on_with_new_files_and_the_parent_with_its_own() {
    let directory = directory();
    let path = file_of(directory.path(), 256);
    let (control, all, some) = (ReadControl::default(), requests(0..256), requests(100..104));
    let backend = own();
    let reader = open(&backend, &path, &options());
    let of_process = open(&Backend::default(), &path, &options());
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

    let ended = in_child(|| {
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
        is_told(13, tells_of_fork(pollster::block_on(backend.open(&path, &options())).map(drop)))?;
        // What the process shares is the child's own.
        let run = Backend::default().run(|| async {
            let anew = Backend::default().open(&path, &options()).await.expect("opens");
            read_and_check(&anew, &all).await;
            anew.close().await.expect("closes");
        });
        run.map_err(|_| 14)
    });
    assert_eq!(ended, (true, 0), "the number of the step that failed");

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

    // A child drops what it has of its parent's, is told, and goes on with new files.
    let fork_with = |old: &Reader| {
        let mut pending = Box::pin(old.read_vectors(&some, &control, ignore));
        let _ = poll_once(pending.as_mut());
        in_child(|| {
            drop(pending);
            if !tells_of_fork(pollster::block_on(old.read_vectors(&some, &control, ignore))) {
                return Err(1);
            }
            let anew = pollster::block_on(Backend::default().open(&path, &options())).map_err(|_| 2)?;
            pollster::block_on(read_and_check(&anew, &all));
            Ok(())
        })
    };
    // Now forks at any moment of reads that go on, and while another thread opens files.
    // The children are looked at in the end, so the other thread is always stopped.
    let read = || pollster::block_on(read_and_check(&of_process, &all));
    let beside_reads = forked_beside(read, || fork_with(&of_process));
    let start = || drop(open(&Backend::default(), &path, &options()));
    let beside_starts = if IS_FORKED_AT_ITS_START {
        drop(of_process);
        forked_beside(start, || fork_with(&idle_reader))
    } else {
        forked_beside(start, || fork_with(&of_process))
    };
    assert_eq!(
        [beside_reads, beside_starts].concat(),
        [(true, 0); 40],
        "the numbers of the steps that failed"
    );
}
