//! In the steady state a read allocates nothing, on the caller's thread or on the ring's. A batch costs the
//! same few allocations for any number of reads.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/counting.rs"]
mod counting;

use common::{directory, file_of, options};
use counting::allocations;
use io_core::{BackendFactory, DynBackend, ReadControl, ReadRequest, VectorReader};
use io_ring::RingBackend;
use std::ops::ControlFlow;
use std::path::Path;

/// Allocations of one batch of `reads` reads, once everything is warm.
fn allocations_per_batch<B: BackendFactory>(backend: &B, path: &Path, reads: u64) -> u64 {
    let requests: Vec<_> = (0..reads).map(|read| ReadRequest::new(read * 8192, 400)).collect();
    let run = backend.run(|| async {
        let reader = backend.open(path, &options()).await.expect("opens");
        let mut counted = 0;
        for _ in 0..5 {
            let before = allocations();
            let outcome = reader
                .read_vectors(&requests, &ReadControl::default(), |_, _| ControlFlow::Continue(()))
                .await
                .expect("reads");
            counted = allocations() - before;
            assert_eq!(outcome.stats.reads, reads, "nothing merged");
        }
        counted
    });
    run.expect("starts")
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn a_read_allocates_nothing() {
    let directory = directory();
    let path = file_of(directory.path(), 4096);
    let backend = RingBackend::default();
    let few = allocations_per_batch(&backend, &path, 64);
    let many = allocations_per_batch(&backend, &path, 4096);
    assert_eq!((few, many), (1, 1), "the slots of a batch are one allocation");

    let chosen = DynBackend::new(backend);
    let few = allocations_per_batch(&chosen, &path, 64);
    let many = allocations_per_batch(&chosen, &path, 4096);
    assert_eq!((few, many), (2, 2), "and one box, when the backend is chosen at run time");
}
