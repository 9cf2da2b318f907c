//! Repair of files with valid checksums and impossible contents, and of missing files. Repair saves the rest.
//! It counts the losses, or says that it cannot count them.

use crate::common::collections::{self, Model, backend, quiet as options};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, StopFlag};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, Durability, RepairReport, Selection};
use vecstore::error::{Error, FormatError};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::{Quantization, Schema};

const DIR: &str = "/c";
const TARGET: &str = "/repaired";
/// Bytes before the first record, and in the header of each record.
const HEADER: usize = 64;
const RECORD_HEADER: usize = 32;
const BATCH: u32 = 1;
const PAGE: usize = 4096;

fn open(disk: &SimulatedDisk, dir: &str) -> Collection {
    Collection::open(&backend(disk), Path::new(dir), &options()).unwrap()
}

fn create(disk: &SimulatedDisk, schema: &Schema) -> Collection {
    Collection::create(&backend(disk), Path::new(DIR), schema, &options()).unwrap()
}

fn point(id: u64) -> Point {
    Point::new(id, vec![id as f32, 1.0]).with_payload(json!({ "n": id }))
}

fn put(collection: &Collection, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        collection.upsert(vec![point(id)], Durability::Synced).wait().unwrap();
    }
}

fn model(ids: impl IntoIterator<Item = u64>) -> Model {
    ids.into_iter().map(|id| (PointId::Num(id), point(id))).collect()
}

fn contents(disk: &SimulatedDisk, dir: &str) -> Model {
    collections::contents(&open(disk, dir)).unwrap()
}

fn repair(disk: &SimulatedDisk) -> (RepairReport, Model) {
    let (dir, target) = (Path::new(DIR), Path::new(TARGET));
    let report = Collection::repair(&backend(disk), dir, target, None, &StopFlag::new()).unwrap();
    let found = contents(disk, TARGET);
    assert_eq!(report.points, found.len() as u64);
    (report, found)
}

/// Lost points, payloads and writes, and whether more may be lost.
fn lost(report: &RepairReport) -> (u64, u64, u64, bool) {
    (report.points_lost, report.payloads_lost, report.writes_lost, report.more_lost)
}

/// A copy of the disk with other bytes in some files.
fn with(disk: &SimulatedDisk, files: &[(&Path, &[u8])]) -> SimulatedDisk {
    let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    files.iter().for_each(|(path, bytes)| copy.write(path, bytes).unwrap());
    copy
}

fn paths(disk: &SimulatedDisk, dir: &str, part: &str) -> Vec<PathBuf> {
    let entries = disk.list(Path::new(dir)).unwrap();
    let names = entries.into_iter().map(|entry| entry.name.into_string().unwrap());
    names.filter(|name| name.contains(part)).map(|name| Path::new(dir).join(name)).collect()
}

/// A log of zeros does not tell its content. The next log tells how many writes it had.
#[test]
fn what_a_log_of_zeros_held_is_counted_or_said_to_be_unknown() {
    let disk = SimulatedDisk::new(1);
    create(&disk, &crate::new_schema(2)).close().unwrap();
    for log in 0..3 {
        let collection = open(&disk, DIR);
        put(&collection, log * 4..log * 4 + 4);
        collection.close().unwrap();
    }
    let logs = paths(&disk, DIR, ".wal");
    assert_eq!(logs.len(), 3);
    for zeroed in 1u32..1 << logs.len() {
        let is_zeroed = |log: usize| zeroed >> log & 1 == 1;
        let damaged = with(&disk, &[]);
        for (_, path) in logs.iter().enumerate().filter(|(log, _)| is_zeroed(*log)) {
            damaged.write(path, &vec![0; disk.read(path).unwrap().len()]).unwrap();
        }
        let (report, found) = repair(&damaged);
        let left = (0..12).filter(|id| !is_zeroed(*id as usize / 4));
        assert_eq!(found, model(left), "{zeroed:b}: {report:?}");
        let last_left = (0..3).rfind(|&log| !is_zeroed(log));
        let known = last_left.map_or(0, |last| (0..last).filter(|&log| is_zeroed(log)).count() as u64 * 4);
        assert_eq!(lost(&report), (0, 0, known, is_zeroed(2)), "{zeroed:b}: {report:?}");
    }
}

