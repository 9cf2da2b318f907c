//! The directory of an open collection is exchanged, moved or removed, or somebody removes its lock file.
//! What is there then belongs to another owner: nothing of it changes, and no write is acknowledged that
//! nobody would find.

use crate::common::collections::quiet as options;
use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, FileSystem, StopFlag};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, Durability, Selection};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

fn put(collection: &Collection, ids: std::ops::Range<u64>, durability: Durability) -> Result<(), Error> {
    let points = ids.map(|id| Point::new(id, vec![1.0, id as f32])).collect();
    collection.upsert(points, durability).wait().map(drop)
}

/// All files of a directory but the lock file, which names its owner.
fn tree(directory: &dyn Directory, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in directory.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            files.extend(tree(directory, &path));
            files.insert(path, Vec::new());
        } else if entry.name != "LOCK" {
            let bytes = directory.read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

type Act = fn(&Collection, &Path) -> Result<(), Error>;

/// All that writes.
const ACTS: [(&str, Act); 7] = [
    ("a write", |collection, _| put(collection, 60..70, Durability::Written)),
    ("a synced write", |collection, _| put(collection, 60..70, Durability::Synced)),
    ("a deletion", |collection, _| {
        collection.delete(Selection::Ids(vec![PointId::Num(3)]), Durability::Written).wait().map(drop)
    }),
    ("sync", |collection, _| collection.sync().wait()),
    ("seal", |collection, _| collection.seal(|_| {}).wait().map(drop)),
    ("optimize", |collection, _| collection.optimize(|_| {}).wait().map(drop)),
    ("snapshot", |collection, root| collection.snapshot(&root.join("snapshot")).wait()),
];

/// What happens to the directory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Exchanged,
    LockRemoved,
    Removed,
}

/// An open collection with segments and two writes in its log, to which something happened, and the
/// collection of the other owner.
fn displaced(backend: &DynBackend, root: &Path, event: Event) -> (Collection, Option<Collection>) {
    let (directory, dir) = (backend.directory(), root.join("c"));
    let collection = Collection::create(backend, &dir, &crate::new_schema(2), &options()).unwrap();
    put(&collection, 0..20, Durability::Synced).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    put(&collection, 10..30, Durability::Synced).unwrap();
    let copy = root.join("copy");
    collection.snapshot(&copy).wait().unwrap();
    put(&collection, 30..40, Durability::Synced).unwrap();
    match event {
        Event::Exchanged => {
            directory.rename(&dir, &root.join("old")).unwrap();
            Collection::restore(backend, &copy, &dir, &StopFlag::new()).unwrap();
        }
        Event::LockRemoved => directory.remove_file(&dir.join("LOCK")).unwrap(),
        Event::Removed => {
            directory.remove_dir_all(&dir).unwrap();
            return (collection, None);
        }
    }
    let other = Collection::open(backend, &dir, &options()).unwrap();
    // Files with the numbers that the first owner would give too.
    put(&other, 100..120, Durability::Synced).unwrap();
    // Without its lock file the first owner still has the log open that the other one has read.
    if event == Event::Exchanged {
        other.seal(|_| {}).wait().unwrap();
    }
    put(&other, 120..130, Durability::Synced).unwrap();
    (collection, Some(other))
}

fn check(backend: &DynBackend, root: &Path, event: Event, (act, does): (&str, Act)) {
    let what = format!("{event:?}, {act}, {}", root.display());
    let (directory, dir) = (backend.directory(), root.join("c"));
    let (collection, other) = displaced(backend, root, event);
    let before = other.as_ref().map(|_| tree(&*directory, &dir));
    let error = does(&collection, root).expect_err(&what);
    // Reading segments that are not the ones that it knows may fail first.
    let is_told = |error: &Error| matches!(error, Error::Displaced { collection } if *collection == dir);
    let read_first = ["seal", "optimize"].contains(&act);
    assert!(is_told(&error) || read_first, "{what}: {error}");
    // Whatever comes next.
    let error = put(&collection, 70..80, Durability::Written).expect_err(&what);
    let is_read_only =
        matches!(&error, Error::ReadOnly { reason } if reason.contains("open the collection again"));
    assert!(is_read_only || (read_first && is_told(&error)), "{what}: {error}");
    let _ = collection.close();
    let Some(other) = other else {
        assert!(directory.list(&dir).unwrap_err().is_not_found(), "{what}: nothing is made anew");
        return;
    };
    assert_eq!(Some(tree(&*directory, &dir)), before, "{what}");
    put(&other, 130..140, Durability::Synced).unwrap();
    other.close().unwrap();
    let verified = Collection::verify(backend, &dir, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{what}: {:?}", verified.problems);
    let count = |name: &str| {
        let collection = Collection::open(backend, &root.join(name), &options()).unwrap();
        collection.count(None).wait().unwrap()
    };
    let shared = if event == Event::LockRemoved { 40 } else { 30 };
    assert_eq!(count("c"), shared + 40, "{what}");
    if event == Event::Exchanged {
        assert_eq!(count("old"), 40, "{what}: the rest was not acknowledged");
    }
}

#[test]
fn what_is_in_the_place_of_an_open_collection_is_left_alone() {
    for event in [Event::Exchanged, Event::LockRemoved, Event::Removed] {
        for act in ACTS {
            let disk = SimulatedDisk::new(1);
            check(&DynBackend::new(disk), Path::new("/"), event, act);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_directory_of_the_system_that_was_exchanged_is_noticed_too() {
    for event in [Event::Exchanged, Event::LockRemoved, Event::Removed] {
        for act in [ACTS[0], ACTS[5]] {
            let temp = tempfile::tempdir().unwrap();
            check(&BackendKind::all()[0].backend(), temp.path(), event, act);
        }
    }
}

/// A collection that is closed once its directory is gone has lost its last writes, and says so.
#[test]
fn closing_tells_that_the_directory_is_gone() {
    let disk = SimulatedDisk::new(1);
    let (collection, _) = displaced(&DynBackend::new(disk), Path::new("/"), Event::Removed);
    assert!(matches!(collection.close(), Err(Error::Displaced { .. })));
}
