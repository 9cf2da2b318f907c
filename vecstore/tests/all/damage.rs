//! Flipped bits, missing files and wrong files are found, named, and repaired as far as possible. Also tests
//! snapshots.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{BackendFactory, Directory, DynBackend, LockKind, StopFlag, with_causes};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vecstore::collection::{
    Collection, CollectionOptions, Durability, PayloadChange, RecordParts, RepairReport, ScrollRequest,
    Selection, VerifyReport,
};
use vecstore::error::{Error, FormatError};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const DIR: &str = "/c";

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() }
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
    let request = ScrollRequest { limit: 10_000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let point = |record: vecstore::collection::Record| Point {
        id: record.id,
        vector: record.vector.unwrap(),
        payload: record.payload.unwrap(),
    };
    collection.scroll(request).wait().unwrap().records.into_iter().map(point).map(|p| (p.id, p)).collect()
}

/// A collection with a segment, stored deletions and a log. Returns its content.
fn sample(disk: &SimulatedDisk) -> BTreeMap<PointId, Point> {
    let schema = Schema::new(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let collection = Collection::create(&backend(disk), Path::new(DIR), &schema, &options()).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
    };
    put(0..200);
    collection.optimize(|_| {}).wait().unwrap();
    // Replaced points. A snapshot must include the deletions in the segment.
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

/// As [`sample`], with two segments, a file of deleted points and three logs.
fn large_sample(disk: &SimulatedDisk) -> BTreeMap<PointId, Point> {
    sample(disk);
    let collection = open(disk, DIR).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let mut all = opened_contents(disk, DIR);
    for points in later_writes().chunks(10) {
        let collection = open(disk, DIR).unwrap();
        for point in points {
            collection.upsert(vec![point.clone()], Durability::Synced).wait().unwrap();
            all.insert(point.id, point.clone());
        }
        collection.close().unwrap();
    }
    all
}

/// The last writes of [`large_sample`], one point each and ten to a log. They replace ten points and add
/// twenty.
fn later_writes() -> Vec<Point> {
    let again =
        |id| Point { payload: json!({"n": id, "again": true}).as_object().unwrap().clone(), ..point(id) };
    (20..30).map(again).chain((300..320).map(point)).collect()
}

fn opened_contents(disk: &SimulatedDisk, dir: &str) -> BTreeMap<PointId, Point> {
    let collection = open(disk, dir).unwrap();
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
    // All files but the lock file.
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
        // Every byte of small files, and some bytes of each page of the others.
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

/// Damage to one file does not hide damage to another one.
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
        assert!(missing.problems.iter().any(|problem| problem.to_string().contains(name)), "{name}");
        let error = open(&copy, DIR).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        let whole = disk.read(&path).unwrap();
        let cut = verify(&with_file(&disk, &path, &whole[..whole.len() - 5]));
        assert!(cut.problems.iter().any(|problem| problem.to_string().contains(name)), "{name}: {cut:?}");
    }
}

/// The log spans several files. A missing or wrong one is noticed.
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
    for path in &logs {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.remove_file(path).unwrap();
        let name = path.to_str().unwrap();
        let error = open(&copy, DIR).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("missing"), "{error}");
        assert!(verify(&copy).problems.iter().any(|problem| problem.to_string().contains(name)));
    }
    let moved = with_file(&disk, &logs[0], &disk.read(&logs[1]).unwrap());
    let error = open(&moved, DIR).unwrap_err();
    assert!(
        matches!(&error, Error::Format(FormatError::Misplaced { path, .. }) if *path == logs[0]),
        "{error}"
    );
}

