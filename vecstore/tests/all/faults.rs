//! EIO, a full disk and short transfers at every operation of random workloads. Each gives an error or is
//! handled. The collection then works or is cleanly read-only. No acknowledged write is lost, even by a power
//! cut afterwards.
//!
//! `VECSTORE_FAULT_SEEDS=20` runs more workloads, and `VECSTORE_FAULT_SEED=1` only one.

use crate::common::collections::quiet as options;
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, Selection,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::point::{Point, PointId};

const DIR: &str = "/c";
const SEEDS: u64 = 4;
const STEPS: u32 = 9;

type Model = BTreeMap<PointId, f32>;

fn open(disk: &SimulatedDisk) -> Result<Collection, Error> {
    Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options())
}

fn contents(collection: &Collection) -> Result<Model, Error> {
    let request = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let page = collection.scroll(request).wait()?;
    let value = |record: vecstore::collection::Record| {
        let (vector, payload) = (record.vector.unwrap(), record.payload.unwrap());
        assert_eq!(payload["x"], json!(f64::from(vector[0])), "a payload and a vector of one point");
        (record.id, vector[0])
    };
    Ok(page.records.into_iter().map(value).collect())
}

/// The outcome of a workload.
struct Outcome {
    disk: SimulatedDisk,
    /// The content at the end, by the acknowledged writes.
    live: Model,
    /// The possible contents after a reopening. Failed writes may be there, whole.
    possible: Vec<Model>,
    failed: usize,
}

/// Runs a deterministic workload. A fault may end it early.
fn run(seed: u64, fault: Option<DiskFault>) -> Outcome {
    let disk = SimulatedDisk::new(seed);
    let backend = DynBackend::new(disk.clone());
    let schema = crate::new_schema(2).index("t", FieldKind::Keyword);
    let mut collection = Some(Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap());
    disk.set_fault(fault);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut live, mut failed) = (Model::new(), 0);
    let mut possible = vec![Model::new()];
    for step in 0..STEPS {
        let mut after = live.clone();
        let mut change = |act: &dyn Fn(&mut Model)| {
            act(&mut after);
            let changed: Vec<Model> = possible
                .iter()
                .map(|model| {
                    let mut model = model.clone();
                    act(&mut model);
                    model
                })
                .collect();
            changed
        };
        let (result, changed) = match random.u32(..10) {
            0 | 1 => (collection.as_ref().unwrap().optimize(|_| {}).wait().map(drop), None),
            2 => {
                let closed = collection.take().unwrap().close();
                match open(&disk) {
                    Ok(opened) => collection = Some(opened),
                    // The fault happened during opening. The next attempt works, unless the disk is full.
                    Err(_) => {
                        disk.set_fault(None);
                        collection = Some(open(&disk).unwrap());
                    }
                }
                // A failed write may be there after the reopening.
                let found = contents(collection.as_ref().unwrap());
                if let Ok(found) = found {
                    assert!(possible.contains(&found), "step {step}: {found:?} after reopening");
                    live = found.clone();
                    possible = vec![found];
                }
                (closed, None)
            }
            3 | 4 => {
                let ids: Vec<PointId> = (0..3).map(|_| PointId::Num(random.u64(..12))).collect();
                let changed = change(&|model| model.retain(|id, _| !ids.contains(id)));
                let deleted = collection.as_ref().unwrap().delete(Selection::Ids(ids), Durability::Synced);
                (deleted.wait().map(drop), Some(changed))
            }
            5 => {
                let filter = Filter::must(Condition::matches("t", "even"));
                let even = |id: &PointId| matches!(id, PointId::Num(id) if id % 2 == 0);
                let changed = change(&|model| model.retain(|id, _| !even(id)));
                let selection = Selection::Filter(filter);
                let deleted = collection.as_ref().unwrap().delete(selection, Durability::Synced);
                (deleted.wait().map(drop), Some(changed))
            }
            _ => {
                let points: BTreeMap<u64, f32> =
                    (0..4).map(|_| (random.u64(..12), f32::from(random.u8(..)))).collect();
                let changed =
                    change(&|model| model.extend(points.iter().map(|(id, x)| (PointId::Num(*id), *x))));
                let point = |(id, x): (&u64, &f32)| {
                    let parity = if id % 2 == 0 { "even" } else { "odd" };
                    Point::new(*id, vec![*x, 0.0]).with_payload(json!({"t": parity, "x": f64::from(*x)}))
                };
                let points = points.iter().map(point).collect();
                let put = collection.as_ref().unwrap().upsert(points, Durability::Synced);
                (put.wait().map(drop), Some(changed))
            }
        };
        match (result, changed) {
            (Ok(()), Some(changed)) => (live, possible) = (after, changed),
            (Ok(()), None) => {}
            (Err(Error::ReadOnly { .. }), _) => failed += 1,
            (Err(_), changed) => {
                failed += 1;
                possible.extend(changed.into_iter().flatten());
                possible.dedup();
            }
        }
        // Reads return the acknowledged content or an error.
        if let Ok(found) = contents(collection.as_ref().unwrap()) {
            assert_eq!(found, live, "step {step}");
        }
    }
    let hit = fault.is_none() || disk.has_failed();
    disk.set_fault(None);
    let collection = collection.unwrap();
    assert_eq!(contents(&collection).unwrap(), live, "reading works again");
    // The collection works, or is read-only and says so.
    match collection
        .upsert(vec![Point::new(77, vec![7.0, 0.0]).with_payload(json!({"x": 7.0}))], Durability::Synced)
        .wait()
    {
        Ok(_) => {
            live.insert(PointId::Num(77), 7.0);
            for model in &mut possible {
                model.insert(PointId::Num(77), 7.0);
            }
        }
        Err(Error::ReadOnly { reason }) => {
            assert!(hit && reason.contains("open the collection again"), "{reason}");
        }
        Err(error) => panic!("neither usable nor read-only: {error}"),
    }
    let _ = collection.close();
    Outcome { disk, live, possible, failed }
}

