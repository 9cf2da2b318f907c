//! A search over codes and a graph in memory allocates nothing once its scratch has grown. The test counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vecstore_index::graph::{HnswParams, SearchScratch, build, search_in_memory};
use vecstore_quant::{CodeScores, Distance, ScalarCodes, ScalarQuery};

/// Counts the allocations of each thread, so that the test harness and rayon do not disturb the count.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // This fails only while the thread ends, after all counting.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_search_allocates_nothing() {
    let (dim, count, ef) = (16, 2000, 64);
    let numbers = |seed: usize, count: usize| -> Vec<f32> {
        (0..count).map(|i| ((i + seed) * 7919 % 10_007) as f32 / 5000.0 - 1.0).collect()
    };
    let vectors = numbers(0, count * dim);
    let mut codes = ScalarCodes::new(dim).expect("a good dimension");
    codes.extend(&vectors);
    let scores = CodeScores::new(Distance::Euclid, &codes);
    let params = HnswParams { m: 8, ef_construct: 32, seed: 1 };
    let graph = build(&scores, &params, &|_| (), &|| false).expect("good parameters");
    let queries: Vec<ScalarQuery> =
        (0..200).map(|query| ScalarQuery::new(Distance::Euclid, &numbers(query * 31 + 5, dim))).collect();

    let mut scratch = SearchScratch::new();
    let mut search = |query: &ScalarQuery| {
        let score = |ids: &[u32], out: &mut [f32]| query.score_many(&codes, ids, out);
        search_in_memory(&graph, &mut scratch, ef, score, || false).expect("never stopped").len()
    };
    for query in &queries[..10] {
        assert_eq!(search(query), ef);
    }
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter works");
    for query in &queries {
        assert_eq!(search(query), ef);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
