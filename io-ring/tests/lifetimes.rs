//! Futures, threads and runtimes that end while the ring reads for them.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/lifetimes.rs"]
mod shared;

use common::{LEN, directory, file_of, ignore, open, options, own, poll_once, read_and_check, requests};
use io_core::{ReadControl, ReadRequest, VectorReader};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn never_above_the_limits_while_batches_end_and_are_dropped() {
    let (directory, backend) = (directory(), own());
    let path = file_of(directory.path(), 200);
    // Two of the larger reads exhaust the bytes, four of the smaller ones the depth.
    let limits = options().with_queue_depth(4).with_bytes_in_flight_max(8192).with_read_size_max(4096);
    let reader = open(&backend, &path, &limits);
    let (control, small) = (ReadControl::default(), requests(0..50));
    let large: Vec<_> = (0..50).map(|page| ReadRequest::new(page * 8192, 3000)).collect();
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let (operations, bytes) =
                    (reader.gate().operations_in_flight(), reader.gate().bytes_in_flight());
                seen = (seen.0.max(operations), seen.1.max(bytes));
            }
            seen
        });
        let readers = [&small, &large, &small, &large].map(|requests| {
            let (reader, control) = (&reader, &control);
            scope.spawn(move || {
                for round in 0..100 {
                    if round % 2 == 0 {
                        let mut dropped = Box::pin(reader.read_vectors(requests, control, ignore));
                        let _ = poll_once(dropped.as_mut());
                    } else {
                        pollster::block_on(read_and_check(reader, requests));
                    }
                }
            })
        });
        for reader in readers {
            reader.join().expect("reads right");
        }
        stop.store(true, Ordering::Relaxed);
        watcher.join().expect("looks")
    });
    assert!((1..=4).contains(&seen.0) && (u64::from(LEN)..=8192).contains(&seen.1), "{seen:?}");
    pollster::block_on(reader.close()).expect("closes");
    assert_eq!((reader.gate().operations_in_flight(), reader.gate().bytes_in_flight()), (0, 0));
}
