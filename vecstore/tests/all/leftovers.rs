//! Files in a collection's directory that the manifest does not name, under names that the collection would
//! give.

use crate::common::collections::quiet as options;
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend, StopFlag};
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, CollectionOptions, Durability, Selection};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

const DIR: &str = "/c";

fn open(disk: &SimulatedDisk) -> Result<Collection, Error> {
    Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options())
}

fn put(collection: &Collection, id: u64) {
    collection.upsert(vec![Point::new(id, vec![1.0, 2.0])], Durability::Synced).wait().unwrap();
}

/// A collection of one point, in a log.
fn sample() -> SimulatedDisk {
    let disk = SimulatedDisk::new(3);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options()).unwrap();
    put(&collection, 1);
    collection.close().unwrap();
    disk
}

fn copy(disk: &SimulatedDisk) -> SimulatedDisk {
    disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL)
}

fn at(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Neither a loop over all numbers up to it, nor a log of the number that follows.
#[test]
fn an_empty_log_of_a_great_number_costs_nothing() {
    let sample = sample();
    for number in [100_000, 1_000_000_000_000, u64::MAX / 2 - 1, u64::MAX / 2, u64::MAX] {
        let (disk, name) = (copy(&sample), format!("log-{number}.wal"));
        disk.write(&at(&name), b"").unwrap();
        let verified =
            Collection::verify(&DynBackend::new(disk.clone()), Path::new(DIR), &StopFlag::new()).unwrap();
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        assert!(verified.notes.iter().any(|note| note.contains(&name)), "{:?}", verified.notes);
        let reading = CollectionOptions { read_only: true, ..options() };
        let reader = Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &reading).unwrap();
        assert_eq!(reader.count(None).wait().unwrap(), 1);
        drop(reader);
        assert!(disk.entry(&at(&name)).is_ok(), "a reader changes nothing");
        let begun = disk.operations();
        let collection = open(&disk).unwrap();
        put(&collection, 2);
        collection.optimize(|_| {}).wait().unwrap();
        put(&collection, 3);
        collection.close().unwrap();
        let operations = disk.operations() - begun;
        assert!(operations < 1000, "{name}: {operations} operations");
        assert!(disk.entry(&at(&name)).unwrap_err().is_not_found(), "{name} is a leftover");
        assert_eq!(open(&disk).unwrap().count(None).wait().unwrap(), 3);
    }
}

/// A log that was never begun and cannot be removed: the next log gets another number.
#[test]
fn a_log_that_stays_hinders_no_writer() {
    let sample = sample();
    let name = "log-000002.wal";
    sample.write(&at(name), b"").unwrap();
    let sound = copy(&sample);
    let begun = sound.operations();
    drop(open(&sound).unwrap());
    let mut stayed = 0;
    for operation in begun..sound.operations() {
        let disk = copy(&sample);
        disk.set_fault(Some(DiskFault::new(operation, FaultKind::Denied)));
        let opened = open(&disk);
        disk.set_fault(None);
        let Ok(collection) = opened else { continue };
        let told = collection.open_report().not_removed.clone();
        if disk.entry(&at(name)).is_err() || told.is_empty() {
            continue;
        }
        assert!(told[0].contains(name), "{told:?}");
        stayed += 1;
        put(&collection, 2);
        collection.close().unwrap();
        assert_eq!(disk.read(&at(name)).unwrap(), b"");
        let collection = open(&disk).unwrap();
        assert!(disk.entry(&at(name)).is_err(), "the next opening tries again");
        assert_eq!(collection.count(None).wait().unwrap(), 2);
    }
    assert_eq!(stayed, 1);
}

/// What failed to be created since its name was taken is not removed: it is somebody else's.
#[test]
fn what_has_a_name_already_is_not_removed() {
    let disk = sample();
    let collection = open(&disk).unwrap();
    put(&collection, 2);
    collection.optimize(|_| {}).wait().unwrap();
    let plant = |name: &str| disk.write(&at(name), b"somebody else's").unwrap();
    let is_left = |name: &str| disk.read(&at(name)).is_ok_and(|bytes| bytes == b"somebody else's");
    // The log of the next write gets another number.
    plant("log-000003.wal");
    put(&collection, 3);
    assert!(is_left("log-000003.wal"));
    // The next segment.
    disk.create_dir(&at("segment-000002")).unwrap();
    plant("segment-000002/vectors.vec");
    let error = collection.seal(|_| {}).wait().unwrap_err().to_string();
    assert!(error.contains("cannot create /c/segment-000002"), "{error}");
    assert!(is_left("segment-000002/vectors.vec"));
    collection.seal(|_| {}).wait().unwrap();
    assert!(disk.entry(&at("segment-000003/segment.json")).is_ok());
    // The list of deleted points, beside segment 4.
    collection.delete(Selection::Ids(vec![PointId::Num(1)]), Durability::Synced).wait().unwrap();
    put(&collection, 4);
    plant("segment-000001/deleted-000005.pages");
    assert!(collection.seal(|_| {}).wait().is_err());
    assert!(is_left("segment-000001/deleted-000005.pages"));
    collection.seal(|_| {}).wait().unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), 3);
    collection.close().unwrap();
    assert_eq!(open(&disk).unwrap().count(None).wait().unwrap(), 3);
}

/// A power cut may bring back a log that was removed, since nobody syncs the removal. If its only write
/// failed, no segment holds a write of it, and none is missing.
#[test]
fn a_log_whose_only_write_failed_may_come_back() {
    let mut failed = 0;
    for fault in [FaultKind::NoSpace, FaultKind::Io] {
        for operation in 0..20 {
            let disk = SimulatedDisk::new(operation);
            let backend = DynBackend::new(disk.clone());
            let collection =
                Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options()).unwrap();
            disk.set_fault(Some(DiskFault::new(disk.operations() + operation, fault)));
            let put = collection.upsert(vec![Point::new(1, vec![1.0, 2.0])], Durability::Synced).wait();
            disk.set_fault(None);
            failed += u32::from(put.is_err());
            let before = disk.history_len();
            // After a failed sync it fails too.
            let _ = collection.optimize(|_| {}).wait();
            let _ = collection.close();
            for changes in before..=disk.history_len() {
                let after = disk.crash(changes, SimulatedDisk::KEEP_ALL);
                let told = format!("{fault:?} at operation {operation}, {changes} changes");
                let opened = open(&after).unwrap_or_else(|error| panic!("{told}: {error:?}"));
                let count = opened.count(None).wait().unwrap();
                assert!(count == 1 || put.is_err() && count == 0, "{told}: {count} points");
            }
        }
    }
    assert!(failed > 5, "only {failed} writes failed");
}
