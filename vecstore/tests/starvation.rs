//! Writers that never pause starve nobody: `seal`, `optimize` and `settle` return after a bounded number of writes, and
//! segments and open files keep their bounds. Time plays no part: writes are counted. A process of its own, since its open
//! files are counted.
//!
//! `VECSTORE_STARVATION_ROUNDS=100` goes on for longer.

use io_core::testing::SimulatedDisk;
use io_core::{BackendFactory, DynBackend};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Pending, SearchRequest};
use vecstore::hnsw::HnswParams;
use vecstore::point::Point;
use vecstore::schema::Schema;

const ROUNDS: u64 = 2;
const WRITERS: usize = 3;
const BATCH: u64 = 10;
/// Ids that are written over and over.
const IDS: u64 = 1500;
const SEAL_POINTS: u64 = 100;
const SEGMENTS_MAX: usize = 4;

/// Points that may be written during one call.
///
/// Memory is full at four times `SEAL_POINTS`, and whatever then ends makes room for as many: the plan that the
/// optimizer is at, what is frozen when the call begins, what the call freezes, and what is frozen behind that. The same
/// again for groups that exceed it, and for writers that are faster than the thread that counts.
const WRITTEN_MAX: u64 = 2 * 5 * 4 * SEAL_POINTS;

fn options() -> CollectionOptions {
    CollectionOptions {
        cores: 2,
        lanes: 2,
        seal_points: SEAL_POINTS as usize,
        segments_max: SEGMENTS_MAX,
        ..CollectionOptions::default()
    }
}

fn rounds() -> u64 {
    let Ok(text) = std::env::var("VECSTORE_STARVATION_ROUNDS") else { return ROUNDS };
    text.parse().unwrap_or_else(|_| panic!("VECSTORE_STARVATION_ROUNDS={text} is no number"))
}

/// Notes how many points were written when it wakes.
struct Woken {
    written: Arc<AtomicU64>,
    at: AtomicU64,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.at.fetch_min(self.written.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Waits for a call; fails as soon as more was written meanwhile than may be.
fn bounded<T>(what: &str, written: &Arc<AtomicU64>, mut call: Pending<T>) -> T {
    let before = written.load(Ordering::SeqCst);
    loop {
        let woken = Arc::new(Woken { written: Arc::clone(written), at: AtomicU64::new(u64::MAX) });
        let waker = Waker::from(Arc::clone(&woken));
        if let Poll::Ready(answer) = Pin::new(&mut call).poll(&mut Context::from_waker(&waker)) {
            return answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        while woken.at.load(Ordering::SeqCst) == u64::MAX {
            let meanwhile = written.load(Ordering::SeqCst) - before;
            assert!(meanwhile <= WRITTEN_MAX, "{what} has not returned, and {meanwhile} points were written");
            std::thread::yield_now();
        }
    }
}

/// Descriptors of this process, where the system tells.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}

/// Ends the other threads, also when an assertion fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn starve(name: &str, backend: &DynBackend, dir: &Path) {
    let before = descriptors();
    let schema = Schema { hnsw: HnswParams { ef_construct: 16, ..HnswParams::default() }, ..Schema::new(4) };
    let collection = Collection::create(backend, dir, &schema, &options()).unwrap();
    let files_max = collection.open_files().max;
    let (next, written, searches) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let within_bounds = || {
        let (peak, open) = (collection.info().map(|info| info.segments_peak), descriptors() - before);
        // A segment may go while its files are listed.
        if let Ok(peak) = peak {
            assert!(peak <= SEGMENTS_MAX + 1, "{name}: {peak} segments");
        }
        assert!(open <= files_max, "{name}: {open} open files, at most {files_max} are promised");
    };
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let first = next.fetch_add(BATCH, Ordering::SeqCst);
                    let point = |n: u64| Point::new(n % IDS, vec![(n % 31) as f32, (n % 7) as f32, 1.0, 0.0]);
                    let points = (first..first + BATCH).map(point).collect();
                    collection.upsert(points, Durability::Written).wait().unwrap();
                    written.fetch_add(BATCH, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let found = collection.search(SearchRequest::new(vec![1.0, 2.0, 1.0, 0.0])).wait().unwrap();
                assert_eq!(found.hits.len(), 10);
                searches.fetch_add(1, Ordering::SeqCst);
            }
        });
        // All ids are there from here on.
        while written.load(Ordering::SeqCst) < 2 * IDS {
            std::thread::yield_now();
        }
        for _ in 0..rounds() {
            let searched = searches.load(Ordering::SeqCst);
            bounded(&format!("{name}: seal"), &written, collection.seal(|_| {}));
            within_bounds();
            bounded(&format!("{name}: settle"), &written, collection.settle());
            within_bounds();
            bounded(&format!("{name}: optimize"), &written, collection.optimize(|_| {}));
            within_bounds();
            // Writes go on, and so do searches.
            let (target, searches_target) = (written.load(Ordering::SeqCst) + 20 * SEAL_POINTS, searched + 1);
            while written.load(Ordering::SeqCst) < target || searches.load(Ordering::SeqCst) < searches_target
            {
                within_bounds();
                std::thread::yield_now();
            }
        }
    });
    within_bounds();
    assert_eq!(collection.count(None).wait().unwrap(), IDS, "{name}");
    collection.close().unwrap();
    let collection = Collection::open(backend, dir, &options()).unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), IDS, "{name}, opened again");
}

#[test]
fn writers_that_never_pause_starve_nobody() {
    starve("simulated", &DynBackend::new(SimulatedDisk::new(1)), Path::new("/c"));
    for kind in BackendKind::all() {
        if let Err(refused) = kind.backend().run(async || ()) {
            eprintln!("{kind}: skipped: {refused}");
            continue;
        }
        let temp = tempfile::tempdir().unwrap();
        starve(kind.name(), &kind.backend(), &temp.path().join("c"));
    }
}
