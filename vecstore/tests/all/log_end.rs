//! The end of a log after a kill or a power cut. Remains of a crash are cut off, certain damage is an error,
//! and doubtful ends are kept. No acknowledged write is lost silently.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, DynBackend, StopFlag, with_causes};
use serde_json::json;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, RecordParts, ScrollRequest};
use vecstore::error::{Error, FormatError};
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const DIR: &str = "/c";
const LOG: &str = "/c/log-000001.wal";
const TORN: &str = "/c/log-000001.torn";
/// Number of points that are always synced.
const SYNCED: u64 = 3;
/// Bytes before the first record, and in the header of each record.
const HEADER: usize = 64;
const RECORD_HEADER: usize = 32;

fn options(read_only: bool) -> CollectionOptions {
    CollectionOptions {
        cores: 1,
        reads_per_core: 1,
        background: false,
        read_only,
        ..CollectionOptions::default()
    }
}

fn open(disk: &SimulatedDisk, read_only: bool) -> Result<Collection, Error> {
    Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options(read_only))
}

fn put(collection: &Collection, ids: Range<u64>, text: usize, durability: Durability) {
    let point =
        |id: u64| Point::new(id, vec![id as f32 + 0.3, 1.7]).with_payload(json!({"x": "x".repeat(text)}));
    collection.upsert(ids.map(point).collect(), durability).wait().unwrap();
}

/// An open collection with these points synced.
fn begin(disk: &SimulatedDisk) -> Collection {
    let backend = DynBackend::new(disk.clone());
    let collection =
        Collection::create(&backend, Path::new(DIR), &crate::new_schema(2), &options(false)).unwrap();
    put(&collection, 0..SYNCED, 5, Durability::Synced);
    collection
}

/// The disk after the process is killed, with other bytes in the log.
fn killed(disk: &SimulatedDisk, log: &[u8]) -> SimulatedDisk {
    let after = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    after.write(Path::new(LOG), log).unwrap();
    after.sync_dir(Path::new(DIR)).unwrap();
    after.crash(after.history_len(), SimulatedDisk::KEEP_ALL)
}

/// The places of all batches of a sound log, by the lengths in the records' headers. Also the end of the last
/// record.
fn batches(log: &[u8]) -> (Vec<Range<usize>>, usize) {
    let (mut batches, mut at) = (Vec::new(), HEADER);
    while let Some(kind) = log.get(at + 24).filter(|&&kind| kind != 0) {
        let len = u32::from_le_bytes(log[at..at + 4].try_into().unwrap()) as usize + RECORD_HEADER;
        batches.extend((*kind == 1).then_some(at..at + len));
        at += len;
    }
    (batches, at)
}

fn ids(collection: &Collection) -> Vec<u64> {
    let request = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let records = collection.scroll(request).wait().unwrap().records;
    let id = |id| match id {
        PointId::Num(id) => id,
        PointId::Uuid(_) => unreachable!(),
    };
    records.into_iter().map(|record| id(record.id)).collect()
}

