//! A ring ends with its last handle and its last operation. One test, alone in its process, because it counts
//! threads.
#![cfg(target_os = "linux")]

mod common;

use common::{Stalled, directory, file_of, options, own, poll_once, requests, threads_named};
use io_core::{FileSystem, ReadControl, VectorReader};
use io_ring::RingBackend;
use std::ops::ControlFlow;

fn wait_for_rings(count: usize) {
    while threads_named("io-ring").len() != count {
        std::thread::yield_now();
    }
}

#[test]
fn its_thread_is_gone_once_nothing_is_left_of_it() {
    let directory = directory();
    let path = file_of(directory.path(), 100);
    let (control, all) = (ReadControl::default(), requests(0..100));
    let backend = own();
    assert_eq!(threads_named("io-ring").len(), 1);
    let reader = pollster::block_on(backend.open(&path, &options())).expect("opens");
    let stalled = Stalled::new(&backend);
    let mut batch = Box::pin(reader.read_vectors(&all, &control, |_, _| ControlFlow::Continue(())));
    assert!(poll_once(batch.as_mut()).is_pending());
    let gate = reader.gate().clone();
    drop(batch);
    drop(reader);
    drop(backend);
    assert_eq!(
        (gate.operations_in_flight(), threads_named("io-ring").len()),
        (32, 1),
        "reads are on their way"
    );
    drop(stalled);
    wait_for_rings(0);
    assert_eq!(gate.operations_in_flight(), 0, "they ended first");

    // The process's ring is shared. It ends too, and comes back.
    for _ in 0..3 {
        let readers = [(); 2]
            .map(|()| pollster::block_on(RingBackend::default().open(&path, &options())).expect("opens"));
        assert_eq!(threads_named("io-ring").len(), 1);
        pollster::block_on(common::read_and_check(&readers[0], &all));
        drop(readers);
        wait_for_rings(0);
    }
}