/// After any single flip, a read gives the right answer or an error, and never a wrong answer.
#[test]
fn a_flipped_bit_never_gives_a_wrong_answer() {
    let disk = SimulatedDisk::new(4);
    let expected = sample(&disk);
    let read = |disk: &SimulatedDisk| -> Result<BTreeMap<PointId, Point>, Error> {
        let collection = open(disk, DIR)?;
        let request = ScrollRequest { limit: 10_000, with: RecordParts::ALL, ..ScrollRequest::default() };
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

fn repair_with(
    disk: &SimulatedDisk,
    schema: Option<&Schema>,
) -> Result<(RepairReport, BTreeMap<PointId, Point>), Error> {
    let target = Path::new("/repaired");
    let report = Collection::repair(&backend(disk), Path::new(DIR), target, schema, &StopFlag::new())?;
    let found = opened_contents(disk, "/repaired");
    assert_eq!(report.points, found.len() as u64);
    let verified = Collection::verify(&backend(disk), target, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    Ok((report, found))
}

fn repair(disk: &SimulatedDisk) -> (RepairReport, BTreeMap<PointId, Point>) {
    repair_with(disk, None).unwrap()
}

/// Lost points, payloads and writes of a report.
fn lost(report: &RepairReport) -> (u64, u64, u64) {
    (report.points_lost, report.payloads_lost, report.writes_lost)
}

fn file(disk: &SimulatedDisk, name: &str) -> PathBuf {
    files(disk, Path::new(DIR)).into_iter().find(|path| path.ends_with(name)).unwrap()
}

/// Damages more than a single bit.
fn garble(bytes: &mut [u8], range: std::ops::Range<usize>) {
    bytes[range].iter_mut().enumerate().for_each(|(i, byte)| *byte = byte.wrapping_add(77 + i as u8 % 100));
}

fn repair_garbled(
    disk: &SimulatedDisk,
    name: &str,
    ranges: impl IntoIterator<Item = std::ops::Range<usize>>,
) -> (RepairReport, BTreeMap<PointId, Point>) {
    let path = file(disk, name);
    let mut bytes = disk.read(&path).unwrap();
    ranges.into_iter().for_each(|range| garble(&mut bytes, range));
    repair(&with_file(disk, &path, &bytes))
}

#[test]
fn repair_of_a_sound_collection_loses_nothing_and_says_nothing() {
    let disk = SimulatedDisk::new(5);
    let expected = large_sample(&disk);
    let (report, found) = repair(&disk);
    assert_eq!((lost(&report), report.more_lost, &report.notes[..]), ((0, 0, 0), false, &[][..]));
    assert_eq!(found, expected);
}

/// A flip anywhere loses nothing. The notes only say that it was put back. Parts that repair rebuilds are not
/// read.
#[test]
fn a_flipped_bit_loses_nothing() {
    let disk = SimulatedDisk::new(12);
    let expected = large_sample(&disk);
    for path in files(&disk, Path::new(DIR)) {
        let whole = disk.read(&path).unwrap();
        // Headers and small files are tested more densely.
        let (small, bits) = (whole.len().min(100) * 8, whole.len() * 8);
        for bit in (0..small).step_by(23).chain((small..bits).step_by(bits / 37 + 1)) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (report, found) = repair(&with_file(&disk, &path, &flipped));
            let context = format!("bit {bit} of {}: {report:?}", path.display());
            assert!(found == expected, "{context}");
            assert_eq!((lost(&report), report.more_lost), ((0, 0, 0), false), "{context}");
            assert!(report.notes.iter().all(|note| note.contains("put back")), "{context}");
        }
    }
}

/// 1200 points with number ids, in one segment.
fn numbers(disk: &SimulatedDisk) -> BTreeMap<PointId, Point> {
    let collection = Collection::create(&backend(disk), Path::new(DIR), &Schema::new(3), &options()).unwrap();
    let points = (0..1200).map(|id| Point { id: PointId::Num(id), ..point(id) }).collect();
    collection.upsert(points, Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

#[test]
fn a_cut_file_loses_only_what_was_behind_the_cut() {
    const PAGE: usize = 4096;
    let disk = SimulatedDisk::new(13);
    let expected = numbers(&disk);
    for path in files(&disk, Path::new(DIR)) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let whole = disk.read(&path).unwrap();
        let step = if name.ends_with(".pages") { PAGE / 2 } else { whole.len() / 13 + 1 };
        for len in (0..whole.len()).step_by(step).chain([whole.len().saturating_sub(1)]) {
            let (report, found) = repair(&with_file(&disk, &path, &whole[..len]));
            let context = format!("{name} of {len} bytes: {report:?}");
            let points_lost = match &*name {
                // Records have 12 bytes, so a page has 341.
                "vectors.vec" => {
                    let (pages, rest) = (len.saturating_sub(PAGE) / PAGE, len.saturating_sub(PAGE) % PAGE);
                    1200 - (pages * 341 + (rest / 12).min(341)).min(1200)
                }
                // The table by point begins on the third page, with 511 ids a page.
                "ids.pages" => 1200 - ((len / PAGE).saturating_sub(2) * 511).min(1200),
                _ => 0,
            };
            // The last page has the offsets of payloads. Payloads can be found without it, but only if all
            // other pages are there.
            let payloads_lost =
                if name == "payload.pages" && len < whole.len() / PAGE * PAGE - PAGE { 1200 } else { 0 };
            assert_eq!(lost(&report), (points_lost as u64, payloads_lost, 0), "{context}");
            assert_eq!(found.len(), 1200 - points_lost, "{context}");
            let other = found.iter().filter(|(id, point)| expected[id] != **point);
            assert_eq!(other.count() as u64, payloads_lost, "{context}");
            let unnoted = ["graph.pages", "codes.vec", "fields.pages", "LOCK"].contains(&&*name);
            assert_eq!(report.notes.is_empty(), unnoted, "{context}");
        }
        let longer = [&whole[..], &[7; 5000]].concat();
        let (report, found) = repair(&with_file(&disk, &path, &longer));
        assert!(found == expected && lost(&report) == (0, 0, 0), "{name}: {report:?}");
    }
}

#[test]
fn ids_are_saved_from_wherever_they_are() {
    const PAGE: usize = 4096;
    let disk = SimulatedDisk::new(14);
    let expected = numbers(&disk);
    // Pages: header and numbers; 3 by point; 4 in order; the hash; 4 by slot; then pages of no UUIDs.
    let (table, sorted, slots) = (2 * PAGE..5 * PAGE, 5 * PAGE..9 * PAGE, 10 * PAGE..14 * PAGE);
    for ranges in [&[table.clone()][..], &[table.clone(), sorted.clone()], &[table, slots.clone()]] {
        let (report, found) = repair_garbled(&disk, "ids.pages", ranges.to_vec());
        assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{ranges:?}: {report:?}");
    }
    let (report, found) = repair_garbled(&disk, "ids.pages", [2 * PAGE..3 * PAGE, sorted, slots]);
    assert_eq!((lost(&report), found.len()), ((511, 0, 0), 689), "{report:?}");
    assert!(found.iter().all(|(id, point)| expected[id] == *point));
}

#[test]
fn headers_are_made_anew_and_what_files_held_is_counted() {
    let disk = SimulatedDisk::new(15);
    let expected = large_sample(&disk);
    let (report, found) = repair_garbled(&disk, "segment-000001/vectors.vec", std::iter::once(0..60));
    assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("made anew")), "{:?}", report.notes);
    let (report, found) = repair_garbled(&disk, "segment-000001/segment.json", std::iter::once(5..50));
    assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{report:?}");
    // 16 of 200 points are deleted and one was changed. The logs replace ten more, which cannot be told
    // without their ids.
    let (live, gone) = (200 - 16 - 1, 200 - 16 - 1 - 10);
    for (name, points_lost) in [("vectors.vec", gone), ("ids.pages", live)] {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.remove_file(&file(&disk, &format!("segment-000001/{name}"))).unwrap();
        let (report, found) = repair(&copy);
        assert_eq!((lost(&report), report.more_lost), ((points_lost, 0, 0), false), "{name}: {report:?}");
        assert_eq!(found.len() as u64, expected.len() as u64 - gone, "{name}");
        assert!(found.iter().all(|(id, point)| expected[id] == *point), "{name}");
    }
    // Nothing tells the number of points then.
    for path in files(&disk, Path::new(DIR)).iter().filter(|path| path.to_str().unwrap().contains("-000001/"))
    {
        disk.remove_file(path).unwrap();
    }
    let (report, found) = repair(&disk);
    assert_eq!((report.more_lost, found.len() as u64), (true, expected.len() as u64 - gone), "{report:?}");
}

/// The place of each batch in a log. Marks lie between them.
fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut records = Vec::new();
    let mut at = 64;
    while at < bytes.len() {
        let len = 32 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        records.extend((bytes[at + 24] == 1).then_some(at..at + len));
        at += len;
    }
    records
}

