//! Damage to logs.

use super::{garble, lost, repair, verify, with_file};
use crate::common::collections::open;
use crate::samples::{DIR, files, large_sample, later_writes, point, sample};
use io_core::Directory;
use io_core::testing::SimulatedDisk;
use std::ops::Range;
use std::path::{Path, PathBuf};
use vecstore::collection::Durability;
use vecstore::error::{Error, FormatError};

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

/// The place of each batch in a log. Marks lie between them.
fn records(bytes: &[u8]) -> Vec<Range<usize>> {
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
            let garbled = |range: Range<usize>| {
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
