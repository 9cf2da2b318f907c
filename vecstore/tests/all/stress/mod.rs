//! Threads write, read, optimize and take snapshots of one collection, compared with a model in memory.
//!
//! Each writer owns its ids, so it knows their state exactly. The model keeps every state with the sequence
//! number that the store gave to its write. A read must have seen the states of all owners at one such
//! number. That number lies between the last write acknowledged before the read began and the last write
//! begun before it ended (`timeline.rs`).
//!
//! `VECSTORE_STRESS_SEEDS=100` runs more seeds, and `VECSTORE_STRESS_SEED=7` only one. Runs of a seed differ
//! by the scheduling of threads. `VECSTORE_STRESS_WRITES=5000` makes them longer. A seed also determines the
//! backend.

mod points;
mod reader;
mod timeline;
mod upkeep;
mod writer;

use crate::common::backends::startable;
use crate::common::collections::contents;
use crate::common::steps::{number, seeds};
use io_core::{DynBackend, StopFlag};
use points::Shape;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use timeline::{Points, Timeline};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions};

/// Runs of the short form. Each uses the next backend.
const SEEDS: u64 = 5;
/// Threads that write, each to its own ids.
const WRITERS: usize = 3;
/// Writes of each writer in a session.
const WRITES: u64 = 60;
/// Threads that read.
const READERS: usize = 2;
/// Times that the collection is opened.
const SESSIONS: u64 = 3;

/// The state that the threads of a run share.
struct Run {
    seed: u64,
    backend: DynBackend,
    /// The directory of the collection, its snapshots and their restored copies.
    root: PathBuf,
    shape: Shape,
    options: CollectionOptions,
    timeline: Timeline,
    /// Number of writers that have not finished.
    writing: AtomicU64,
    failed: AtomicBool,
    operations: AtomicU64,
    /// The last operations, for the error message.
    last: Mutex<VecDeque<String>>,
}

impl Run {
    fn new(kind: BackendKind, seed: u64, root: &Path) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut any = |numbers: &[usize]| *random.choice(numbers).unwrap();
        let options = CollectionOptions {
            cores: any(&[1, 2, 3]),
            reads_per_core: any(&[1, 4]),
            background: any(&[0, 1, 1, 1]) == 1,
            seal_points: any(&[10, 30, 100]),
            seal_log_bytes: any(&[5_000, 1 << 20]) as u64,
            segments_max: any(&[1, 2, 4]),
            segment_points_max: any(&[60, 10_000, 10_000]) as u32,
            vacuum_ratio: any(&[5, 30, 100]) as f64 / 100.0,
            ..CollectionOptions::default()
        };
        let ids = any(&[15, 40, 150]);
        Self {
            seed,
            backend: kind.backend(),
            root: root.to_owned(),
            shape: Shape::random(WRITERS, ids, &mut random),
            options,
            timeline: Timeline::new(WRITERS),
            writing: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.join("c")
    }

    /// A random number generator for one thread.
    fn random(&self, session: u64, thread: usize) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed << 32 | session << 8 | thread as u64)
    }

    /// Whether readers and upkeep should continue.
    fn goes_on(&self) -> bool {
        self.writing.load(Ordering::SeqCst) > 0 && !self.has_failed()
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Records the start of an operation.
    fn note(&self, what: String) {
        const LAST: usize = 60;
        self.operations.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap();
        if last.len() == LAST {
            last.pop_front();
        }
        last.push_back(what);
    }

    /// Runs one thread's part. If it fails, the others stop.
    fn part(&self, work: impl FnOnce()) {
        struct Failing<'a>(&'a AtomicBool);
        impl Drop for Failing<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(std::thread::panicking(), Ordering::SeqCst);
            }
        }
        let _failing = Failing(&self.failed);
        work();
    }

    /// Opens the collection, runs all threads, and closes it.
    fn session(&self, session: u64, writes: u64) {
        let collection = if session == 0 {
            Collection::create(&self.backend, &self.dir(), &self.shape.schema, &self.options).unwrap()
        } else {
            Collection::open(&self.backend, &self.dir(), &self.options).unwrap()
        };
        self.writing.store(WRITERS as u64, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for owner in 0..WRITERS {
                let (collection, random) = (&collection, self.random(session, owner));
                scope.spawn(move || {
                    self.part(|| writer::write(self, collection, owner, writes, random));
                    self.writing.fetch_sub(1, Ordering::SeqCst);
                });
            }
            for reader in 0..READERS {
                let (collection, random) = (&collection, self.random(session, WRITERS + reader));
                scope.spawn(move || self.part(|| reader::read(self, collection, random)));
            }
            let (collection, random) = (&collection, self.random(session, WRITERS + READERS));
            scope.spawn(move || self.part(|| upkeep::keep_up(self, collection, session, random)));
        });
        self.check_all(&collection);
        collection.close().unwrap();
        self.verify(&self.dir());
    }

    /// Fails unless the collection holds exactly what the writers left.
    fn check_all(&self, collection: &Collection) {
        let expected: BTreeMap<_, _> =
            self.timeline.latest().iter().map(|(id, point)| (*id, (**point).clone())).collect();
        assert!(contents(collection).unwrap() == expected, "what is there is not what was written");
        assert_eq!(collection.info().unwrap().points, expected.len() as u64);
    }

    fn verify(&self, dir: &Path) {
        let report = Collection::verify(&self.backend, dir, &StopFlag::new()).unwrap();
        assert!(report.problems.is_empty(), "{}: {:?}", dir.display(), report.problems);
    }
}

/// Opens a collection without writers, and returns its content.
fn opened_contents(run: &Run, dir: &Path, read_only: bool) -> Points {
    let options = CollectionOptions { cores: 1, background: false, read_only, ..run.options.clone() };
    let collection = Collection::open(&run.backend, dir, &options).unwrap();
    let found = contents(&collection).unwrap();
    collection.close().unwrap();
    found.into_iter().map(|(id, point)| (id, point.into())).collect()
}

/// Runs a seed. Returns the number of operations.
fn stress(kind: BackendKind, seed: u64, writes: u64) -> u64 {
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let run = Run::new(kind, seed, temp.path());
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for session in 0..SESSIONS {
            run.session(session, writes);
        }
        let collection = Collection::open(&run.backend, &run.dir(), &run.options).unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        run.check_all(&collection);
        collection.close().unwrap();
        run.verify(&run.dir());
        assert!(opened_contents(&run, &run.dir(), true) == *run.timeline.latest());
    }));
    if done.is_err() {
        let last = run.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last: Vec<&str> = last.iter().map(String::as_str).collect();
        panic!(
            "VECSTORE_STRESS_SEED={seed}, on {kind}, {:?}, {:?}; what was left is in {}; last of {} operations:\n{}",
            run.shape.schema,
            run.options,
            temp.keep().display(),
            run.operations.load(Ordering::Relaxed),
            last.join("\n")
        );
    }
    run.operations.load(Ordering::Relaxed)
}

#[test]
fn what_threads_see_of_each_other_is_what_was_written() {
    let kinds = startable();
    let writes = number("VECSTORE_STRESS_WRITES").unwrap_or(WRITES);
    for seed in seeds("VECSTORE_STRESS_SEED", "VECSTORE_STRESS_SEEDS", SEEDS) {
        let kind = kinds[seed as usize % kinds.len()];
        let operations = stress(kind, seed, writes);
        assert!(operations >= WRITERS as u64 * SESSIONS * writes, "seed {seed}: {operations} operations");
    }
}