#[test]
fn damage_to_a_log_loses_just_the_writes_it_hits() {
    let disk = SimulatedDisk::new(16);
    large_sample(&disk);
    let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    let logs: Vec<PathBuf> = files(&disk, Path::new(DIR))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    assert_eq!(logs.len(), 3);
    logs.iter().for_each(|path| copy.remove_file(path).unwrap());
    let before = repair(&copy).1;
    let writes = later_writes();
    let check = |disk: &SimulatedDisk, lost_writes: &[usize], more_lost: bool, context: &str| {
        let (report, found) = repair(disk);
        let unknown = if more_lost { 0 } else { lost_writes.len() as u64 };
        assert_eq!((lost(&report), report.more_lost), ((0, 0, unknown), more_lost), "{context}: {report:?}");
        let mut expected = before.clone();
        let saved = writes.iter().enumerate().filter(|(index, _)| !lost_writes.contains(index));
        expected.extend(saved.map(|(_, point)| (point.id, point.clone())));
        assert!(found == expected, "{context}: {report:?}");
        assert!(!report.notes.is_empty() || lost_writes.is_empty(), "{context}");
    };
    for (index, path) in logs.iter().enumerate() {
        let whole = disk.read(path).unwrap();
        let (records, name) = (records(&whole), path.to_str().unwrap());
        assert_eq!(records.len(), 10);
        let is_last = index == 2;
        for (record, range) in records.iter().enumerate() {
            let garbled = |range: std::ops::Range<usize>| {
                let mut bytes = whole.clone();
                garble(&mut bytes, range);
                with_file(&disk, path, &bytes)
            };
            let write = index * 10 + record;
            check(&garbled(range.clone()), &[write], false, &format!("record {record} of {name}"));
            check(
                &garbled(range.start..range.start + 4),
                &[write],
                false,
                &format!("length {record} of {name}"),
            );
            if record < 9 {
                let middle = (range.start + range.end) / 2..(records[record + 1].start + 10);
                let context = format!("records {record} and after of {name}");
                check(&garbled(middle), &[write, write + 1], false, &context);
            }
            // Without the closing mark, the length of the last log is unknown.
            let cut = with_file(&disk, path, &whole[..range.end - 3]);
            let rest: Vec<usize> = (write..index * 10 + 10).collect();
            check(&cut, &rest, is_last, &format!("{name} cut in record {record}"));
        }
        // Only the salt of the header is needed.
        for header in [0..16, 24..64] {
            let mut bytes = whole.clone();
            garble(&mut bytes, header);
            check(&with_file(&disk, path, &bytes), &[], false, &format!("header of {name}"));
        }
        let without = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        without.remove_file(path).unwrap();
        // The number of writes in the last log is unknown.
        let (report, _) = repair(&without);
        let known = if is_last { 0 } else { 10 };
        assert_eq!((lost(&report), report.more_lost), ((0, 0, known), is_last), "{name}: {report:?}");
        let all: Vec<usize> = (index * 10..index * 10 + 10).collect();
        check(&with_file(&disk, path, b""), &all, is_last, &format!("empty {name}"));
    }
    // Two logs in each other's places.
    let swapped = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    swapped.write(&logs[0], &disk.read(&logs[2]).unwrap()).unwrap();
    swapped.write(&logs[2], &disk.read(&logs[0]).unwrap()).unwrap();
    check(&swapped, &[], false, "swapped logs");
}

