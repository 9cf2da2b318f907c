//! In the steady state a read allocates nothing, on the caller's thread or on the pool's. A batch costs the
//! same few allocations for any number of reads.

mod common;

use common::{LEN, direct, directory, file_of};
use io_core::{BackendFactory, DynBackend, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_threads::{ThreadsBackend, ThreadsOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: forwards to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The fewest allocations of a batch of `reads` reads, once everything is warm. A thread that starts
/// allocates, and it may start late.
fn allocations_per_batch<B: BackendFactory>(backend: &B, path: &Path, how: &OpenOptions, reads: u64) -> u64 {
    let requests: Vec<_> = (0..reads).map(|read| ReadRequest::new(read * 8192, LEN)).collect();
    let run = backend.run(|| async {
        let reader = backend.open(path, how).await.expect("opens");
        let mut fewest = u64::MAX;
        for _ in 0..10 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let outcome = reader
                .read_vectors(&requests, &ReadControl::default(), |_, _| ControlFlow::Continue(()))
                .await
                .expect("reads");
            fewest = fewest.min(ALLOCATIONS.load(Ordering::Relaxed) - before);
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
    let options = ThreadsOptions::default().with_threads_max(4).with_idle_for(Duration::from_secs(3600));
    let backend = ThreadsBackend::start(&options).expect("a thread starts");
    let chosen = DynBackend::new(backend.clone());
    let buffered = OpenOptions::default().with_gap_max(0);
    for how in [direct(), buffered] {
        let few = allocations_per_batch(&backend, &path, &how, 64);
        let many = allocations_per_batch(&backend, &path, &how, 512);
        assert_eq!((few, many), (1, 1), "the slots of a batch are one allocation");
        let few = allocations_per_batch(&chosen, &path, &how, 64);
        let many = allocations_per_batch(&chosen, &path, &how, 512);
        assert_eq!((few, many), (2, 2), "and one box, when the backend is chosen at run time");
    }
}
