//! In the steady state a read allocates nothing, on the caller's thread or on the pool's. A batch costs the
//! same few allocations for any number of reads.

mod common;

#[path = "../../io-core/tests/support/counting.rs"]
mod counting;

use common::{LEN, directory, file_of, options};
use counting::allocations;
use io_core::{BackendFactory, DynBackend, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_threads::{ThreadsBackend, ThreadsOptions};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// The fewest allocations of a batch of `reads` reads, once everything is warm. A thread that starts
/// allocates, and it may start late.
fn allocations_per_batch<B: BackendFactory>(backend: &B, path: &Path, how: &OpenOptions, reads: u64) -> u64 {
    let requests: Vec<_> = (0..reads).map(|read| ReadRequest::new(read * 8192, LEN)).collect();
    let run = backend.run(|| async {
        let reader = backend.open(path, how).await.expect("opens");
        let mut fewest = u64::MAX;
        for _ in 0..10 {
            let before = allocations();
            let outcome = reader
                .read_vectors(&requests, &ReadControl::default(), |_, _| ControlFlow::Continue(()))
                .await
                .expect("reads");
            fewest = fewest.min(allocations() - before);
            assert_eq!(outcome.stats.reads, reads, "nothing merged");
        }
        fewest
    });
    run.expect("starts")
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn a_read_allocates_nothing() {
    let directory = directory();
    let path = file_of(directory.path(), 512);
    // Few threads, which all run soon, and then stay.
    let few_threads = ThreadsOptions::default().with_threads_max(4).with_idle_for(Duration::from_secs(3600));
    let backend = ThreadsBackend::start(&few_threads).expect("a thread starts");
    let chosen = DynBackend::new(backend.clone());
    let (past_the_cache, buffered) = (options(), OpenOptions::default().with_gap_max(0));
    for how in [past_the_cache, buffered] {
        let few = allocations_per_batch(&backend, &path, &how, 64);
        let many = allocations_per_batch(&backend, &path, &how, 512);
        assert_eq!((few, many), (1, 1), "the slots of a batch are one allocation");
        let few = allocations_per_batch(&chosen, &path, &how, 64);
        let many = allocations_per_batch(&chosen, &path, &how, 512);
        assert_eq!((few, many), (2, 2), "and one box, when the backend is chosen at run time");
    }
}