#[test]
fn points_that_may_be_back_are_a_loss() {
    let disk = SimulatedDisk::new(2);
    let collection = create(&disk, &crate::new_schema(2));
    put(&collection, 0..20);
    collection.optimize(|_| {}).wait().unwrap();
    let gone = Selection::Ids((0..3).map(PointId::Num).collect());
    collection.delete(gone, Durability::Synced).wait().unwrap();
    put(&collection, 20..30);
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let [path] = &paths(&disk, "/c/segment-000001", "deleted-")[..] else { panic!("no deleted points") };
    let mut bytes = disk.read(path).unwrap();
    bytes[PAGE..2 * PAGE].fill(0);
    let (report, found) = repair(&with(&disk, &[(path, &bytes)]));
    assert_eq!(found, model(0..30));
    assert!(report.more_lost, "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("may be back")), "{report:?}");
}

/// A record of a log, as FORMAT.md describes it.
#[derive(Clone)]
struct Record {
    seq: u64,
    kind: u32,
    body: Vec<u8>,
}

fn records(log: &[u8]) -> Vec<Record> {
    let number = |at: usize, bytes: usize| {
        log[at..at + bytes].iter().rev().fold(0u64, |all, &byte| all << 8 | u64::from(byte))
    };
    let (mut records, mut at) = (Vec::new(), HEADER);
    while at + RECORD_HEADER <= log.len() && log[at + 24] != 0 {
        let body = at + RECORD_HEADER..at + RECORD_HEADER + number(at, 4) as usize;
        records.push(Record {
            seq: number(at + 8, 8),
            kind: number(at + 24, 4) as u32,
            body: log[body.clone()].to_vec(),
        });
        at = body.end;
    }
    records
}

/// A log with this header and these records, and with right checksums.
fn sealed(header: &[u8], records: &[Record]) -> Vec<u8> {
    let mut log = header[..HEADER].to_vec();
    let crc = crc32fast::hash(&log[..60]);
    log[60..].copy_from_slice(&crc.to_le_bytes());
    let mut previous = crc;
    for Record { seq, kind, body } in records {
        let mut header = [0; RECORD_HEADER];
        header[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&log[20..24]);
        header[8..16].copy_from_slice(&seq.to_le_bytes());
        header[24..28].copy_from_slice(&kind.to_le_bytes());
        header[28..].copy_from_slice(&previous.to_le_bytes());
        let salt = u32::from_le_bytes(log[16..20].try_into().unwrap());
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&header);
        hasher.update(body);
        previous = hasher.finalize();
        header[4..8].copy_from_slice(&previous.to_le_bytes());
        log.extend(header);
        log.extend(body);
    }
    log
}

fn crafted_put(id: u64, vector: [f32; 2], payload: &str) -> Vec<u8> {
    let mut write = vec![1];
    write.extend(id.to_le_bytes());
    write.extend((payload.len() as u32).to_le_bytes());
    write.extend(payload.as_bytes());
    write.extend(vector.iter().flat_map(|component| component.to_le_bytes()));
    write
}

fn crafted_delete(id: u64) -> Vec<u8> {
    [&[3][..], &id.to_le_bytes()].concat()
}

fn batch(writes: &[Vec<u8>]) -> Vec<u8> {
    [&(writes.len() as u32).to_le_bytes()[..], &writes.concat()].concat()
}

/// A collection with a segment and a log of five writes. Returns the log's path and bytes, and the points.
fn sample(disk: &SimulatedDisk) -> (PathBuf, Vec<u8>, Model) {
    let schema = Schema { payload_bytes_max: 1000, ..crate::new_schema(2).index("n", FieldKind::Integer) };
    let collection = create(disk, &schema);
    put(&collection, 0..20);
    collection.optimize(|_| {}).wait().unwrap();
    put(&collection, 20..25);
    collection.close().unwrap();
    let [path] = &paths(disk, DIR, ".wal")[..] else { panic!("one log") };
    let log = disk.read(path).unwrap();
    // Crafting is faithful: it omits only the lengths that were known to be durable.
    let again = sealed(&log, &records(&log));
    assert_eq!(contents(&with(disk, &[(path, &again)]), DIR), model(0..25));
    (path.clone(), log, model(0..25))
}

