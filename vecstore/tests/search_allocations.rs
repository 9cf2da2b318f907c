//! A few deletions do not increase the allocations of a search. The test counts them.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest, Selection};
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

/// Counts the bytes that all threads allocate.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A set of the live points would take kilobytes for each search.
#[test]
fn a_few_deletions_cost_a_search_no_memory() {
    const SEARCHES: u64 = 100;
    let options =
        CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() };
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
