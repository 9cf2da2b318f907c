//! Flipped bits, missing files and wrong files are found, named, and repaired as far as possible.

mod finding;
mod logs;
mod no_damage;
mod repairing;

use crate::common::collections::{Model, backend};
use crate::samples::{DIR, files, opened_contents};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, StopFlag};
use std::ops::Range;
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, RepairReport, VerifyReport};
use vecstore::error::Error;
use vecstore::schema::Schema;

fn verify(disk: &SimulatedDisk) -> VerifyReport {
    Collection::verify(&backend(disk), Path::new(DIR), &StopFlag::new()).unwrap()
}

fn with_file(disk: &SimulatedDisk, path: &Path, bytes: &[u8]) -> SimulatedDisk {
    let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
    copy.write(path, bytes).unwrap();
    copy
}

fn repair_with(disk: &SimulatedDisk, schema: Option<&Schema>) -> Result<(RepairReport, Model), Error> {
    let target = Path::new("/repaired");
    let report = Collection::repair(&backend(disk), Path::new(DIR), target, schema, &StopFlag::new())?;
    let found = opened_contents(disk, "/repaired");
    assert_eq!(report.points, found.len() as u64);
    let verified = Collection::verify(&backend(disk), target, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    Ok((report, found))
}

fn repair(disk: &SimulatedDisk) -> (RepairReport, Model) {
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
fn garble(bytes: &mut [u8], range: Range<usize>) {
    bytes[range].iter_mut().enumerate().for_each(|(i, byte)| *byte = byte.wrapping_add(77 + i as u8 % 100));
}

fn repair_garbled(
    disk: &SimulatedDisk,
    name: &str,
    ranges: impl IntoIterator<Item = Range<usize>>,
) -> (RepairReport, Model) {
    let path = file(disk, name);
    let mut bytes = disk.read(&path).unwrap();
    ranges.into_iter().for_each(|range| garble(&mut bytes, range));
    repair(&with_file(disk, &path, &bytes))
}
