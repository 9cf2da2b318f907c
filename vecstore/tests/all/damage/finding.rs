//! Damage is found, and its file named.

use super::{verify, with_file};
use crate::common::collections::{backend, contents, open};
use crate::samples::{DIR, files, large_sample, sample};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, StopFlag};
use std::path::{Path, PathBuf};
use vecstore::collection::Collection;
use vecstore::error::Error;

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
    assert!(
        all.len() == 16 + 2 * crate::index_files().len()
            && all.iter().any(|path| path.to_str().unwrap().contains("deleted-")),
        "{all:?}"
    );
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

/// After any single flip, a read gives the right answer or an error, and never a wrong answer.
#[test]
fn a_flipped_bit_never_gives_a_wrong_answer() {
    let disk = SimulatedDisk::new(4);
    let expected = sample(&disk);
    let read = |disk: &SimulatedDisk| contents(&open(disk, DIR)?);
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
