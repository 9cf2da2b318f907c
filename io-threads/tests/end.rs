//! Threads start as they are needed, and end with the last handle. One test, alone in its process, because it
//! counts threads.
#![cfg(target_os = "linux")]

mod common;

use common::{
    Stalled, directory, file_of, ignore, open, options, own, poll_once, read_and_check, requests, threads,
};
use io_core::{ReadControl, VectorReader};
use io_threads::{ThreadsBackend, ThreadsOptions};
use std::time::Duration;

fn wait_for_threads(count: usize) {
    while threads() != count {
        std::thread::yield_now();
    }
}

#[test]
fn there_are_as_many_as_are_needed_and_none_is_left() {
    let directory = directory();
    let path = file_of(directory.path(), 100);
    let (control, all) = (ReadControl::default(), requests(0..100));
    assert_eq!(threads(), 0);
    let backend = own();
    wait_for_threads(1);
    let reader = open(&backend, &path, &options());
    let stalled = Stalled::new(&backend);
    let mut batch = Box::pin(reader.read_vectors(&all, &control, ignore));
    assert!(poll_once(batch.as_mut()).is_pending());
    let gate = reader.gate().clone();
    drop(batch);
    drop(reader);
    drop(backend);
    assert_eq!((gate.operations_in_flight(), threads()), (32, 1), "reads are on their way");
    drop(stalled);
    wait_for_threads(0);
    assert_eq!(gate.operations_in_flight(), 0, "they ended first");

    // Idle threads end, but for one.
    let short = ThreadsOptions::default().with_threads_max(8).with_idle_for(Duration::ZERO);
    let backend = ThreadsBackend::start(&short).expect("a thread starts");
    let reader = open(&backend, &path, &options());
    for _ in 0..10 {
        pollster::block_on(read_and_check(&reader, &all));
        // The kernel counts a thread until a moment after its end. So there is no maximum to check here.
        wait_for_threads(1);
    }
    drop((backend, reader));
    wait_for_threads(0);

    // The process's pool is shared. It ends too, and comes back.
    for _ in 0..3 {
        let readers = [(); 2].map(|()| open(&ThreadsBackend::default(), &path, &options()));
        wait_for_threads(1);
        readers.iter().for_each(|reader| pollster::block_on(read_and_check(reader, &all)));
        assert!((1..=32).contains(&threads()));
        drop(readers);
        wait_for_threads(0);
    }
}
