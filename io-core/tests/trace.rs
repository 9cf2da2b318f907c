//! A trace is true to the files, and claims no more as synced than really was.

use io_core::testing::{Faults, FaultyBackend, MemoryBackend, SimulatedDisk, TracedBackend};
use io_core::{
    Directory, Executor, FileSystem, OpenOptions, PageWrite, PageWriter, StopFlag, SyncKind, with_causes,
};
use std::collections::BTreeMap;
use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

const SECTOR: usize = 512;

/// All files of the simulated disk with their bytes, and all directories with `None`.
fn simulated(disk: &SimulatedDisk, dir: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(entry.name);
        found.insert(path.clone(), (!entry.is_dir).then(|| disk.read(&path).unwrap()));
        if entry.is_dir {
            simulated(disk, &path, found);
        }
    }
}

/// The same for a real directory, under the names that it has on the simulated disk.
fn real(dir: &Path, name: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let (path, name) = {
            let entry = entry.unwrap();
            (entry.path(), name.join(entry.file_name()))
        };
        found.insert(name.clone(), path.is_file().then(|| fs::read(&path).unwrap()));
        if path.is_dir() {
            real(&path, &name, found);
        }
    }
}

#[test]
fn the_trace_holds_what_the_directory_holds() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir(root.join("before")).unwrap();
    fs::write(root.join("before/file"), b"was there").unwrap();
    let backend = TracedBackend::new(MemoryBackend::new(1), root).unwrap();
    let files = backend.directory();
    let mut random = fastrand::Rng::with_seed(5);
    let mut done = BTreeMap::new();
    for step in 0..2000u32 {
        let mut path = || {
            let depth = random.usize(1..3);
            (0..depth).fold(root.to_owned(), |path, _| {
                path.join(random.choice(["a", "b", "before", "file"]).unwrap())
            })
        };
        let (one, other) = (path(), path());
        let (name, result) = match random.u32(..28) {
            0..3 => ("create", files.create_dir(&one)),
            3..8 => ("write", files.write(&one, &step.to_le_bytes())),
            8..12 => ("rename", files.rename(&one, &other)),
            12..15 => ("link", files.hard_link(&one, &other)),
            // A file cannot be copied to itself under any of its names.
            15..20 if files.read(&one).ok() != files.read(&other).ok() => {
                ("copy", files.copy(&one, &other, &StopFlag::new()))
            }
            20..22 => ("remove", files.remove_file(&one)),
            22 => ("remove all", files.remove_dir_all(&one)),
            23 => ("rewrite", files.rewrite(&one, 3)),
            24 if one.is_file() => ("sync", files.sync_file(&one)),
            25 if one.is_dir() => ("sync names", files.sync_dir(&one)),
            _ => continue,
        };
        *done.entry(name).or_insert(0) += u32::from(result.is_ok());
        let (mut traced, mut found, mut crashed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        simulated(backend.disk(), Path::new("/"), &mut traced);
        real(root, Path::new("/"), &mut found);
        assert_eq!(traced, found, "step {step}: {name} {one:?} {other:?}: {result:?}");
        if step % 20 > 0 {
            continue;
        }
        // This disk is made from the history alone.
        let all = backend.disk().crash(backend.disk().history_len(), SimulatedDisk::KEEP_ALL);
        simulated(&all, Path::new("/"), &mut crashed);
        assert_eq!(crashed, found, "step {step}: {name} {one:?} {other:?}: {result:?}");
    }
    assert!(done.len() == 10 && done.values().all(|&times| times > 5), "{done:?}");
}

