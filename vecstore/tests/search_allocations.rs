//! A search over codes and a graph in memory allocates nothing once its scratch has grown, and a collection's searches no more for a few
//! deletions: counted, not claimed.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest, Selection};
use vecstore::distance::Distance;
use vecstore::hnsw::{HnswParams, SearchScratch, build, search_in_memory};
use vecstore::point::{Point, PointId};
use vecstore::quantization::{CodeScores, ScalarCodes, ScalarQuery};
use vecstore::schema::Schema;

/// Counts the allocations of each thread, so that the test harness and rayon do not disturb the count, and the bytes of all.
struct Counting;

/// The bytes that all threads allocated.
static BYTES: AtomicUsize = AtomicUsize::new(0);
/// Who counts them is alone.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    BYTES.fetch_add(bytes, Ordering::Relaxed);
    // Fails only while the thread ends, when nobody counts any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the rules of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the rules of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the rules of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_search_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The set of the points that are left would take kilobytes a search.
#[test]
fn a_few_deletions_cost_a_search_no_memory() {
    const SEARCHES: u64 = 100;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let options = CollectionOptions { cores: 1, lanes: 1, background: false, ..CollectionOptions::default() };
    let backend = DynBackend::new(SimulatedDisk::new(1));
    let collection =
        Collection::create(&backend, Path::new("/c"), &Schema::new(8), &options).expect("a new collection");
    let vector = |seed: u64| (0..8).map(|i| ((i + seed) * 7919 % 10_007) as f32 / 5000.0 - 1.0).collect();
    let points = (0..4000).map(|id| Point::new(id, vector(id * 31))).collect();
    collection.upsert(points, Durability::Written).wait().expect("points are put");
    collection.seal(|_| {}).wait().expect("a segment is built");
    let bytes = || {
        let search = |query| collection.search(SearchRequest::new(vector(query))).wait().expect("a search");
        (0..20).for_each(|query| drop(search(query)));
        let before = BYTES.load(Ordering::Relaxed);
        (0..SEARCHES).for_each(|query| assert_eq!(search(query).hits.len(), 10));
        (BYTES.load(Ordering::Relaxed) - before) as u64 / SEARCHES
    };
    let without = bytes();
    let deleted = (0..400).map(|i| PointId::Num(i * 10)).collect();
    collection.delete(Selection::Ids(deleted), Durability::Written).wait().expect("points are deleted");
    let with = bytes();
    assert!(with <= without + 2048, "{with} bytes a search with deletions, {without} without");
    collection.close().expect("closed");
}
