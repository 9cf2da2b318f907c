//! Logs that the manifest does not name.

use super::assert_misplaced;
use crate::common::collections::{backend, open};
use crate::family::{DIR, contents, family, on_disk, problems, put, read, read_tree, repaired, with};
use io_core::StopFlag;
use std::path::Path;
use vecstore::collection::Collection;
use vecstore::error::{Error, FormatError};

#[test]
fn a_log_with_writes_and_an_impossible_number_is_refused() {
    let family = family();
    for number in [u64::MAX, u64::MAX / 2 + 1, u64::MAX / 2] {
        let name = format!("log-{number}.wal");
        let tree = with(family.tree(), Path::new(&name), &family.tree()[Path::new("log-000004.wal")]);
        let disk = on_disk(&tree);
        let error = open(&disk, DIR).unwrap_err();
        assert!(matches!(error, Error::Format(FormatError::Misplaced { .. })), "{error}");
        assert_misplaced(&problems(&disk), Path::new(&name), "a log with writes");
        assert!(read_tree(&disk, Path::new(DIR)).contains_key(Path::new(&name)));
        let (_, found) = repaired(&disk);
        assert_eq!(found, family.ours.last().1);
    }
}

/// The remains of an attempt to begin a log are not in the manifest. Opening for writing removes them.
#[test]
fn a_log_that_was_never_begun_is_removed() {
    let family = family();
    // A log of the same collection, with a salt that the manifest does not list.
    let log = &family.copy.last().0[Path::new("log-000004.wal")];
    let sister = &family.sister.last().0[Path::new("log-000004.wal")];
    // None, a part or all of its header, and room behind it.
    let room = [&log[..64], &[0; 5000]].concat();
    for left in [&log[..0], &log[..30], &log[..64], &sister[..64], &room] {
        let disk = on_disk(&with(family.tree(), Path::new("log-000005.wal"), left));
        let verified = Collection::verify(&backend(&disk), Path::new(DIR), &StopFlag::new()).unwrap();
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        assert!(
            verified.notes.iter().any(|note| note.contains("log-000005.wal: it was created and never begun"))
        );
        let collection = open(&disk, DIR).unwrap();
        assert!(!read_tree(&disk, Path::new(DIR)).contains_key(Path::new("log-000005.wal")));
        let mut model = family.ours.last().1.clone();
        assert_eq!(contents(&collection).unwrap(), model);
        put(&collection, &mut model, 200..201, 0);
        collection.close().unwrap();
        assert_eq!(read(&disk).unwrap(), model);
        let (report, found) = repaired(&disk);
        assert_eq!((found, report.more_lost, report.notes), (model, false, vec![]));
    }
    // With records in it, it is not such a remainder, also if none of them is whole.
    let mut garbled = log.clone();
    garbled[100..140].fill(0x55);
    let only_an_end = [&log[..64], &[0; 5000], &[7]].concat();
    for left in [&log[..], sister, &garbled, &only_an_end] {
        let disk = on_disk(&with(family.tree(), Path::new("log-000005.wal"), left));
        assert_misplaced(&problems(&disk), Path::new("log-000005.wal"), "a log with writes");
        assert!(matches!(open(&disk, DIR).unwrap_err(), Error::Format(FormatError::Misplaced { .. })));
        let (report, found) = repaired(&disk);
        assert_eq!(found, family.ours.last().1);
        assert!(report.more_lost, "{:?}", report.notes);
    }
}
