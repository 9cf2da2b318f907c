//! In the steady state a read of a batch allocates nothing. A batch costs the same few allocations for any
//! number of reads. A read of a session makes one allocation, for its shared bytes.

#[path = "support/counting.rs"]
mod counting;

use counting::allocations;
use io_core::testing::MemoryBackend;
use io_core::{
    BackendFactory, Completion, DynBackend, Executor, FileSession, FileSystem, OpenOptions, ReadControl,
    ReadRequest, VectorReader,
};
use std::ops::ControlFlow;
use std::path::Path;

/// Allocations of one batch of `reads` single reads, once everything is warm. The in-memory disk allocates
/// once a read, for its queue. The result excludes that.
fn allocations_per_batch<B: BackendFactory>(backend: &B, reads: u64) -> u64 {
    let requests: Vec<_> = (0..reads).map(|read| ReadRequest::new(read * 8192, 400)).collect();
    let run = backend.run(|| async {
        let options = OpenOptions::default().with_gap_max(0);
        let reader = backend.open(Path::new("vectors"), &options).await.expect("opens");
        let mut counted = 0;
        for _ in 0..3 {
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
    run.expect("starts").checked_sub(reads).expect("the in-memory disk allocates once a read")
}

/// Allocations of one round of `reads` single reads of a session, once everything is warm, without those of
/// the in-memory disk.
fn allocations_per_round(backend: &MemoryBackend, reads: u64) -> u64 {
    let run = backend.run(|| async {
        let options = OpenOptions::default().with_gap_max(0);
        let reader = backend.open(Path::new("vectors"), &options).await.expect("opens");
        let mut session = reader.session(ReadControl::default());
        let mut counted = 0;
        for _ in 0..3 {
            let before = allocations();
            for read in 0..reads {
                session.submit(read, ReadRequest::new(read * 8192, 400));
            }
            while let Some(Completion { bytes, .. }) = session.next().await {
                assert_eq!(bytes.expect("reads").len(), 400);
            }
            counted = allocations() - before;
        }
        assert_eq!(session.stats().reads, 3 * reads, "nothing merged");
        counted
    });
    run.expect("starts").checked_sub(reads).expect("the in-memory disk allocates once a read")
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn a_read_allocates_nothing() {
    let memory = MemoryBackend::new(1);
    memory.put(Path::new("vectors"), vec![0; 4096 * 8192]);
    for reads in [64, 4096] {
        let allocations = allocations_per_round(&memory, reads);
        // The set of reads by offset is a tree, whose nodes come and go. It has a node for 6 reads or more.
        assert!((reads..reads + reads / 5).contains(&allocations), "{allocations} for {reads} shared pages");
    }
    let few = allocations_per_batch(&memory, 64);
    let many = allocations_per_batch(&memory, 4096);
    assert_eq!((few, many), (1, 1), "the slots of a batch are one allocation");

    let chosen = DynBackend::new(memory);
    let few = allocations_per_batch(&chosen, 64);
    let many = allocations_per_batch(&chosen, 4096);
    assert_eq!((few, many), (2, 2), "and one box, when the backend is chosen at run time");
}
