//! Flipped bits, missing files and wrong ones: found, named, and repaired as far as they can be. And snapshots.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{BackendFactory, Directory, DynBackend, StopFlag};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vecstore::collection::{
    Collection, CollectionOptions, Durability, PayloadChange, ScrollRequest, Selection, VerifyReport, With,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const DIR: &str = "/c";

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, lanes: 1, background: false, ..CollectionOptions::default() }
}

fn backend(disk: &SimulatedDisk) -> DynBackend {
    DynBackend::new(disk.clone())
}

fn open(disk: &SimulatedDisk, dir: &str) -> Result<Collection, Error> {
    Collection::open(&backend(disk), Path::new(dir), &options())
}

fn point(id: u64) -> Point {
    let payload = json!({"t": format!("t{}", id % 4), "n": id, "text": "x".repeat(id as usize % 50)});
    let id = if id.is_multiple_of(5) { PointId::Uuid(u128::from(id)) } else { PointId::Num(id) };
    Point { id, ..Point::new(0, vec![1.0, id_number(id), 3.0]) }.with_payload(payload)
}

fn id_number(id: PointId) -> f32 {
    match id {
        PointId::Num(id) => id as f32,
        PointId::Uuid(id) => id as f32,
    }
}

fn contents(collection: &Collection) -> BTreeMap<PointId, Point> {
    let request = ScrollRequest { limit: 10_000, with: With::ALL, ..ScrollRequest::default() };
    let point = |record: vecstore::collection::Record| Point {
        id: record.id,
        vector: record.vector.unwrap(),
        payload: record.payload.unwrap(),
    };
    collection.scroll(request).wait().unwrap().records.into_iter().map(point).map(|p| (p.id, p)).collect()
}