fn check(seed: u64, fault: Option<DiskFault>) -> Outcome {
    let outcome = run(seed, fault);
    let closed = outcome.disk.history_len();
    let check = |what: &str, disk: &SimulatedDisk| {
        let collection = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = contents(&collection).unwrap();
        assert!(outcome.possible.contains(&found), "{what}: {found:?}, possible {:?}", outcome.possible);
    };
    let after_a_power_cut = outcome.disk.crash(closed, SimulatedDisk::LOSE_ALL);
    check("after closing", &outcome.disk);
    check("after a power cut", &after_a_power_cut);
    // Opening has removed what an earlier run left behind.
    for changes in closed + 1..=outcome.disk.history_len() {
        for fate in 0..2 {
            let cut = outcome.disk.crash(changes, fate + seed * 100 + changes as u64);
            check(
                &format!("power cut after {changes} changes, {} of them at opening", changes - closed),
                &cut,
            );
        }
    }
    outcome
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
fn a_fault_at_any_operation_loses_nothing_acknowledged() {
    let seeds = match number("VECSTORE_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VECSTORE_FAULT_SEEDS").unwrap_or(SEEDS),
    };
    let (mut points, mut failed) = (0, 0);
    for seed in seeds {
        let clean = check(seed, None);
        assert_eq!((clean.failed, &clean.possible), (0, &vec![clean.live.clone()]));
        let operations = clean.disk.operations();
        for at in 0..operations {
            for kind in
                [FaultKind::Io, FaultKind::NoSpace, FaultKind::TooLarge, FaultKind::Short, FaultKind::Landed]
            {
                let checked = std::panic::catch_unwind(|| check(seed, Some(DiskFault::new(at, kind))));
                match checked {
                    Ok(outcome) => {
                        assert!(
                            kind != FaultKind::Short || outcome.failed == 0,
                            "a short transfer is carried on"
                        );
                        failed += usize::from(outcome.failed > 0);
                    }
                    Err(_) => panic!("VECSTORE_FAULT_SEED={seed}: {kind:?} at operation {at}"),
                }
                points += 1;
            }
        }
    }
    assert!(failed > points / 20, "most faults went unnoticed: {failed} of {points}");
}

