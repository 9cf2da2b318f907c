//! Writers that never pause starve no other caller. `seal`, `optimize` and `settle` return after a bounded
//! number of writes, and segments and open files keep their bounds. The test counts writes instead of time.
//! It has its own process, because it counts open files.
//!
//! `VECSTORE_STARVATION_ROUNDS=100` makes it longer.

#![allow(clippy::print_stderr, reason = "a skip must be seen")]

use io_core::testing::SimulatedDisk;
use io_core::{DynBackend, Executor};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Pending, SearchRequest};
use vecstore::point::Point;
use vecstore::schema::HnswParams;
use vecstore::schema::Schema;

const ROUNDS: u64 = 2;
const WRITERS: usize = 3;
const BATCH: u64 = 10;
/// Points written between two searches.
const SEARCH_EVERY: u64 = 50;
/// Number of ids, which are rewritten continually. They exceed memory, so each written point takes room
/// there.
const IDS: u64 = 600;
const SEAL_POINTS: u64 = 100;
const SEGMENTS_MAX: usize = 4;

/// The most points that may be written during one call.
///
/// Memory holds up to `4 * SEAL_POINTS` points. The writers fill it when the call begins. Four events make
/// room for as many again: the running plan ends, what was frozen is sealed, what the call froze is sealed,
/// and what was frozen behind that is sealed. A factor of two covers groups that exceed the room, and writes
/// that arrive before the answer does.
const WRITTEN_MAX: u64 = 2 * 5 * 4 * SEAL_POINTS;

fn options() -> CollectionOptions {
    CollectionOptions {
        cores: 2,
        reads_per_core: 2,
        seal_points: SEAL_POINTS as usize,
        segments_max: SEGMENTS_MAX,
        ..CollectionOptions::default()
    }
}

fn rounds() -> u64 {
    let Ok(text) = std::env::var("VECSTORE_STARVATION_ROUNDS") else { return ROUNDS };
    text.parse().unwrap_or_else(|_| panic!("VECSTORE_STARVATION_ROUNDS={text} is no number"))
}

/// The counts so far.
#[derive(Default)]
struct Counts {
    /// Points written.
    written: u64,
    searches: u64,
    /// Whether the pending call may be done.
    woken: bool,
}

/// Counts with a condition variable.
#[derive(Default)]
struct Progress {
    counts: Mutex<Counts>,
    changed: Condvar,
}

impl Progress {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
    }

    /// Blocks until the condition holds. It checks whenever the counts change.
    fn wait_until(&self, mut reached: impl FnMut(&mut Counts) -> bool) {
        let mut counts = self.counts.lock().unwrap();
        while !reached(&mut counts) {
            counts = self.changed.wait(counts).unwrap();
        }
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.count(|counts| counts.woken = true);
    }
}

/// Waits for a call. Fails as soon as too much was written meanwhile.
fn bounded<T>(what: &str, progress: &Arc<Progress>, mut call: Pending<T>) -> T {
    let (waker, before) = (Waker::from(Arc::clone(progress)), progress.counts.lock().unwrap().written);
    loop {
        if let Poll::Ready(answer) = Pin::new(&mut call).poll(&mut Context::from_waker(&waker)) {
            return answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        progress.wait_until(|counts| {
            let meanwhile = counts.written - before;
            let woken = std::mem::take(&mut counts.woken);
            assert!(
                woken || meanwhile <= WRITTEN_MAX,
                "{what} has not returned, and {meanwhile} points were written"
            );
            woken
        });
    }
}

/// Number of this process's descriptors, if the system tells.
fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64)
}

/// Stops the other threads, even if an assertion fails.
struct Stopping<'a>(&'a AtomicBool, &'a Progress);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        // With the lock taken, every thread that has just checked is waiting now.
        let _counts = self.1.counts.lock();
        self.0.store(true, Ordering::SeqCst);
        self.1.changed.notify_all();
    }
}

fn starve(name: &str, backend: &DynBackend, dir: &Path) {
    let before = descriptors();
    let schema = Schema { hnsw: HnswParams { ef_construct: 16, ..HnswParams::default() }, ..Schema::new(4) };
    let collection = Collection::create(backend, dir, &schema, &options()).unwrap();
    let files_max = collection.open_files().max;
    let within_bounds = || {
        // A segment may be removed while its files are listed.
        if let Ok(info) = collection.info() {
            assert!(info.segments_peak <= SEGMENTS_MAX + 1, "{name}: {} segments", info.segments_peak);
        }
        let open = descriptors() - before;
        assert!(open <= files_max, "{name}: {open} open files, at most {files_max} are promised");
    };
    let (next, progress, stop) = (AtomicU64::new(0), Arc::new(Progress::default()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop, &progress);
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let first = next.fetch_add(BATCH, Ordering::SeqCst);
                    let point = |n: u64| Point::new(n % IDS, vec![(n % 31) as f32, (n % 7) as f32, 1.0, 0.0]);
                    let points = (first..first + BATCH).map(point).collect();
                    collection.upsert(points, Durability::Written).wait().unwrap();
                    progress.count(|counts| counts.written += BATCH);
                }
            });
        }
        // From here on, all ids exist.
        progress.wait_until(|counts| counts.written >= 2 * IDS);
        scope.spawn(|| {
            let mut target = 0;
            while !stop.load(Ordering::SeqCst) {
                // Searches pause, so that the optimizer gets processor time on any machine.
                progress.wait_until(|counts| {
                    let reached = counts.written >= target || stop.load(Ordering::SeqCst);
                    target = if reached { counts.written + SEARCH_EVERY } else { target };
                    reached
                });
                let found = collection.search(SearchRequest::new(vec![1.0, 2.0, 1.0, 0.0])).wait().unwrap();
                assert_eq!(found.hits.len(), 10, "{name}");
                progress.count(|counts| counts.searches += 1);
            }
        });
        for _ in 0..rounds() {
            bounded(&format!("{name}: seal"), &progress, collection.seal(|_| {}));
            within_bounds();
            bounded(&format!("{name}: settle"), &progress, collection.settle());
            within_bounds();
            bounded(&format!("{name}: optimize"), &progress, collection.optimize(|_| {}));
            within_bounds();
            // Writes and searches continue.
            let mut target = progress.counts.lock().unwrap().written;
            for _ in 0..10 {
                target += SEAL_POINTS;
                let searches = progress.counts.lock().unwrap().searches;
                progress.wait_until(|counts| counts.written >= target && counts.searches > searches);
                within_bounds();
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
    for kind in BackendKind::plain() {
        if let Err(refused) = kind.backend().run(async || ()) {
            eprintln!("{kind}: skipped: {refused}");
            continue;
        }
        let temp = tempfile::tempdir().unwrap();
        starve(kind.name(), &kind.backend(), &temp.path().join("c"));
    }
}