#[test]
fn a_sync_covers_what_was_over_when_it_began() {
    let temp = tempfile::tempdir().unwrap();
    let backend = TracedBackend::new(MemoryBackend::new(3), temp.path()).unwrap();
    let disk = backend.disk();
    let lost = || disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL).read(Path::new("/file")).unwrap();
    backend
        .run(|| async {
            let file = backend.create(&temp.path().join("file"), &OpenOptions::default()).await.unwrap();
            backend.directory().sync_dir(temp.path()).unwrap();
            let page = |sector: u64, byte: &'static [u8; SECTOR]| PageWrite {
                offset: sector * SECTOR as u64,
                bytes: byte,
            };
            file.write_pages(&[page(0, &[1; SECTOR])]).await.unwrap();
            {
                let pages = [page(1, &[2; SECTOR])];
                let (mut write, mut sync) = (pin!(file.write_pages(&pages)), pin!(file.sync(SyncKind::Data)));
                let (mut written, mut synced) = (false, false);
                poll_fn(|cx| {
                    // The write is polled first. So it is in flight when the sync begins.
                    written = written || write.as_mut().poll(cx).map(Result::unwrap).is_ready();
                    synced = synced || sync.as_mut().poll(cx).map(Result::unwrap).is_ready();
                    if written && synced { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            assert_eq!(lost(), [1; SECTOR], "the second write was not over when the sync began");
            let kept = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
            assert_eq!(kept.read(Path::new("/file")).unwrap(), [[1; SECTOR], [2; SECTOR]].concat());
            file.sync(SyncKind::Data).await.unwrap();
            assert_eq!(lost(), [[1; SECTOR], [2; SECTOR]].concat());
            // A length, too, is durable only after a sync.
            file.set_len(7).await.unwrap();
            assert_eq!(lost().len(), 2 * SECTOR);
            file.sync(SyncKind::All).await.unwrap();
            assert_eq!(lost(), [1; 7]);
            file.close().await.unwrap();
        })
        .unwrap();
}

#[test]
fn a_write_that_fell_short_is_recorded_so() {
    for seed in 0..20 {
        let temp = tempfile::tempdir().unwrap();
        let faults = Faults { seed, short: 0.5, delay: 0.5, ..Faults::default() };
        let faulty = FaultyBackend::new(MemoryBackend::new(seed), faults);
        let backend = TracedBackend::new(faulty, temp.path()).unwrap();
        let options = OpenOptions::direct().with_read_size_max(8192);
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at / 7) as u8).take(96 << 10).collect();
        backend
            .run(|| async {
                let file = backend.create(&temp.path().join("file"), &options).await.unwrap();
                backend.directory().sync_dir(temp.path()).unwrap();
                file.write_pages(&[PageWrite { offset: 0, bytes: &bytes }]).await.unwrap();
                file.sync(SyncKind::Data).await.unwrap();
                file.close().await.unwrap();
            })
            .unwrap();
        let disk = backend.disk();
        let pieces = (0..disk.history_len())
            .map(|change| disk.describe(change))
            .filter(|what| what.starts_with("write"));
        let (whole, short): (Vec<String>, Vec<String>) =
            pieces.partition(|what| what.starts_with("write 8192 bytes"));
        assert!(!whole.is_empty() && !short.is_empty(), "{whole:?} {short:?}");
        let lost = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL);
        assert!(lost.read(Path::new("/file")).unwrap() == bytes, "seed {seed}");
    }
}

#[test]
fn a_failed_write_is_never_covered() {
    let temp = tempfile::tempdir().unwrap();
    let faults = Faults { io_error_at: Some(1), ..Faults::default() };
    let backend = TracedBackend::new(FaultyBackend::new(MemoryBackend::new(1), faults), temp.path()).unwrap();
    backend
        .run(|| async {
            let file = backend.create(&temp.path().join("file"), &OpenOptions::default()).await.unwrap();
            backend.directory().sync_dir(temp.path()).unwrap();
            file.write_pages(&[PageWrite { offset: 0, bytes: &[1; SECTOR] }]).await.unwrap();
            file.write_pages(&[PageWrite { offset: 0, bytes: &[2; SECTOR] }]).await.unwrap_err();
            file.sync(SyncKind::Data).await.unwrap();
            file.close().await.unwrap();
        })
        .unwrap();
    let disk = backend.disk();
    let after = |fate| disk.crash(disk.history_len(), fate).read(Path::new("/file")).unwrap();
    assert_eq!(after(SimulatedDisk::LOSE_ALL), [1; SECTOR]);
    assert_eq!(after(SimulatedDisk::KEEP_ALL), [2; SECTOR], "nobody knows that nothing of it was written");
}

#[test]
fn nothing_is_written_outside_of_what_is_traced() {
    let (temp, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backend = TracedBackend::new(MemoryBackend::new(1), temp.path()).unwrap();
    let (files, outside) = (backend.directory(), other.path().join("file"));
    let refused = |error: &(dyn std::error::Error + 'static)| {
        let text = with_causes(error).to_string();
        assert!(text.contains("outside of what is traced"), "{text}");
    };
    refused(&files.write(&outside, b"x").unwrap_err());
    let created = backend.run(async || backend.create(&outside, &OpenOptions::default()).await).unwrap();
    refused(&created.err().unwrap());
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    assert_eq!(backend.disk().history_len(), 0);
}