/// A leftover that cannot be removed does not prevent writing.
#[test]
fn a_leftover_that_stays_hinders_no_writer() {
    let disk = SimulatedDisk::new(9);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options()).unwrap();
    let put = |collection: &Collection, id: u64| {
        collection.upsert(vec![Point::new(id, vec![1.0, 2.0])], Durability::Synced).wait().unwrap();
    };
    put(&collection, 1);
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    // It has the number of the next segment.
    let leftover = Path::new(DIR).join("segment-000002");
    disk.create_dir(&leftover).unwrap();
    disk.write(&leftover.join("vectors.vec"), b"half a file").unwrap();
    let copy = || disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    let sound = copy();
    let begun = sound.operations();
    drop(open(&sound).unwrap());
    assert!(sound.list(&leftover).is_err(), "it is removed where that is possible");
    let mut stayed = 0;
    for at in begun..sound.operations() {
        let disk = copy();
        disk.set_fault(Some(DiskFault::new(at, FaultKind::Denied)));
        let opened = open(&disk);
        disk.set_fault(None);
        // Otherwise an operation other than its removal failed.
        let Ok(collection) = opened else { continue };
        let is_left = disk.list(&leftover).is_ok();
        put(&collection, 2);
        collection.optimize(|_| {}).wait().unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(collection.count(None).wait().unwrap(), 2);
        let told = &collection.open_report().not_removed;
        assert_eq!(told.len(), usize::from(is_left), "{at}: {told:?}");
        assert!(told.iter().all(|told| told.contains("segment-000002")), "{at}: {told:?}");
        stayed += told.len();
        collection.close().unwrap();
    }
    // Listing it, removing its file, and removing itself.
    assert_eq!(stayed, 3);
}

/// An entry in the place of the next manifest would make every write fail. Opening therefore fails, and says
/// what to remove. An entry in the place of a snapshot prevents only snapshots.
#[test]
fn what_stays_in_the_place_of_a_temporary_file_is_told_at_opening() {
    let disk = SimulatedDisk::new(10);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options()).unwrap();
    let put = |collection: &Collection, id: u64| {
        collection.upsert(vec![Point::new(id, vec![1.0, 2.0])], Durability::Synced).wait()
    };
    put(&collection, 1).unwrap();
    collection.close().unwrap();
    let planted = |name: &str, plant: fn(&SimulatedDisk, &Path)| {
        let disk = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        plant(&disk, &Path::new(DIR).join(name));
        disk
    };
    let directory = |disk: &SimulatedDisk, path: &Path| disk.create_dir(path).unwrap();
    let file = |disk: &SimulatedDisk, path: &Path| disk.write(path, b"half a file").unwrap();

    let disk = planted("MANIFEST.new", directory);
    let leftover = Path::new(DIR).join("segment-000009");
    disk.create_dir(&leftover).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(&error, Error::InTheWay { path, .. } if path.ends_with("MANIFEST.new")), "{error}");
    assert!(error.to_string().contains("/c/MANIFEST.new is there: remove it"), "{error}");
    assert!(disk.list(&leftover).is_ok(), "nothing else was removed");
    let reading = CollectionOptions { read_only: true, ..options() };
    let reader = Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &reading).unwrap();
    assert_eq!(reader.count(None).wait().unwrap(), 1);
    drop(reader);
    disk.remove_dir_all(&Path::new(DIR).join("MANIFEST.new")).unwrap();
    put(&open(&disk).unwrap(), 2).unwrap();

    for (name, plant) in [("SNAPSHOT.new", file as fn(&SimulatedDisk, &Path)), ("TORN.new", directory)] {
        let disk = planted(name, plant);
        let collection = open(&disk).unwrap();
        let [told] = &collection.open_report().not_removed[..] else { panic!("{name}: one is told of") };
        assert!(told.contains(name) && told.contains("as long as it is there"), "{told}");
        put(&collection, 2).unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        let snapshot = collection.snapshot(Path::new("/snapshot")).wait();
        assert_eq!(snapshot.is_err(), name == "SNAPSHOT.new", "{name}: {snapshot:?}");
        collection.close().unwrap();
        assert_eq!(open(&disk).unwrap().count(None).wait().unwrap(), 2);
    }
}