fn problems(disk: &SimulatedDisk) -> Vec<String> {
    let report =
        Collection::verify(&DynBackend::new(disk.clone()), Path::new(DIR), &StopFlag::new()).unwrap();
    report.problems.iter().map(ToString::to_string).collect()
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    let entries = disk.list(Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
}

fn is_damage_at(error: &Error, at: usize) -> bool {
    let is_named = error.to_string().contains("`repair`");
    is_named
        && matches!(error, Error::Format(FormatError::Damaged { path, offset: Some(offset), .. }) if path == Path::new(LOG) && *offset == at as u64)
}

/// After a kill, with the last write synced or only written. A flipped bit of its record is damage. A flipped
/// bit of its mark costs nothing.
#[test]
fn a_flipped_bit_in_the_last_group_is_never_taken_for_its_end() {
    for durability in [Durability::Synced, Durability::Written] {
        let disk = SimulatedDisk::new(1);
        let collection = begin(&disk);
        put(&collection, SYNCED..SYNCED + 1, 5, durability);
        let log = disk.read(Path::new(LOG)).unwrap();
        let (batches, end) = batches(&log);
        let batch = batches[1].clone();
        for bit in (batch.start * 8..end * 8).step_by(3) {
            let mut flipped = log.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let after = killed(&disk, &flipped);
            let context = format!("{durability:?}, bit {bit}");
            if batch.contains(&(bit / 8)) {
                for read_only in [true, false] {
                    let error = open(&after, read_only).unwrap_err();
                    assert!(is_damage_at(&error, batch.start), "{context}: {error}");
                }
                assert_eq!(after.read(Path::new(LOG)).unwrap(), flipped, "{context}: it was changed");
                continue;
            }
            assert!(problems(&after)[0].contains(LOG), "{context}");
            let opened = open(&after, false).unwrap();
            assert_eq!(ids(&opened), (0..=SYNCED).collect::<Vec<_>>(), "{context}");
            assert_eq!(opened.open_report().cut_off.len(), 1, "{context}");
            opened.close().unwrap();
            assert_eq!(problems(&after), [""; 0], "{context}");
        }
    }
}

/// Damage of more than one bit is an error if the write was synced. Otherwise the end is kept.
#[test]
fn what_may_be_damage_is_kept_and_told() {
    let disk = SimulatedDisk::new(2);
    let collection = begin(&disk);
    put(&collection, SYNCED..SYNCED + 1, 5, Durability::Written);
    let mut garbled = disk.read(Path::new(LOG)).unwrap();
    let batch = batches(&garbled).0[1].clone();
    garbled[batch.start + 50..batch.start + 60].fill(0xA5);
    let after = killed(&disk, &garbled);

    // Opening read-only changes nothing, and reports it.
    let before = after.history_len();
    let reader = open(&after, true).unwrap();
    assert_eq!(ids(&reader), [0, 1, 2]);
    let [cut_off] = &reader.open_report().cut_off[..] else { panic!("{:?}", reader.open_report()) };
    assert_eq!((cut_off.log.as_path(), cut_off.offset), (Path::new(LOG), batch.start as u64));
    assert_eq!((cut_off.bytes, cut_off.copy.as_deref()), (batch.len() as u64, Some(Path::new(TORN))));
    let message = cut_off.to_string();
    assert!(message.contains(&format!("{} bytes", batch.len())) && message.contains(TORN), "{message}");
    drop(reader);
    assert_eq!(names(&after), ["LOCK", "MANIFEST", "log-000001.wal"]);
    assert!(after.history_len() <= before + 1, "more than the lock file was touched");
    assert_eq!(problems(&after).len(), 1);

    // If there is no room for the copy, nothing is cut off.
    after.set_fault(Some(DiskFault::new(after.operations(), FaultKind::NoSpace)));
    let error = with_causes(&open(&after, false).unwrap_err()).to_string();
    assert!(error.contains("No space left"), "{error}");
    assert_eq!(ids(&open(&after, true).unwrap()), [0, 1, 2]);
    after.set_fault(None);
    assert_eq!(names(&after), ["LOCK", "MANIFEST", "log-000001.wal"]);
    assert_eq!(after.read(Path::new(LOG)).unwrap(), garbled);

    // Opening for writing keeps a copy of the log, for ever.
    let writer = open(&after, false).unwrap();
    assert_eq!(writer.open_report().cut_off.len(), 1);
    assert_eq!(after.read(Path::new(TORN)).unwrap(), garbled);
    put(&writer, 10..11, 5, Durability::Synced);
    writer.optimize(|_| {}).wait().unwrap();
    writer.close().unwrap();
    let opened = open(&after, false).unwrap();
    assert_eq!((ids(&opened), opened.open_report().cut_off.len()), (vec![0, 1, 2, 10], 0));
    drop(opened);
    assert_eq!(names(&after), ["LOCK", "MANIFEST", "log-000001.torn", "segment-000001"]);
    let told = problems(&after);
    assert!(told.len() == 1 && told[0].contains(TORN), "{told:?}");
    let backend = DynBackend::new(after.clone());
    let (from, to) = (Path::new(DIR), Path::new("/repaired"));
    let repaired = Collection::repair(&backend, from, to, None, &StopFlag::new()).unwrap();
    assert!(repaired.more_lost && repaired.notes.iter().any(|note| note.contains(TORN)), "{repaired:?}");
    after.remove_file(Path::new(TORN)).unwrap();
    assert_eq!(problems(&after), [""; 0]);

    // The same damage to a synced write.
    collection.sync().wait().unwrap();
    let mut log = disk.read(Path::new(LOG)).unwrap();
    log[batch.start + 50..batch.start + 60].fill(0xA5);
    let error = open(&killed(&disk, &log), false).unwrap_err();
    assert!(is_damage_at(&error, batch.start), "{error}");
    // A missing sector is then damage too.
    log[batch.start..batch.end].fill(0);
    let error = open(&killed(&disk, &log), false).unwrap_err();
    assert!(is_damage_at(&error, batch.start), "{error}");
}

/// A snapshot and a restored collection have their own logs. Opening one for writing cuts a torn end only
/// there.
#[test]
fn writing_to_a_copy_leaves_the_log_it_comes_from() {
    let disk = SimulatedDisk::new(5);
    let collection = begin(&disk);
    put(&collection, SYNCED..SYNCED + 1, 5, Durability::Written);
    let whole = disk.read(Path::new(LOG)).unwrap();
    let batch = batches(&whole).0[1].clone();
    let mut garbled = whole.clone();
    garbled[batch.start + 50..batch.start + 60].fill(0xA5);
    let go_on = |disk: &SimulatedDisk, dir: &str| {
        let opened =
            Collection::open(&DynBackend::new(disk.clone()), Path::new(dir), &options(false)).unwrap();
        put(&opened, 10..11, 5, Durability::Synced);
        opened.close().unwrap();
    };
    for log in [garbled, whole] {
        let after = killed(&disk, &log);
        let backend = DynBackend::new(after.clone());
        let (from, to) = (Path::new(DIR), Path::new("/restored"));
        Collection::restore(&backend, from, to, &StopFlag::new()).unwrap();
        let begun = after.history_len();
        go_on(&after, "/restored");
        assert!(after.history_len() > begun);
        assert_eq!(after.read(Path::new(LOG)).unwrap(), log);
        assert_eq!(names(&after), ["LOCK", "MANIFEST", "log-000001.wal"]);
        // A snapshot of a collection that was opened after a kill.
        let opened = open(&after, false).unwrap();
        opened.snapshot(Path::new("/snapshot")).wait().unwrap();
        let own = after.read(Path::new(LOG)).unwrap();
        let copied = Path::new("/snapshot/log-000001.wal");
        after.rewrite(copied, own.len() as u64 - 20).unwrap();
        assert_eq!(after.read(Path::new(LOG)).unwrap(), own);
    }
}

/// A crash at any moment of keeping a log leaves either a whole copy or the uncut log.
#[test]
fn a_crash_while_a_log_is_kept_loses_nothing_of_it() {
    let disk = SimulatedDisk::new(3);
    let collection = begin(&disk);
    put(&collection, SYNCED..SYNCED + 1, 5, Durability::Written);
    let mut log = disk.read(Path::new(LOG)).unwrap();
    let batch = batches(&log).0[1].clone();
    log[batch.start + 50..batch.start + 60].fill(0xA5);
    let after = killed(&disk, &log);
    let begun = after.history_len();
    open(&after, false).unwrap().close().unwrap();
    assert!(after.history_len() > begun + 5);
    for changes in begun..=after.history_len() {
        for fate in 0..16 {
            let crashed = after.crash(changes, fate);
            let opened = open(&crashed, false).unwrap();
            assert_eq!(ids(&opened), [0, 1, 2], "after {changes}, fate {fate}");
            opened.close().unwrap();
            assert_eq!(crashed.read(Path::new(TORN)).unwrap(), log, "after {changes}, fate {fate}");
            assert_eq!(names(&crashed), ["LOCK", "MANIFEST", "log-000001.torn", "log-000001.wal"]);
        }
    }
}

/// In a power cut, any sectors of unsynced writes may be lost, and the file may be shorter. Whole records up
/// to the first gap survive. Nothing is kept or refused.
#[test]
fn any_lost_sectors_of_unsynced_writes_are_a_plain_end() {
    const SECTOR: usize = 512;
    let disk = SimulatedDisk::new(4);
    let collection = begin(&disk);
    let before = disk.read(Path::new(LOG)).unwrap();
    for id in 0..3 {
        put(&collection, SYNCED + id..SYNCED + id + 1, 1100, Durability::Written);
    }
    let log = disk.read(Path::new(LOG)).unwrap();
    let (batches, end) = batches(&log);
    let batches = &batches[1..];
    let sectors: Vec<Range<usize>> = (batches[0].start / SECTOR..end.div_ceil(SECTOR))
        .map(|sector| sector * SECTOR..sector * SECTOR + SECTOR)
        .collect();
    assert!((7..=9).contains(&sectors.len()), "{}", sectors.len());
    for lost in 0u32..1 << sectors.len() {
        let mut torn = log.clone();
        let gone = |place: usize| lost >> place & 1 == 1;
        for (_, sector) in sectors.iter().enumerate().filter(|(place, _)| gone(*place)) {
            torn[sector.clone()].copy_from_slice(&before[sector.clone()]);
        }
        // Or the file never reached that length.
        if lost % 2 == 1 {
            let kept = (0..sectors.len()).rev().find(|&place| !gone(place));
            torn.truncate(kept.map_or(batches[0].start, |place| sectors[place].end));
        }
        let overlaps = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        let is_whole = |batch: &&Range<usize>| {
            sectors.iter().enumerate().all(|(place, sector)| !gone(place) || !overlaps(batch, sector))
        };
        let whole = batches.iter().take_while(is_whole).count();
        let after = killed(&disk, &torn);
        let opened = open(&after, false).unwrap_or_else(|error| panic!("lost {lost:b}: {error}"));
        assert_eq!(ids(&opened), (0..SYNCED + whole as u64).collect::<Vec<_>>(), "lost {lost:b}");
        let is_left = batches.get(whole).is_some_and(|batch| {
            torn.get(batch.start..).is_some_and(|rest| rest.iter().any(|&byte| byte != 0))
        });
        let cut_off = &opened.open_report().cut_off;
        assert_eq!(cut_off.len(), usize::from(is_left), "lost {lost:b}: {cut_off:?}");
        assert!(cut_off.iter().all(|cut_off| cut_off.copy.is_none()), "lost {lost:b}: {cut_off:?}");
        drop(opened);
        assert_eq!(problems(&after), [""; 0], "lost {lost:b}");
        assert_eq!(names(&after), ["LOCK", "MANIFEST", "log-000001.wal"], "lost {lost:b}");
    }
}

/// The end of what the marks in the log say is durable.
fn durable_len(log: &Path) -> u64 {
    let log = std::fs::File::open(log).unwrap();
    let (mut at, mut durable) = (HEADER as u64, HEADER as u64);
    let mut header = [0; RECORD_HEADER];
    while log.read_exact_at(&mut header, at).is_ok() && header[24] != 0 {
        const MARK: u8 = 3;
        durable = if header[24] == MARK { at } else { durable };
        at += u64::from(u32::from_le_bytes(header[..4].try_into().unwrap())) + RECORD_HEADER as u64;
    }
    durable
}

/// A power cut may leave zeros in the place of everything that was not synced, however much that is.
#[test]
fn writes_that_are_never_synced_leave_a_log_that_opens() {
    const WRITES: u64 = 40;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (backend, path) = (BackendKind::all()[0].backend(), dir.path().join("c"));
    let schema = Schema { payload_bytes_max: 16 << 20, ..crate::new_schema(2) };
    let collection = Collection::create(&backend, &path, &schema, &options(false)).unwrap();
    put(&collection, 0..SYNCED, 5, Durability::Synced);
    for write in 0..WRITES {
        let id = SYNCED + write % 4;
        put(&collection, id..id + 1, 8 << 20, Durability::Written);
    }
    let log = path.join("log-000001.wal");
    let (durable, len) = (durable_len(&log), log.metadata().unwrap().len());
    assert!(len > WRITES * (8 << 20) && durable < len - (16 << 20), "{durable} of {len} bytes are durable");
    let after = dir.path().join("after");
    std::fs::create_dir(&after).unwrap();
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), after.join(entry.file_name())).unwrap();
        }
    }
    let log = std::fs::File::options().write(true).open(after.join("log-000001.wal")).unwrap();
    log.set_len(durable).unwrap();
    log.set_len(len).unwrap();
    let after = Collection::open(&backend, &after, &options(false)).unwrap();
    assert_eq!(after.count(None).wait().unwrap(), SYNCED + 4);
}