/// For any damage, saved points are correct, and all others are counted or reported as uncountable.
#[test]
fn nothing_is_lost_without_a_word() {
    let disk = SimulatedDisk::new(17);
    let expected = large_sample(&disk);
    let all = files(&disk, Path::new(DIR));
    let (mut sound, mut damaged) = (0, 0);
    for seed in 0..400u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below.max(1)
        };
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        for _ in 0..1 + random(4) {
            let path = &all[random(all.len())];
            let mut bytes = copy.read(path).unwrap_or_default();
            match random(8) {
                0 => bytes.truncate(random(bytes.len())),
                1 => bytes.extend((0..random(5000)).map(|i| i as u8)),
                2 => bytes.clear(),
                _ => {
                    let start = random(bytes.len());
                    let end = (start + 1 + random(300)).min(bytes.len());
                    for byte in &mut bytes[start..end] {
                        *byte = random(256) as u8;
                    }
                }
            }
            copy.write(path, &bytes).unwrap();
        }
        let (report, found) = repair(&copy);
        let context = format!("seed {seed}: {report:?}");
        let without_payload = |id: &PointId| {
            found.get(id).is_some_and(|point| point.payload.is_empty() && point.vector == expected[id].vector)
        };
        let wrong: Vec<&PointId> = expected.keys().filter(|id| found.get(id) != expected.get(id)).collect();
        let payloads = wrong.iter().filter(|id| without_payload(id)).count() as u64;
        assert!(payloads <= report.payloads_lost, "{context}");
        let gone = wrong.len() as u64 - payloads;
        assert!(gone <= report.points_lost + report.writes_lost || report.more_lost, "{gone} {context}");
        let back = found.keys().filter(|id| !expected.contains_key(id)).count();
        assert!(back == 0 || report.more_lost, "{context}");
        *(if wrong.is_empty() { &mut sound } else { &mut damaged }) += 1;
    }
    assert!(sound > 50 && damaged > 50, "{sound} {damaged}");
}

