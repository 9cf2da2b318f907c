//! EIO, a full disk and short transfers in each real backend. `faults.rs` tries every operation of a
//! simulated disk, directories and syncs included. Here the reads and writes of a backend fail while others
//! are in flight in its runtime.

use crate::common::backends::{faulty, startable};
use crate::common::collections::quiet;
use io_core::testing::Faults;
use io_core::{DynBackend, StopFlag};
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, ScrollRequest, SearchRequest, Selection,
};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

/// Points of a batch. Each batch is written once, and some are deleted.
const BATCH: u64 = 30;
const BATCHES: u64 = 6;
/// Places of a fault, over all transfers of a run.
const PLACES: u64 = 4;

/// What must be true of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
    /// A write failed, and may have reached the disk.
    Unknown,
}

/// An outcome of a run: the batches, and how many operations failed.
struct Outcome {
    fates: BTreeMap<u64, Fate>,
    failed: usize,
}

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, ..quiet() }
}

impl Outcome {
    /// Notes the result of a write that gives a batch this fate.
    fn wrote<T>(&mut self, batch: u64, fate: Fate, result: &Result<T, Error>) {
        let before = self.fates.get(&batch).copied().unwrap_or(Fate::Gone);
        let fate = match result {
            Ok(_) => fate,
            // Nothing was written.
            Err(Error::ReadOnly { .. }) => before,
            Err(_) => Fate::Unknown,
        };
        self.failed += usize::from(fate == Fate::Unknown);
        self.fates.insert(batch, fate);
    }

    /// Fails unless the batches are there as they must, and each is whole.
    fn check(&self, found: &[PointId], context: &str) {
        for (&batch, &fate) in &self.fates {
            let of_batch = |id: &&PointId| matches!(id, PointId::Num(id) if id / BATCH == batch);
            let count = found.iter().filter(of_batch).count() as u64;
            let allowed = match fate {
                Fate::There => count == BATCH,
                Fate::Gone => count == 0,
                Fate::Unknown => count == 0 || count == BATCH,
            };
            assert!(allowed, "{context}: {count} points of batch {batch}, which is {fate:?}");
        }
    }
}

fn ids(collection: &Collection) -> Result<Vec<PointId>, Error> {
    let request = ScrollRequest { limit: 10_000, ..ScrollRequest::default() };
    Ok(collection.scroll(request).wait()?.records.into_iter().map(|record| record.id).collect())
}

fn vector(id: u64) -> Vec<f32> {
    vec![(id as f32).cos(), (id as f32).sin()]
}

/// Writes, deletes, seals and merges through this backend, in two sessions.
fn run(backend: &DynBackend, dir: &Path, context: &str) -> Outcome {
    let mut outcome = Outcome { fates: BTreeMap::new(), failed: 0 };
    for session in 0..2 {
        let Ok(collection) = Collection::open(backend, dir, &options()) else {
            outcome.failed += 1;
            continue;
        };
        for batch in session * BATCHES / 2..(session + 1) * BATCHES / 2 {
            let points = (batch * BATCH..(batch + 1) * BATCH).map(|id| Point::new(id, vector(id))).collect();
            outcome.wrote(batch, Fate::There, &collection.upsert(points, Durability::Synced).wait());
            outcome.failed += usize::from(collection.seal(|_| {}).wait().is_err());
            if let Ok(found) = ids(&collection) {
                outcome.check(&found, context);
            }
        }
        let deleted = session * BATCHES / 2;
        let of_batch = (deleted * BATCH..(deleted + 1) * BATCH).map(PointId::Num).collect();
        let delete = collection.delete(Selection::Ids(of_batch), Durability::Synced);
        outcome.wrote(deleted, Fate::Gone, &delete.wait());
        outcome.failed += usize::from(collection.optimize(|_| {}).wait().is_err());
        for batch in 0..BATCHES {
            let id = batch * BATCH;
            match collection.search(SearchRequest { limit: 1, ..SearchRequest::new(vector(id)) }).wait() {
                Ok(found) if outcome.fates.get(&batch) == Some(&Fate::There) => {
                    assert_eq!(found.hits[0].id, PointId::Num(id), "{context}");
                }
                Ok(_) => {}
                Err(_) => outcome.failed += 1,
            }
        }
        outcome.failed += usize::from(collection.close().is_err());
    }
    outcome
}

/// Runs with faults, and opens the collection again without them. Returns how many operations failed, and
/// the number of transfers.
fn check(kind: BackendKind, faults: Faults) -> (usize, u64) {
    let context = format!("{kind}, {faults:?}");
    let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = temp.path().join("c");
    let sound = kind.backend();
    Collection::create(&sound, &dir, &crate::new_schema(2), &options()).unwrap().close().unwrap();
    let (backend, transfers) = faulty(kind, faults);
    let outcome = run(&backend, &dir, &context);
    let collection =
        Collection::open(&sound, &dir, &options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    outcome.check(&ids(&collection).unwrap(), &context);
    collection.upsert(vec![Point::new(1 << 20, vector(0))], Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let verified = Collection::verify(&sound, &dir, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{context}: {:?}", verified.problems);
    (outcome.failed, transfers())
}

#[test]
fn a_failed_transfer_of_any_backend_loses_nothing_acknowledged() {
    for kind in startable() {
        let (failed, transfers) = check(kind, Faults::default());
        assert_eq!(failed, 0, "{kind}");
        assert!(transfers > 4 * PLACES, "{kind}: {transfers} transfers");
        let (mut io_errors, mut full_disks) = (0, 0);
        for place in 0..PLACES {
            let at = place * transfers / PLACES;
            io_errors +=
                usize::from(check(kind, Faults { io_error_at: Some(at), ..Faults::default() }).0 > 0);
            full_disks +=
                usize::from(check(kind, Faults { no_space_from: Some(at), ..Faults::default() }).0 > 0);
        }
        assert_eq!(
            (io_errors, full_disks),
            (PLACES as usize, PLACES as usize),
            "{kind}: a fault was not told"
        );
        let repeated = Faults { seed: 1, short: 0.3, interrupted: 0.3, delay: 0.3, ..Faults::default() };
        assert_eq!(check(kind, repeated).0, 0, "{kind}: a short transfer is carried on");
    }
}
