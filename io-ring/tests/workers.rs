//! Operations that block get kernel threads, and never more than the option allows. One test, alone in its
//! process.
#![cfg(target_os = "linux")]

mod common;

use common::{bytes_at, directory, poll_once};
use io_core::{FileSystem, Lane, OpenOptions, PageWrite, PageWriter, SyncKind, WriteError};
use io_ring::{RingBackend, RingOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

const WORKERS_MAX: u32 = 4;
const THREADS: usize = 8;
const FILES_EACH: usize = 4;
const PAGES: u64 = 16;

/// Kernel threads of rings of this process.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.expect("is read").path().join("comm")).ok());
    names.filter(|name| name.starts_with("iou-wrk-")).count()
}

/// Starts all futures, then waits for each.
fn at_once<T>(futures: impl Iterator<Item = impl Future<Output = Result<T, WriteError>>>) {
    let mut started = Vec::new();
    for future in futures {
        let mut future = Box::pin(future);
        match poll_once(future.as_mut()) {
            Poll::Ready(result) => drop(result.expect("is done")),
            Poll::Pending => started.push(future),
        }
    }
    for future in started {
        pollster::block_on(future).expect("is done");
    }
}

#[test]
fn buffered_writes_and_syncs_of_many_files_keep_to_the_workers_there_are() {
    let directory = directory();
    let options = RingOptions::default().with_workers_max(WORKERS_MAX);
    let backend = RingBackend::start(&options).expect("this system has io_uring");
    let asked = pollster::block_on(backend.create(&directory.path().join("asked"), &OpenOptions::default()));
    // Kernels from 5.15 on have this feature.
    let is_bounded = asked.expect("creates").info().kernel_features.contains(&"IOWQ_MAX_WORKERS");
    let seen_max = AtomicUsize::new(0);
    let page = bytes_at(0, 4096);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (backend, directory, seen_max, page) = (&backend, &directory, &seen_max, &page);
            scope.spawn(move || {
                let lane = if thread % 2 == 0 { Lane::Foreground } else { Lane::Background };
                let options = OpenOptions::default().with_lane(lane);
                let writers = (0..FILES_EACH).map(|file| {
                    let path = directory.path().join(format!("{thread}-{file}"));
                    pollster::block_on(backend.create(&path, &options)).expect("creates")
                });
                let writers: Vec<_> = writers.collect();
                for round in 0..PAGES {
                    let writes = [PageWrite { offset: round * 4096, bytes: page }];
                    // All files of the thread are written at once. With all threads, these are 32 operations.
                    at_once(writers.iter().map(|writer| writer.write_pages(&writes)));
                    at_once(writers.iter().map(|writer| writer.sync(SyncKind::Data)));
                    seen_max.fetch_max(workers(), Ordering::Relaxed);
                }
            });
        }
    });
    let seen_max = seen_max.into_inner();
    assert!(seen_max > 0, "a sync takes a worker");
    assert!(!is_bounded || seen_max <= WORKERS_MAX as usize, "{seen_max} workers");
    for thread in 0..THREADS {
        for file in 0..FILES_EACH {
            let written = std::fs::read(directory.path().join(format!("{thread}-{file}"))).expect("is there");
            assert!(written == page.repeat(PAGES as usize));
        }
    }
}
