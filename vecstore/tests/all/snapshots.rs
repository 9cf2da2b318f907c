//! Snapshots, and restoring them.

use crate::common::collections::{Model, backend, open};
use crate::samples::{DIR, contents, files, opened_contents, point, sample};
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, StopFlag};
use std::path::Path;
use vecstore::collection::{Collection, Durability, Selection};
use vecstore::error::Error;

#[test]
fn a_snapshot_is_a_collection_of_its_own() {
    let disk = SimulatedDisk::new(7);
    let expected = sample(&disk);
    let collection = open(&disk, DIR).unwrap();
    collection.upsert(vec![point(500)], Durability::Written).wait().unwrap();
    let expected: Model = expected.into_iter().chain([(point(500).id, point(500))]).collect();
    collection.snapshot(Path::new("/snap")).wait().unwrap();
    let again = collection.snapshot(Path::new("/snap")).wait().unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again}");
    // Later changes of the collection do not affect the snapshot.
    collection.delete(Selection::Filter(Default::default()), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), 0);
    collection.close().unwrap();
    Collection::restore(&backend(&disk), Path::new("/snap"), Path::new("/restored"), &StopFlag::new())
        .unwrap();
    // Changes of the restored collection do not affect it either.
    let restored = open(&disk, "/restored").unwrap();
    assert_eq!(contents(&restored), expected);
    restored.upsert(vec![point(501)], Durability::Synced).wait().unwrap();
    restored.optimize(|_| {}).wait().unwrap();
    restored.close().unwrap();
    let after = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL);
    let snapshot = open(&after, "/snap").unwrap();
    assert_eq!(contents(&snapshot), expected);
    assert_eq!(contents(&open(&after, "/restored").unwrap()).len(), expected.len() + 1);
}

#[test]
fn a_snapshot_is_whole_or_not_there() {
    let disk = SimulatedDisk::new(8);
    let expected = sample(&disk);
    let collection = open(&disk, DIR).unwrap();
    let begun = disk.history_len();
    collection.snapshot(Path::new("/snap")).wait().unwrap();
    collection.close().unwrap();
    for changes in begun..=disk.history_len() {
        for fate in 0..4 {
            let after = disk.crash(changes, fate);
            if after.list(Path::new("/snap")).is_ok() {
                assert_eq!(contents(&open(&after, "/snap").unwrap()), expected, "{changes}");
            }
            let collection = open(&after, DIR).unwrap();
            assert_eq!(contents(&collection), expected);
            drop(collection);
            let left =
                files(&after, Path::new(DIR)).iter().any(|path| path.to_str().unwrap().contains("SNAPSHOT"));
            assert!(!left, "{changes}");
        }
    }
    // A full disk at any operation gives an error and leaves nothing behind.
    let operations = disk.operations();
    for at in 0..60 {
        let disk = disk.crash(begun, SimulatedDisk::KEEP_ALL);
        let collection = open(&disk, DIR).unwrap();
        disk.set_fault(Some(DiskFault::new(disk.operations() + at, FaultKind::NoSpace)));
        let taken = collection.snapshot(Path::new("/snap")).wait();
        disk.set_fault(None);
        if taken.is_err() {
            assert!(disk.list(Path::new("/snap")).is_err());
            collection.snapshot(Path::new("/snap")).wait().unwrap();
        }
        assert_eq!(contents(&open(&disk, "/snap").unwrap()), expected);
    }
    assert!(operations > 60);
}

#[test]
fn a_copy_that_is_asked_to_stop_leaves_nothing() {
    let disk = SimulatedDisk::new(47);
    let expected = sample(&disk);
    let names = |disk: &SimulatedDisk| -> Vec<_> {
        disk.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect()
    };
    let before = files(&disk, Path::new(DIR));
    let collection = open(&disk, DIR).unwrap();
    let snapshot = collection.snapshot(Path::new("/snapshot"));
    snapshot.stop_flag().stop();
    let stopped = snapshot.wait();
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    collection.close().unwrap();
    let stop = StopFlag::new();
    stop.stop();
    let stopped = Collection::restore(&backend(&disk), Path::new(DIR), Path::new("/restored"), &stop);
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert_eq!((names(&disk), files(&disk, Path::new(DIR))), (vec!["c".into()], before));
    assert_eq!(opened_contents(&disk, DIR), expected);
}

#[test]
fn restoring_touches_nothing_beside_its_target() {
    let disk = SimulatedDisk::new(42);
    sample(&disk);
    let collection = open(&disk, DIR).unwrap();
    collection.snapshot(Path::new("/snapshot")).wait().unwrap();
    let expected = contents(&collection);
    drop(collection);
    for name in ["/r.new", "/r.restore"] {
        disk.create_dir(Path::new(name)).unwrap();
        disk.write(&Path::new(name).join("kept"), b"kept").unwrap();
    }
    Collection::restore(&backend(&disk), Path::new("/snapshot"), Path::new("/r"), &StopFlag::new()).unwrap();
    assert_eq!(contents(&open(&disk, "/r").unwrap()), expected);
    let names: Vec<_> = disk.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["c", "r", "r.new", "r.restore", "snapshot"]);
}

#[test]
fn what_lacks_a_file_is_not_restored() {
    let disk = SimulatedDisk::new(11);
    sample(&disk);
    open(&disk, DIR).unwrap().snapshot(Path::new("/snap")).wait().unwrap();
    let mut removed = 0;
    for file in files(&disk, Path::new("/snap")) {
        if file.ends_with("LOCK") {
            continue;
        }
        let disk = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        disk.remove_file(&file).unwrap();
        let (snapshot, target) = (Path::new("/snap"), Path::new("/restored"));
        let error = Collection::restore(&backend(&disk), snapshot, target, &StopFlag::new()).unwrap_err();
        let text = io_core::with_causes(&error).to_string();
        assert!(text.contains(file.to_str().unwrap()), "{} removed: {text}", file.display());
        assert!(disk.list(target).is_err(), "{} removed", file.display());
        removed += 1;
    }
    assert!(removed > 8, "{removed} files");
}
