//! Copies a collection whose files do not change meanwhile: snapshots, and restoring them.
//!
//! Files of segments never change, and a new file replaces the manifest, so copies may share these files. But
//! opening for writing cuts a torn end off a log in place. Each copy therefore has its own logs.

use super::files::{
    FileName, LOCK, MANIFEST, SNAPSHOT_NEW, deleted_path, log_path, parent, parse, parse_deleted,
    segment_path,
};
use super::manifest::Manifest;
use super::open::check_segment_dir;
use super::shared::Shared;
use super::staging::{self, Staging, check_target};
use crate::error::{Error, FormatError};
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo};
use io_core::{Directory, FileSystem, StopFlag};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

/// Makes a snapshot of a collection whose files do not change meanwhile.
pub(super) fn take(
    shared: &Shared,
    manifest: &Manifest,
    target: &Path,
    stop: &StopFlag,
) -> Result<(), Error> {
    let (directory, dir) = (&*shared.backend.directory(), &*shared.dir);
    check_target(directory, dir, target)?;
    // Made inside the collection, so that after a crash the remains are removed with other leftovers.
    let new = dir.join(SNAPSHOT_NEW);
    shared.check_place()?;
    remove_if_there(directory, &new)?;
    directory.create_dir(&new)?;
    // Readers of the copy need a file to lock, and must not create one.
    let made = (|| {
        directory.write(&new.join(LOCK), &[])?;
        copy_files(directory, dir, manifest, &new, stop)?;
        // Everything copied so far was in this collection, not in another one at its path.
        shared.check_place()?;
        move_or_copy(directory, &new, target, stop)
    })();
    let is_moved = matches!(made, Ok(true));
    if !is_moved && shared.check_place().is_ok() {
        // If this fails, the next snapshot or opening removes it.
        let _ = directory.remove_dir_all(&new);
    }
    made.map(drop)
}

/// Makes a collection from a snapshot. It changes nothing in the snapshot, which may be on read-only media.
pub(super) fn restore(
    directory: &dyn Directory,
    snapshot: &Path,
    manifest: &Manifest,
    target: &Path,
    stop: &StopFlag,
) -> Result<(), Error> {
    check_target(directory, snapshot, target)?;
    let staging = Staging::begin(directory, target, "restore")?;
    let made = copy_files(directory, snapshot, manifest, &staging.dir, stop);
    staging.end(made)
}

fn remove_if_there(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    match directory.remove_dir_all(dir) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Copies the files that the manifest lists, and the unfinished logs, to a directory that has only a lock
/// file.
fn copy_files(
    directory: &dyn Directory,
    from: &Path,
    manifest: &Manifest,
    to: &Path,
    stop: &StopFlag,
) -> Result<(), Error> {
    for entry in directory.list(from)? {
        let name = entry.name.to_str().unwrap_or_default();
        let is_log = matches!(parse(name), Some(FileName::Log(number)) if number >= manifest.log_first);
        let (from, to) = (from.join(name), to.join(name));
        if is_log {
            copy(directory, &from, &to, stop)?;
        } else if name == MANIFEST {
            link_or_copy(directory, &from, &to, stop)?;
        }
    }
    for segment in &manifest.segments {
        let (from, to) = (segment_path(from, segment.number), segment_path(to, segment.number));
        check_segment_dir(directory, &from)?;
        directory.create_dir(&to)?;
        for entry in directory.list(&from)? {
            let deleted = entry.name.to_str().and_then(parse_deleted);
            if deleted.is_none() || deleted == segment.deleted {
                link_or_copy(directory, &from.join(&entry.name), &to.join(&entry.name), stop)?;
            }
        }
        directory.sync_dir(&to)?;
    }
    check_whole(directory, from, to, manifest)?;
    directory.sync_dir(to)?;
    // Makes the name durable too, so that the rename has something to move.
    Ok(directory.sync_dir(parent(to))?)
}

/// Refuses a copy that lacks a file which the manifest or a segment lists. The source may lack it, or its
/// listing may have ended early.
fn check_whole(directory: &dyn Directory, from: &Path, to: &Path, manifest: &Manifest) -> Result<(), Error> {
    let names = |dir: &Path| -> Result<BTreeSet<OsString>, Error> {
        Ok(directory.list(dir)?.into_iter().map(|entry| entry.name).collect())
    };
    let missing = |path: &Path| Err(Error::damaged(path, None, "it is missing"));
    let copied = names(to)?;
    if !copied.contains(OsStr::new(MANIFEST)) {
        return missing(&from.join(MANIFEST));
    }
    for log in manifest.begun().map(|number| log_path(from, number)) {
        if !log.file_name().is_some_and(|name| copied.contains(name)) {
            return Err(Error::log_lost(&log));
        }
    }
    for segment in &manifest.segments {
        let copied = names(&segment_path(to, segment.number))?;
        let from = segment_path(from, segment.number);
        let json = from.join(SEGMENT_JSON);
        // Opening finds other damage of this file.
        let info = SegmentInfo::decode(&json, &directory.read(&json)?).ok();
        let listed = info.iter().flat_map(SegmentInfo::files).map(|name| from.join(name));
        let deleted = segment.deleted.map(|number| deleted_path(&from, number));
        for file in listed.chain(deleted) {
            if !file.file_name().is_some_and(|name| copied.contains(name)) {
                return missing(&file);
            }
        }
    }
    Ok(())
}

/// Gives the copy its name, durably. On another file system, it must be copied again. Returns whether it was
/// moved.
fn move_or_copy(
    directory: &dyn Directory,
    new: &Path,
    target: &Path,
    stop: &StopFlag,
) -> Result<bool, Error> {
    match staging::move_to(directory, new, target) {
        Err(Error::Format(FormatError::Directory(error)))
            if error.source.kind() == ErrorKind::CrossesDevices =>
        {
            let staging = Staging::begin(directory, target, "snapshot")?;
            let copied = copy_tree(directory, new, &staging.dir, stop);
            staging.end(copied)?;
            Ok(false)
        }
        moved => moved.map(|()| true),
    }
}

/// Copies the content of a directory to an existing one, without the lock file.
fn copy_tree(directory: &dyn Directory, from: &Path, to: &Path, stop: &StopFlag) -> Result<(), Error> {
    for entry in directory.list(from)?.into_iter().filter(|entry| entry.name != LOCK) {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            directory.create_dir(&to)?;
            copy_tree(directory, &from, &to, stop)?;
        } else {
            copy(directory, &from, &to, stop)?;
        }
    }
    Ok(directory.sync_dir(to)?)
}

fn copy(directory: &dyn Directory, from: &Path, to: &Path, stop: &StopFlag) -> Result<(), Error> {
    let copied = directory.copy(from, to, stop);
    copied.map_err(|error| match error.source.kind() {
        ErrorKind::Interrupted if stop.is_stopped() => Error::Stopped,
        _ => error.into(),
    })
}

fn link_or_copy(directory: &dyn Directory, from: &Path, to: &Path, stop: &StopFlag) -> Result<(), Error> {
    if stop.is_stopped() {
        return Err(Error::Stopped);
    }
    match directory.hard_link(from, to) {
        Ok(()) => Ok(()),
        // A missing source or a full disk would make copying fail too.
        Err(error) if matches!(error.source.kind(), ErrorKind::NotFound | ErrorKind::StorageFull) => {
            Err(error.into())
        }
        Err(_) => copy(directory, from, to, stop),
    }
}
