//! What is no damage: files that cannot be read, and directories without a collection.

use super::lost;
use crate::common::collections::backend;
use crate::samples::{DIR, large_sample, opened_contents};
use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{Directory, FileSystem, StopFlag, with_causes};
use std::path::Path;
use vecstore::collection::Collection;
use vecstore::error::Error;

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
    let schema = crate::new_schema(3);
    let (from, to) = (Path::new("/x"), Path::new("/y"));
    let repair = Collection::repair(&backend(&disk), from, to, Some(&schema), &StopFlag::new());
    assert!(matches!(repair.unwrap_err(), Error::NotACollection { .. }));
    assert_eq!(disk.list(from).unwrap(), [], "not even a lock file is left");
    assert!(disk.list(Path::new("/y")).is_err());
    let _ = backend(&disk).name();
}