#[test]
fn repair_does_without_a_manifest() {
    let disk = SimulatedDisk::new(6);
    let expected = large_sample(&disk);
    let manifest = Path::new(DIR).join("MANIFEST");
    let (report, found) = repair(&with_file(&disk, &manifest, b"{}"));
    assert!(report.notes[0].contains("MANIFEST is damaged"), "{:?}", report.notes);
    // The files of deleted points are intact.
    assert_eq!((found == expected, lost(&report), report.more_lost), (true, (0, 0, 0), true));
    // If no schema is left, repair uses the one it is given.
    let copy = with_file(&disk, &manifest, b"{}");
    for number in [1, 2] {
        copy.write(&file(&disk, &format!("segment-00000{number}/segment.json")), b"{}").unwrap();
    }
    let error = repair_with(&copy, None).unwrap_err();
    assert!(matches!(error, Error::NoSchema { .. }), "{error}");
    assert!(copy.list(Path::new("/repaired")).is_err());
    let schema = Schema::new(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let (report, found) = repair_with(&copy, Some(&schema)).unwrap();
    assert_eq!((found == expected, lost(&report)), (true, (0, 0, 0)), "{report:?}");
}

#[test]
fn vectors_without_checksums_are_checked_against_their_codes() {
    let disk = SimulatedDisk::new(18);
    let expected = numbers(&disk);
    let len = disk.read(&file(&disk, "vectors.vec")).unwrap().len();
    // The checksums of ten records and one record are damaged. Codes do not show small changes, but large
    // ones.
    let (report, found) = repair_garbled(
        &disk,
        "vectors.vec",
        [len - 40..len, 4096 * 4 + 1199 % 341 * 12..4096 * 4 + 1199 % 341 * 12 + 12],
    );
    assert_eq!((lost(&report), found.len()), ((1, 0, 0), 1199), "{report:?}");
    assert!(found.iter().all(|(id, point)| expected[id] == *point));
    let note = "the checksums of 9 vectors are damaged; they were checked against their codes";
    assert!(report.notes.iter().any(|found| found.contains(note)), "{:?}", report.notes);
    // Without the codes, nothing proves those ten records.
    let (path, codes) = (file(&disk, "vectors.vec"), file(&disk, "codes.vec"));
    let mut bytes = disk.read(&path).unwrap();
    garble(&mut bytes, len - 40..len);
    let copy = with_file(&disk, &path, &bytes);
    copy.remove_file(&codes).unwrap();
    let (report, found) = repair(&copy);
    assert_eq!((lost(&report), found.len()), ((10, 0, 0), 1190), "{report:?}");
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

/// An interruption at any moment leaves either a whole target or none. The next attempt takes the remains
/// over.
#[test]
fn a_repair_is_whole_or_not_there() {
    let disk = SimulatedDisk::new(44);
    let expected = sample(&disk);
    let target = Path::new("/repaired");
    let repair = |disk: &SimulatedDisk| {
        Collection::repair(&backend(disk), Path::new(DIR), target, None, &StopFlag::new()).map(drop)
    };
    let begun = disk.history_len();
    repair(&disk).unwrap();
    let changes = disk.history_len();
    assert!(changes > begun + 20);
    let (mut whole, mut taken_over) = (0, 0);
    for at in begun..=changes {
        for fate in 0..4 {
            let after = disk.crash(at, fate);
            let context = format!("{at}, {fate}: after {}", disk.describe(at));
            if after.list(target).is_ok() {
                whole += 1;
            } else {
                let left = after.list(Path::new("/.repaired.vecstore-repair"));
                taken_over += usize::from(left.is_ok_and(|left| !left.is_empty()));
                repair(&after).unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            assert_eq!(opened_contents(&after, "/repaired"), expected, "{context}");
            let names: Vec<_> =
                after.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, ["c", "repaired"], "{context}");
        }
    }
    assert!(whole > 3 && taken_over > 20, "{whole} {taken_over}");
    // During a repair, another repair is refused.
    let staging = Path::new("/.repaired.vecstore-repair");
    let fresh = disk.crash(begun, SimulatedDisk::KEEP_ALL);
    fresh.create_dir(staging).unwrap();
    let _lock = Directory::lock(&fresh, &staging.join("LOCK"), LockKind::Exclusive).unwrap();
    assert!(matches!(repair(&fresh), Err(Error::InUse(_))));
}

/// An unreadable file is not damage. Its state is unknown, so nothing is given up.
#[test]
fn what_cannot_be_read_is_no_damage() {
    let disk = SimulatedDisk::new(45);
    let expected = large_sample(&disk);
    let target = Path::new("/repaired");
    let count = |act: &dyn Fn(&SimulatedDisk)| {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        act(&copy);
        copy.operations()
    };
    let verify = |disk: &SimulatedDisk| Collection::verify(&backend(disk), Path::new(DIR), &StopFlag::new());
    let repair = |disk: &SimulatedDisk| {
        Collection::repair(&backend(disk), Path::new(DIR), target, None, &StopFlag::new())
    };
    let denied = |at: u64| {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.set_fault(Some(DiskFault::new(at, FaultKind::Denied)));
        copy
    };
    let (mut unread, mut refused) = (0, 0);
    for at in 0..count(&|disk| drop(verify(disk).unwrap())) {
        match verify(&denied(at)) {
            Ok(report) => {
                assert!(report.problems.is_empty(), "{at}: {report:?}");
                unread += report.unread.len();
            }
            Err(error) => {
                let error = with_causes(&error).to_string();
                assert!(error.contains("os error 13"), "{at}: {error}");
            }
        }
    }
    for at in 0..count(&|disk| drop(repair(disk).unwrap())) {
        let copy = denied(at);
        match repair(&copy) {
            Ok(report) => {
                copy.set_fault(None);
                assert_eq!((lost(&report), report.more_lost), ((0, 0, 0), false), "{at}: {report:?}");
                assert_eq!(opened_contents(&copy, "/repaired"), expected, "{at}: {report:?}");
            }
            Err(error) => {
                copy.set_fault(None);
                // If only the last sync failed, the target is whole.
                if copy.entry(target).is_ok() {
                    assert_eq!(opened_contents(&copy, "/repaired"), expected, "{at}: {error}");
                }
                refused += 1;
            }
        }
    }
    assert!(unread > 20 && refused > 50, "{unread} {refused}");
}

#[test]
fn verify_and_repair_refuse_what_is_no_collection() {
    let disk = SimulatedDisk::new(9);
    let verify = Collection::verify(&backend(&disk), Path::new("/"), &StopFlag::new()).unwrap_err();
    assert!(matches!(verify, Error::NotACollection { .. }), "{verify}");
    assert_eq!(disk.list(Path::new("/")).unwrap(), [], "not even a lock file is left");
    disk.create_dir(Path::new("/x")).unwrap();
    let schema = Schema::new(3);
    let (from, to) = (Path::new("/x"), Path::new("/y"));
    let repair = Collection::repair(&backend(&disk), from, to, Some(&schema), &StopFlag::new());
    assert!(matches!(repair.unwrap_err(), Error::NotACollection { .. }));
    assert_eq!(disk.list(from).unwrap(), [], "not even a lock file is left");
    assert!(disk.list(Path::new("/y")).is_err());
    let _ = backend(&disk).name();
}

/// The manifest names the newest log. If that log is missing or empty, acknowledged writes are lost.
#[test]
fn a_lost_log_is_noticed() {
    let disk = SimulatedDisk::new(40);
    sample(&disk);
    let logs: Vec<PathBuf> = files(&disk, Path::new(DIR))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .collect();
    let last = logs.last().unwrap();
    let name = last.file_name().unwrap().to_str().unwrap();
    let removed = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    removed.remove_file(last).unwrap();
    for damaged in [removed, with_file(&disk, last, b""), with_file(&disk, last, &[7; 40])] {
        let problems: Vec<String> = verify(&damaged).problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].contains(name), "{problems:?}");
        let error = open(&damaged, DIR).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        let (report, _) = repair(&damaged);
        assert!(report.more_lost && report.notes.iter().any(|note| note.contains(name)), "{report:?}");
    }
}

#[test]
fn a_lost_manifest_is_damage_where_there_are_other_files() {
    let disk = SimulatedDisk::new(41);
    sample(&disk);
    disk.remove_file(&Path::new(DIR).join("MANIFEST")).unwrap();
    let problems = verify(&disk).problems;
    assert!(problems.len() == 1 && problems[0].to_string().contains("`repair`"), "{problems:?}");
    assert!(open(&disk, DIR).unwrap_err().to_string().contains("`repair`"));
    disk.create_dir(Path::new("/empty")).unwrap();
    assert!(matches!(open(&disk, "/empty"), Err(Error::NotACollection { .. })));
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