/// Points that a collection would refuse cost only themselves, or their payloads.
#[test]
fn what_no_collection_takes_is_left_out_alone() {
    let disk = SimulatedDisk::new(3);
    let (path, log, mut expected) = sample(&disk);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(105), "]".repeat(105));
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(1000));
    let writes = [
        crafted_put(500, [1.0, 2.0], r#"{"n":1}"#),
        crafted_put(501, [f32::NAN, 2.0], r#"{"n":1}"#),
        crafted_put(502, [1.0, f32::INFINITY], r#"{"n":1}"#),
        crafted_put(503, [1.0, 3.0], r#"{"n":"x"}"#),
        crafted_put(504, [1.0, 4.0], &long),
        crafted_put(505, [1.0, 5.0], &deep),
        crafted_put(506, [1.0, 6.0], "{"),
        crafted_put(507, [1.0, 7.0], ""),
        crafted_put(507, [1.0, 8.0], r#"{"n":2}"#),
        crafted_delete(508),
        crafted_put(508, [1.0, 9.0], ""),
        crafted_put(509, [1.0, 9.0], ""),
        crafted_delete(509),
    ];
    let mut all = records(&log);
    let last = all.iter().rposition(|record| record.kind == BATCH).unwrap();
    let seq = all[last].seq + 1;
    all.truncate(last + 1);
    all.push(Record { seq, kind: BATCH, body: batch(&writes) });
    all.push(Record { seq: seq + 1, kind: BATCH, body: batch(&[crafted_put(600, [6.0, 1.0], "")]) });
    let (report, found) = repair(&with(&disk, &[(&path, &sealed(&log, &all))]));
    let mut expect = |id: u64, vector: [f32; 2], payload: Value| {
        expected.insert(PointId::Num(id), Point::new(id, vector.to_vec()).with_payload(payload));
    };
    expect(500, [1.0, 2.0], json!({"n": 1}));
    expect(503, [1.0, 3.0], json!({}));
    expect(504, [1.0, 4.0], json!({}));
    expect(505, [1.0, 5.0], json!({}));
    expect(506, [1.0, 6.0], json!({}));
    expect(507, [1.0, 8.0], json!({"n": 2}));
    expect(508, [1.0, 9.0], json!({}));
    expect(600, [6.0, 1.0], json!({}));
    assert_eq!(found, expected, "{report:?}");
    assert_eq!(lost(&report), (2, 4, 0, false), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("point 501: component 0 is NaN")), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("point 503: field n holds integers")), "{report:?}");
}

/// The last write of a point counts, even if a collection would refuse it, because an older version must not
/// look current. A point is lost once, however many of its writes are refused. It is not lost if a later
/// write is valid.
#[test]
fn a_refused_write_leaves_no_older_version() {
    let disk = SimulatedDisk::new(10);
    let (path, log, mut expected) = sample(&disk);
    let refused = |id: u64| crafted_put(id, [f32::NAN, 1.0], "");
    let taken = |id: u64| crafted_put(id, [id as f32, 1.0], &json!({ "n": id }).to_string());
    let payload_refused = |id: u64| crafted_put(id, [id as f32, 1.0], "[");
    let batches = [
        // Points of the segment, and points of an earlier write.
        vec![refused(3), taken(700), refused(22), payload_refused(4)],
        // Within one write, and in the next one.
        vec![taken(701), refused(701), taken(702), refused(702), taken(702)],
        vec![refused(703), refused(704), refused(705), payload_refused(706), payload_refused(707)],
        vec![taken(703), crafted_delete(704), refused(705), taken(706), payload_refused(707)],
        vec![refused(708), payload_refused(708), payload_refused(709), refused(709)],
        vec![refused(710), payload_refused(711), refused(712)],
        vec![crafted_delete(710), crafted_delete(711), crafted_delete(712), taken(712)],
    ];
    let mut all = records(&log);
    let last = all.iter().rposition(|record| record.kind == BATCH).unwrap();
    let seqs = all[last].seq + 1..;
    all.truncate(last + 1);
    all.extend(batches.iter().zip(seqs).map(|(writes, seq)| Record {
        seq,
        kind: BATCH,
        body: batch(writes),
    }));
    let (report, found) = repair(&with(&disk, &[(&path, &sealed(&log, &all))]));
    for id in [3, 22] {
        expected.remove(&PointId::Num(id));
    }
    expected.extend(model([700, 702, 703, 706, 712]));
    for id in [4, 707, 708] {
        let point = Point::new(id, vec![id as f32, 1.0]);
        expected.insert(point.id, point);
    }
    assert_eq!(found, expected, "{report:?}");
    // Points 3, 22, 701, 705 and 709. Payloads of 4, 707 and 708.
    assert_eq!(lost(&report), (5, 3, 0, false), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("point 4: its payload is no JSON")), "{report:?}");
}

/// Zeros at the end of the last log are room, or the place of lost writes. More zeros than the room are a
/// loss. A log without a closing mark is always reported.
#[test]
fn zeros_at_the_end_of_the_last_log_are_told() {
    let disk = SimulatedDisk::new(11);
    let collection = create(&disk, &crate::new_schema(2));
    let text = "x".repeat(1000);
    for id in 0..60 {
        let point = Point::new(id, vec![id as f32, 1.0]).with_payload(json!({ "text": text }));
        collection.upsert(vec![point], Durability::Synced).wait().unwrap();
    }
    let [path] = &paths(&disk, DIR, ".wal")[..] else { panic!("one log") };
    let open_log = disk.read(path).unwrap();
    collection.close().unwrap();
    let closed_log = disk.read(path).unwrap();
    let tells = |report: &RepairReport| report.notes.iter().any(|note| note.contains("was not closed"));
    let (report, found) = repair(&with(&disk, &[(path, &open_log)]));
    assert_eq!((found.len(), lost(&report), tells(&report)), (60, (0, 0, 0, false), true), "{report:?}");
    let (report, found) = repair(&with(&disk, &[]));
    assert_eq!((found.len(), lost(&report), report.notes.len()), (60, (0, 0, 0, false), 0), "{report:?}");
    for log in [open_log, closed_log] {
        let (mut at, mut batches, mut losses) = (HEADER, 0, 0);
        while log.get(at + 24).is_some_and(|&kind| kind != 0) {
            // The zeros exceed the room from the second page on, at the latest.
            let mut zeroed = log.clone();
            zeroed[at..].fill(0);
            let (report, found) = repair(&with(&disk, &[(path, &zeroed)]));
            let context = format!("zeros from {at} of {}: {report:?}", log.len());
            let is_loss = log.len() - at > at.clamp(16 << 10, 1 << 20);
            assert_eq!((found.len(), lost(&report)), (batches, (0, 0, 0, is_loss)), "{context}");
            assert!(!report.notes.is_empty() && tells(&report) != is_loss, "{context}");
            losses += u32::from(is_loss);
            batches += usize::from(log[at + 24] == BATCH as u8);
            at += RECORD_HEADER + u32::from_le_bytes(log[at..at + 4].try_into().unwrap()) as usize;
        }
        assert!(batches == 60 && losses > 20, "{batches} batches, {losses} losses");
    }
}

#[test]
fn a_batch_that_nobody_can_read_is_a_lost_write() {
    let disk = SimulatedDisk::new(4);
    let (path, log, expected) = sample(&disk);
    let whole = records(&log);
    let batches: Vec<usize> = (0..whole.len()).filter(|&record| whole[record].kind == BATCH).collect();
    let mut unknown_tag = batch(&[crafted_put(20, [1.0, 1.0], "")]);
    unknown_tag[4] = 9;
    let mut wrong_count = batch(&[crafted_put(20, [1.0, 1.0], "")]);
    wrong_count[0] = 2;
    let bodies = [(BATCH, unknown_tag), (BATCH, wrong_count), (BATCH, Vec::new()), (7, Vec::new())];
    for (kind, body) in bodies {
        for (write, &record) in batches.iter().enumerate() {
            let mut all = whole.clone();
            (all[record].kind, all[record].body) = (kind, body.clone());
            // With the following records, and as the last record of the log.
            for len in [all.len(), record + 1] {
                let crafted = sealed(&log, &all[..len]);
                let (report, found) = repair(&with(&disk, &[(&path, &crafted)]));
                let mut expected = expected.clone();
                expected.remove(&PointId::Num(20 + write as u64));
                if len < all.len() {
                    expected.retain(|id, _| *id <= PointId::Num(20 + write as u64));
                }
                let context = format!("write {write} of kind {kind}, {len} records: {report:?}");
                assert_eq!(found, expected, "{context}");
                assert_eq!(lost(&report), (0, 0, 1, false), "{context}");
                assert!(!report.notes.is_empty(), "{context}");
            }
        }
    }
}

/// A JSON file after a change, with a right checksum.
fn crafted(disk: &SimulatedDisk, path: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let text = String::from_utf8(disk.read(path).unwrap()).unwrap();
    let mut value: Value = serde_json::from_str(text.rsplit_once("\ncrc32 ").unwrap().0).unwrap();
    change(&mut value);
    let text = format!("{value:#}\n");
    format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

/// The manifest says that segments hold the first writes of its logs. That is uncertain, and the logs hold
/// them.
#[test]
fn writes_that_the_manifest_calls_done_with_are_taken_from_its_logs() {
    let disk = SimulatedDisk::new(5);
    let (_, _, expected) = sample(&disk);
    let manifest = Path::new(DIR).join("MANIFEST");
    for more in [1, 3, 5, 1000, 1 << 62] {
        let bytes = crafted(&disk, &manifest, |all| {
            all["seq_first"] = json!(all["seq_first"].as_u64().unwrap() + more);
        });
        let (report, found) = repair(&with(&disk, &[(&manifest, &bytes)]));
        assert_eq!(found, expected, "{more}: {report:?}");
        assert_eq!(lost(&report), (0, 0, 0, false), "{more}: {report:?}");
        assert!(report.notes.iter().any(|note| note.contains("seq_first")), "{more}: {report:?}");
    }
}

/// Opening, `verify` and `repair` do not count beyond the largest number.
#[test]
fn a_log_with_numbers_that_no_write_has_is_refused() {
    let disk = SimulatedDisk::new(9);
    let (path, log, expected) = sample(&disk);
    let manifest = Path::new(DIR).join("MANIFEST");
    let end = u64::MAX / 2;
    for first in [0, end - 2, end - 1, end, end + 1, u64::MAX - 1, u64::MAX] {
        let mut crafted_log = log.clone();
        let old = u64::from_le_bytes(log[32..40].try_into().unwrap());
        crafted_log[32..40].copy_from_slice(&first.to_le_bytes());
        let mut all = records(&log);
        all.iter_mut().for_each(|record| record.seq = record.seq.wrapping_sub(old).wrapping_add(first));
        let crafted_log = sealed(&crafted_log, &all);
        // With a manifest that expects this number, as far as possible.
        let bytes = crafted(&disk, &manifest, |all| all["seq_first"] = json!(first.clamp(1, end)));
        for files in [&[(&*path, &*crafted_log)][..], &[(&*path, &*crafted_log), (&*manifest, &*bytes)]] {
            let disk = with(&disk, files);
            let error = Collection::open(&backend(&disk), Path::new(DIR), &options()).unwrap_err();
            assert!(matches!(error, Error::Format(FormatError::Damaged { .. })), "{first}: {error}");
            let verified = Collection::verify(&backend(&disk), Path::new(DIR), &StopFlag::new()).unwrap();
            let problems: Vec<String> = verified.problems.iter().map(ToString::to_string).collect();
            let is_told = |problem: &String| {
                problem.contains(path.to_str().unwrap())
                    && (problem.contains("no write has a number above")
                        || problem.contains("has to be from 1"))
            };
            assert!(problems.iter().any(is_told), "{first}: {problems:?}");
            let (report, found) = repair(&disk);
            // If the numbers wrap, repair cannot tell later writes from earlier ones.
            assert!(found == expected || first >= u64::MAX - 1, "{first}: {report:?}");
        }
    }
}

/// Two logs claim the same numbers. The second one's writes are omitted, and repair says so.
#[test]
fn writes_with_the_numbers_of_others_are_not_left_out_without_a_word() {
    let disk = SimulatedDisk::new(6);
    create(&disk, &crate::new_schema(2)).close().unwrap();
    for log in 0..2 {
        let collection = open(&disk, DIR);
        put(&collection, log * 4..log * 4 + 4);
        collection.close().unwrap();
    }
    let second = &paths(&disk, DIR, ".wal")[1];
    let mut log = disk.read(second).unwrap();
    let mut all = records(&log);
    for record in &mut all {
        record.seq -= 2;
    }
    // The header has the number of the first record.
    log[32] -= 2;
    let (report, found) = repair(&with(&disk, &[(second, &sealed(&log, &all))]));
    assert_eq!(found, model((0..4).chain(6..8)), "{report:?}");
    assert!(report.more_lost, "{report:?}");
    let name = second.to_str().unwrap();
    assert!(report.notes.iter().any(|note| note.contains(name)), "{report:?}");
}

/// Segments whose codes are long, or too short to tell vectors apart.
fn coded(disk: &SimulatedDisk, method: Quantization) -> (PathBuf, Vec<u8>, Model) {
    let schema = Schema { quantization: method, ..crate::new_schema(4) };
    let collection = create(disk, &schema);
    let point = |id: u64| Point::new(id, (0..4).map(|i| ((id * 7 + i * 3) % 11) as f32 - 5.0).collect());
    let points: Vec<Point> = (0..400).map(point).collect();
    collection.upsert(points.clone(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let path = Path::new(DIR).join("segment-000001/vectors.vec");
    let bytes = disk.read(&path).unwrap();
    (path, bytes, points.into_iter().map(|point| (point.id, point)).collect())
}

#[test]
fn a_code_that_fits_many_vectors_proves_none() {
    // Records of 16 bytes, so a page has 256.
    let (records, table) = (PAGE, 3 * PAGE);
    let product = Quantization::Product { compression: 64.try_into().unwrap() };
    for method in [Quantization::Int8, Quantization::Binary, product, Quantization::Rotated1] {
        let is_short = method == Quantization::Binary || method == product;
        let disk = SimulatedDisk::new(7);
        let (path, bytes, expected) = coded(&disk, method);
        assert_eq!(bytes.len(), table + 400 * 4);
        // Zeros from the middle of the second page on, including the checksums. No checksum matches a vector
        // of zeros.
        let mut zeroed = bytes.clone();
        zeroed[records + PAGE + 44 * 16..].fill(0);
        let (report, found) = repair(&with(&disk, &[(&path, &zeroed)]));
        let wrong = found.iter().filter(|(id, point)| expected[id] != **point).count();
        assert_eq!(wrong, 0, "{method}: {report:?}");
        let kept = if is_short { 0 } else { 300 };
        assert_eq!((found.len(), report.points_lost), (kept, 400 - kept as u64), "{method}: {report:?}");
        // Vectors that only their codes prove may have changed a little.
        assert_eq!(report.more_lost, !is_short, "{method}: {report:?}");
    }
}

/// A stopped repair ends at any point, and leaves nothing.
#[test]
fn a_repair_of_logs_stops_when_it_is_asked_to() {
    let disk = SimulatedDisk::new(8);
    let collection = create(&disk, &crate::new_schema(2));
    put(&collection, 0..10);
    collection.close().unwrap();
    let stop = StopFlag::new();
    stop.stop();
    let repaired = Collection::repair(&backend(&disk), Path::new(DIR), Path::new(TARGET), None, &stop);
    assert!(matches!(repaired, Err(Error::Stopped)), "{repaired:?}");
    let names: Vec<_> = disk.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["c"]);
}