/// A collection with a segment, deleted points written down, and a log; and what it holds.
fn sample(disk: &SimulatedDisk) -> BTreeMap<PointId, Point> {
    let schema = Schema::new(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let collection = Collection::create(&backend(disk), Path::new(DIR), &schema, &options()).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
    };
    put(0..200);
    collection.optimize(|_| {}).wait().unwrap();
    // Replaced points, which a snapshot of the state of the segment has to know of.
    collection
        .delete(Selection::Ids((0..20).map(PointId::Num).collect()), Durability::Synced)
        .wait()
        .unwrap();
    put(200..230);
    let fields = json!({"changed": true}).as_object().unwrap().clone();
    let some = Selection::Ids(vec![PointId::Num(31), PointId::Num(202)]);
    collection.change_payload(some, PayloadChange::Merge(fields), Durability::Synced).wait().unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

/// The same with two segments, a file of deleted points and three logs.
fn large_sample(disk: &SimulatedDisk) -> BTreeMap<PointId, Point> {
    sample(disk);
    let collection = open(disk, DIR).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    for ids in [20..30, 300..310, 310..320] {
        let collection = open(disk, DIR).unwrap();
        for id in ids {
            collection.upsert(vec![point(id)], Durability::Synced).wait().unwrap();
        }
        collection.close().unwrap();
    }
    let collection = open(disk, DIR).unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

fn files(disk: &SimulatedDisk, dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(entry.name);
        if entry.is_dir { all.extend(files(disk, &path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn verify(disk: &SimulatedDisk) -> VerifyReport {
    Collection::verify(&backend(disk), Path::new(DIR), &StopFlag::new()).unwrap()
}

fn with_file(disk: &SimulatedDisk, path: &Path, bytes: &[u8]) -> SimulatedDisk {
    let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    copy.write(path, bytes).unwrap();
    copy
}

#[test]
fn a_sound_collection_verifies() {
    let disk = SimulatedDisk::new(1);
    sample(&disk);
    let before = disk.history_len();
    let report = verify(&disk);
    assert!(report.problems.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.points, 200);
    let all = files(&disk, Path::new(DIR));
    let bytes: usize = all.iter().map(|path| disk.read(path).unwrap().len()).sum();
    // All but the lock file.
    assert_eq!((report.files, report.bytes), (all.len() as u64 - 1, bytes as u64));
    assert_eq!(disk.history_len(), before, "verifying changes nothing");
    let _open = open(&disk, DIR).unwrap();
    let in_use = Collection::verify(&backend(&disk), Path::new(DIR), &StopFlag::new());
    assert!(matches!(in_use.unwrap_err(), Error::InUse(_)));
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_its_file_named() {
    let disk = SimulatedDisk::new(2);
    sample(&disk);
    let mut flips = 0;
    for path in files(&disk, Path::new(DIR)).into_iter().filter(|path| !path.ends_with("LOCK")) {
        let whole = disk.read(&path).unwrap();
        // Every byte of the small files, some of each page of the others.
        let step = (whole.len() / 60).max(1);
        for byte in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << (byte % 8);
            let report = verify(&with_file(&disk, &path, &flipped));
            let name = path.to_str().unwrap();
            let named = report.problems.iter().any(|problem| problem.to_string().contains(name));
            assert!(named, "byte {byte} of {name}: {:?}", report.problems);
            flips += 1;
        }
    }
    assert!(flips > 500, "{flips}");
}

/// Damage to one file hides no damage to another one.
#[test]
fn of_two_damaged_files_both_are_named() {
    let disk = SimulatedDisk::new(11);
    large_sample(&disk);
    let all: Vec<PathBuf> = files(&disk, Path::new(DIR))
        .into_iter()
        .filter(|p| !p.ends_with("LOCK") && !p.ends_with("MANIFEST"))
        .collect();
    assert!(all.len() == 18 && all.iter().any(|path| path.to_str().unwrap().contains("deleted-")), "{all:?}");
    for (index, first) in all.iter().enumerate() {
        for second in &all[..index] {
            let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
            for path in [first, second] {
                let mut bytes = disk.read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                copy.write(path, &bytes).unwrap();
            }
            let problems: Vec<String> = verify(&copy).problems.iter().map(ToString::to_string).collect();
            for path in &all {
                let named = problems.iter().any(|problem| problem.contains(path.to_str().unwrap()));
                assert_eq!(named, path == first || path == second, "{}: {problems:?}", path.display());
            }
        }
    }
}

#[test]
fn a_missing_or_cut_file_is_found_and_named() {
    let disk = SimulatedDisk::new(3);
    sample(&disk);
    for path in files(&disk, Path::new(DIR)) {
        if path.ends_with("LOCK") || path.ends_with("MANIFEST") {
            continue;
        }
        let name = path.to_str().unwrap();
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.remove_file(&path).unwrap();
        let missing = verify(&copy);
        // A log that is missing is one that nobody knows of, unless another one follows.
        let is_log = name.ends_with(".wal");
        assert!(
            is_log || missing.problems.iter().any(|problem| problem.to_string().contains(name)),
            "{name}"
        );
        if !is_log {
            let error = open(&copy, DIR).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let whole = disk.read(&path).unwrap();
        let cut = verify(&with_file(&disk, &path, &whole[..whole.len() - 5]));
        assert!(cut.problems.iter().any(|problem| problem.to_string().contains(name)), "{name}: {cut:?}");
    }
}

/// The log goes over several files; one that is missing, or is another one, is not passed over.
#[test]
fn a_missing_log_between_others_is_found() {
    let disk = SimulatedDisk::new(10);
    sample(&disk);
    for id in [600, 601] {
        let collection = open(&disk, DIR).unwrap();
        collection.upsert(vec![point(id)], Durability::Synced).wait().unwrap();
        collection.close().unwrap();
    }
    let logs: Vec<PathBuf> = files(&disk, Path::new(DIR))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    assert_eq!(logs.len(), 3);
    for (index, path) in logs.iter().take(2).enumerate() {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.remove_file(path).unwrap();
        let next = logs[index + 1].to_str().unwrap();
        let error = open(&copy, DIR).unwrap_err().to_string();
        assert!(error.contains(next) && error.contains("missing"), "{error}");
        assert!(verify(&copy).problems.iter().any(|problem| problem.to_string().contains(next)));
    }
    let swapped = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    swapped.rename(&logs[2], &logs[1]).unwrap();
    let error = open(&swapped, DIR).unwrap_err().to_string();
    assert!(error.contains("it says that it is log"), "{error}");
}

/// Whatever a single flip hits, reading gives the right answer or an error; never another answer.
#[test]
fn a_flipped_bit_never_gives_a_wrong_answer() {
    let disk = SimulatedDisk::new(4);
    let expected = sample(&disk);
    let read = |disk: &SimulatedDisk| -> Result<BTreeMap<PointId, Point>, Error> {
        let collection = open(disk, DIR)?;
        let request = ScrollRequest { limit: 10_000, with: With::ALL, ..ScrollRequest::default() };
        let records = collection.scroll(request).wait()?.records;
        let point = |record: vecstore::collection::Record| Point {
            id: record.id,
            vector: record.vector.unwrap(),
            payload: record.payload.unwrap(),
        };
        Ok(records.into_iter().map(point).map(|point| (point.id, point)).collect())
    };
    let mut refused = 0;
    for path in files(&disk, Path::new(DIR)) {
        let whole = disk.read(&path).unwrap();
        for byte in (0..whole.len()).step_by((whole.len() / 40).max(1)) {
            let mut flipped = whole.clone();
            flipped[byte] ^= 16;
            match read(&with_file(&disk, &path, &flipped)) {
                Ok(found) => assert_eq!(found, expected, "byte {byte} of {}", path.display()),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 150, "{refused}");
}

fn repair(disk: &SimulatedDisk) -> (vecstore::collection::RepairReport, BTreeMap<PointId, Point>) {
    let report =
        Collection::repair(&backend(disk), Path::new(DIR), Path::new("/repaired"), &StopFlag::new()).unwrap();
    let collection = open(disk, "/repaired").unwrap();
    let found = contents(&collection);
    collection.close().unwrap();
    let verified = Collection::verify(&backend(disk), Path::new("/repaired"), &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    (report, found)
}

#[test]
fn repair_saves_what_is_intact_and_says_what_is_lost() {
    let disk = SimulatedDisk::new(5);
    let expected = sample(&disk);
    let (report, found) = repair(&disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL));
    assert_eq!((report.points, report.points_lost, report.payloads_lost), (expected.len() as u64, 0, 0));
    assert!(report.notes.is_empty() && found == expected);
    // What is made anew anyway can be lost without loss.
    for path in files(&disk, Path::new(DIR)) {
        let name = path.to_str().unwrap().to_owned();
        let whole = disk.read(&path).unwrap();
        let mut flipped = whole.clone();
        // In the middle of the data, where there is any.
        let byte = if whole.len() > 8192 { 4096 + 100 } else { whole.len() / 2 };
        if let Some(byte) = flipped.get_mut(byte) {
            *byte ^= 4;
        }
        let (report, found) = repair(&with_file(&disk, &path, &flipped));
        let lost: Vec<&PointId> = expected.keys().filter(|id| !found.contains_key(id)).collect();
        let other = found.iter().filter(|(id, point)| expected.get(id) != Some(point)).count();
        match path.file_name().unwrap().to_str().unwrap() {
            "LOCK" | "graph.pages" | "fields.pages" | "codes.vec" | "segment.json" => {
                assert_eq!((lost.len(), other), (0, 0), "{name}");
            }
            "vectors.vec" => {
                assert_eq!((lost.len(), report.points_lost, other), (1, 1, 0), "{name}: {report:?}");
                assert!(report.notes[0].contains(&name), "{:?}", report.notes);
            }
            "payload.pages" => {
                assert!(lost.is_empty() && other as u64 == report.payloads_lost && other > 0, "{name}");
                assert!(
                    found.values().all(|point| point.payload.is_empty() || expected[&point.id] == *point)
                );
            }
            // A page of ids is lost, or what is in the log from the damage on; never anything else.
            _ => assert!(!report.notes.is_empty() || lost.is_empty() && other == 0, "{name}: {report:?}"),
        }
    }
}

#[test]
fn repair_does_without_a_manifest_and_without_checksums() {
    let disk = SimulatedDisk::new(6);
    let expected = sample(&disk);
    let manifest = Path::new(DIR).join("MANIFEST");
    let (report, found) = repair(&with_file(&disk, &manifest, b"{}"));
    assert!(report.notes[0].contains("MANIFEST is damaged"), "{:?}", report.notes);
    // The log says again what was deleted.
    assert_eq!(found, expected);
    let vectors =
        files(&disk, Path::new(DIR)).into_iter().find(|path| path.ends_with("vectors.vec")).unwrap();
    let mut bytes = disk.read(&vectors).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    // A large change of one component; its codes do not show small ones.
    bytes[4096 + 3] ^= 1;
    let (report, found) = repair(&with_file(&disk, &vectors, &bytes));
    assert_eq!((report.points_lost, found.len()), (1, expected.len() - 1));
    assert!(
        report.notes.iter().any(|note| note.contains("checked against their codes")),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_snapshot_is_a_collection_of_its_own() {
    let disk = SimulatedDisk::new(7);
    let expected = sample(&disk);
    let collection = open(&disk, DIR).unwrap();
    collection.upsert(vec![point(500)], Durability::Written).wait().unwrap();
    let expected: BTreeMap<PointId, Point> =
        expected.into_iter().chain([(point(500).id, point(500))]).collect();
    collection.snapshot(Path::new("/snap")).wait().unwrap();
    let again = collection.snapshot(Path::new("/snap")).wait().unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again}");
    // What happens to the collection afterwards is nothing to the snapshot.
    collection.delete(Selection::Filter(Default::default()), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(collection.count(None).wait().unwrap(), 0);
    collection.close().unwrap();
    Collection::restore(&backend(&disk), Path::new("/snap"), Path::new("/restored")).unwrap();
    // Neither are changes of what was restored from it.
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
    // A full disk at any operation: an error and nothing left behind.
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
fn verify_and_repair_refuse_what_is_no_collection() {
    let disk = SimulatedDisk::new(9);
    let verify = Collection::verify(&backend(&disk), Path::new("/"), &StopFlag::new()).unwrap_err();
    assert!(matches!(verify, Error::NotACollection { .. }), "{verify}");
    assert_eq!(disk.list(Path::new("/")).unwrap(), [], "not even a lock file is left");
    disk.create_dir(Path::new("/x")).unwrap();
    let repair = Collection::repair(&backend(&disk), Path::new("/x"), Path::new("/y"), &StopFlag::new());
    assert!(matches!(repair.unwrap_err(), Error::NotACollection { .. }));
    assert!(disk.list(Path::new("/y")).is_err());
    let _ = backend(&disk).name();
}
