//! The simulated disk keeps what was synced, and may lose the rest.

use io_core::testing::{DiskFault, FaultKind, SimulatedDisk};
use io_core::{
    Directory, Executor, FileSystem, OpenOptions, PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind,
    VectorReader, with_causes,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

const SECTOR: usize = 512;

fn names(disk: &SimulatedDisk, dir: &str) -> Vec<String> {
    let entries = disk.list(Path::new(dir)).unwrap();
    entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect()
}

/// Creates a file with two synced sectors of `1`. Then writes `2` over the second and a third, without a
/// sync.
fn half_synced(disk: &SimulatedDisk, path: &Path) {
    disk.run(|| async {
        let file = disk.create(path, &OpenOptions::default()).await.unwrap();
        let write = async |offset, byte| {
            let bytes = [byte; 2 * SECTOR];
            file.write_pages(&[PageWrite { offset, bytes: &bytes }]).await.unwrap();
        };
        write(0, 1).await;
        file.sync(SyncKind::Data).await.unwrap();
        disk.sync_dir(path.parent().unwrap()).unwrap();
        write(SECTOR as u64, 2).await;
        file.close().await.unwrap();
    })
    .unwrap();
}

#[test]
fn synced_bytes_survive_and_others_sector_by_sector() {
    let disk = SimulatedDisk::new(3);
    let path = Path::new("/file");
    half_synced(&disk, path);
    let mut seen = BTreeSet::new();
    for seed in 0..400 {
        let after = disk.crash(disk.history_len(), seed).read(path).unwrap();
        assert_eq!(after[..SECTOR], [1; SECTOR], "seed {seed}: what was synced and not written again");
        let rest: Vec<u8> = after[SECTOR..].chunks(SECTOR).map(|sector| sector[0]).collect();
        for sector in after[SECTOR..].chunks(SECTOR) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "seed {seed}: a sector is written whole or not"
            );
        }
        seen.insert(rest);
    }
    // The second sector is old or new. The third is missing, a hole of zeros, or there.
    let all: BTreeSet<Vec<u8>> =
        [vec![1], vec![2], vec![1, 0], vec![2, 0], vec![1, 2], vec![2, 2]].into_iter().collect();
    assert_eq!(seen, all);
    let lost = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL).read(path).unwrap();
    assert_eq!(lost, [1; 2 * SECTOR]);
    let kept = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL).read(path).unwrap();
    assert_eq!(kept, disk.read(path).unwrap());
}

#[test]
fn names_survive_when_their_directory_was_synced() {
    let disk = SimulatedDisk::new(0);
    let path = Path::new;
    disk.create_dir(path("/d")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.write(path("/d/a"), b"a").unwrap();
    disk.sync_dir(path("/d")).unwrap();
    disk.write(path("/d/b"), b"b").unwrap();
    disk.rename(path("/d/b"), path("/d/a")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let after = disk.crash(disk.history_len(), seed);
        let a = after.read(path("/d/a")).expect("a is there before and after the rename");
        seen.insert((String::from_utf8(a).unwrap(), names(&after, "/d")));
    }
    let state = |content: &str, names: &[&str]| {
        (content.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(seen, [state("a", &["a"]), state("a", &["a", "b"]), state("b", &["a"])].into_iter().collect());
    // The same disk, one change earlier.
    let before_rename = disk.crash(disk.history_len() - 1, SimulatedDisk::KEEP_ALL);
    assert_eq!(names(&before_rename, "/d"), ["a", "b"]);
    assert_eq!(disk.describe(disk.history_len() - 1), "rename b to a");
}

#[test]
fn what_a_failed_sync_lost_stays_lost() {
    let disk = SimulatedDisk::new(0);
    let path = Path::new("/file");
    disk.write(path, &[1; SECTOR]).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.run(|| async {
        let file = disk.create(Path::new("/other"), &OpenOptions::default()).await.unwrap();
        file.write_pages(&[PageWrite { offset: 0, bytes: &[7; SECTOR] }]).await.unwrap();
        disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::Io)));
        let error = file.sync(SyncKind::Data).await.unwrap_err().to_string();
        assert!(error.contains("sync"), "{error}");
        assert!(disk.has_failed());
        disk.set_fault(None);
        file.sync(SyncKind::Data).await.unwrap();
    })
    .unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let after = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL);
    assert_eq!(after.read(Path::new("/other")).unwrap(), b"");
    assert_eq!(after.read(path).unwrap(), [1; SECTOR]);
}

#[test]
fn faults_hit_the_operation_they_name() {
    let disk = SimulatedDisk::new(0);
    let path = Path::new("/file");
    half_synced(&disk, path);
    let read = || {
        disk.run(|| async {
            let reader = disk.open(path, &OpenOptions::default()).await?;
            let mut found = Vec::new();
            reader
                .read_vectors(&[ReadRequest::new(0, 1024)], &ReadControl::default(), |_, bytes| {
                    found = bytes.to_vec();
                    ControlFlow::Continue(())
                })
                .await?;
            Ok::<_, Box<dyn std::error::Error>>(found.len())
        })
        .unwrap()
        .map_err(|error| with_causes(&*error).to_string())
    };
    assert_eq!(read(), Ok(1024));
    // Opening is one operation, and the read is the next. The reader re-issues a short read.
    disk.set_fault(Some(DiskFault::new(disk.operations() + 1, FaultKind::Short)));
    assert_eq!(read(), Ok(1024));
    assert!(disk.has_failed());
    disk.set_fault(Some(DiskFault::new(disk.operations() + 1, FaultKind::Io)));
    assert!(read().unwrap_err().contains("os error 5"));
    disk.set_fault(Some(DiskFault::new(disk.operations(), FaultKind::NoSpace)));
    assert_eq!(read(), Ok(1024), "reading needs no space");
    let full = disk.write(Path::new("/new"), b"x").unwrap_err();
    assert_eq!(full.source.raw_os_error(), Some(28));
}

#[test]
fn locks_exclude_each_other_and_end_with_a_crash() {
    use io_core::LockKind::{Exclusive, Shared};
    let disk = SimulatedDisk::new(0);
    let path = Path::new("/LOCK");
    let owner = disk.lock(path, Exclusive).unwrap();
    let held = format!("is locked by process {}, or by a process that it forked", std::process::id());
    assert!(disk.lock(path, Shared).unwrap_err().to_string().ends_with(&held));
    drop(disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL).lock(path, Exclusive).unwrap());
    drop(owner);
    let _readers = [disk.lock(path, Shared).unwrap(), disk.lock(path, Shared).unwrap()];
    assert!(disk.lock(path, Exclusive).is_err());
}

#[test]
fn a_lock_belongs_to_the_file_and_not_to_its_name() {
    use io_core::LockKind::Exclusive;
    let disk = SimulatedDisk::new(0);
    let (dir, other) = (Path::new("/c"), Path::new("/other"));
    let path = dir.join("LOCK");
    disk.create_dir(dir).unwrap();
    let owner = disk.lock(&path, Exclusive).unwrap();
    assert!(owner.is_in_place().unwrap());
    disk.rename(dir, other).unwrap();
    assert!(!owner.is_in_place().unwrap());
    disk.create_dir(dir).unwrap();
    let second = disk.lock(&path, Exclusive).unwrap();
    assert!(second.is_in_place().unwrap() && !owner.is_in_place().unwrap());
    assert!(disk.lock(&other.join("LOCK"), Exclusive).is_err());
    drop(owner);
    drop(disk.lock(&other.join("LOCK"), Exclusive).unwrap());
}
