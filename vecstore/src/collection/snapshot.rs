//! Copying a collection whose files do not change meanwhile: snapshots and restoring them.
//!
//! The copy is put together under another name, which it loses when it is complete and durable, so that whatever has the
//! target's name is whole.

use super::files::{FileName, LOCK, MANIFEST, SNAPSHOT_NEW, parent, parse, parse_deleted, segment_path};
use super::manifest::Manifest;
use super::open;
use crate::error::Error;
use io_core::{Directory, DirectoryError};
use std::io::ErrorKind;
use std::path::Path;

/// Makes a snapshot of a collection, whose files do not change meanwhile.
pub(super) fn take(
    directory: &dyn Directory,
    dir: &Path,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), Error> {
    check_free(directory, target)?;
    // Within the collection: what a crash leaves of it is removed with the collection's other leftovers.
    let new = dir.join(SNAPSHOT_NEW);
    let made = remove_if_there(directory, &new)
        .and_then(|()| Ok(directory.create_dir(&new)?))
        .and_then(|()| copy_files(directory, dir, manifest, &new))
        .and_then(|()| move_to(directory, &new, target));
    clean_up(directory, &new, made)
}

/// Makes a collection from a snapshot, of which nothing is touched: it may be on read-only media.
pub(super) fn restore(
    directory: &dyn Directory,
    snapshot: &Path,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), Error> {
    check_free(directory, target)?;
    let name = target.file_name().ok_or_else(|| Error::Exists { path: target.to_owned() })?;
    // A name that nobody else gives: what is there is of a restoring, and may be removed.
    let new = target.with_file_name(format!(".{}.vecstore-restore", name.display()));
    // One that is there is of a restoring that did not come to its end, or that is under way.
    match directory.create_dir(&new) {
        Err(error) if error.source.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let _lock = open::lock(directory, &new, false)?;
    let made = remove_all_but_lock(directory, &new)
        .and_then(|()| copy_files(directory, snapshot, manifest, &new))
        .and_then(|()| move_to(directory, &new, target));
    clean_up(directory, &new, made)
}

fn check_free(directory: &dyn Directory, target: &Path) -> Result<(), Error> {
    if directory.list(target).is_ok() || directory.read_at(target, 0, 0).is_ok() {
        return Err(Error::Exists { path: target.to_owned() });
    }
    Ok(())
}

fn remove_if_there(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    match directory.remove_dir_all(dir) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove_all_but_lock(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    for entry in directory.list(dir)?.into_iter().filter(|entry| entry.name != LOCK) {
        let path = dir.join(entry.name);
        if entry.is_dir { directory.remove_dir_all(&path)? } else { directory.remove_file(&path)? }
    }
    Ok(())
}

/// After an error nothing of the copy stays. The error that led here is the one to report.
fn clean_up(directory: &dyn Directory, new: &Path, made: Result<(), Error>) -> Result<(), Error> {
    if made.is_err() {
        let _ = directory.remove_dir_all(new);
    }
    made
}

/// Copies what the manifest names, and the logs it does not call done with, to an empty directory.
fn copy_files(directory: &dyn Directory, from: &Path, manifest: &Manifest, to: &Path) -> Result<(), Error> {
    // So that whoever reads the copy finds something to lock, and makes no file.
    directory.write(&to.join(LOCK), &[])?;
    for entry in directory.list(from)? {
        let name = entry.name.to_str().unwrap_or_default();
        let is_log = matches!(parse(name), Some(FileName::Log(number)) if number >= manifest.log_first);
        if is_log || name == MANIFEST {
            link_or_copy(directory, &from.join(name), &to.join(name))?;
        }
    }
    for segment in &manifest.segments {
        let (from, to) = (segment_path(from, segment.number), segment_path(to, segment.number));
        directory.create_dir(&to)?;
        for entry in directory.list(&from)? {
            let deleted = entry.name.to_str().and_then(parse_deleted);
            if deleted.is_none() || deleted == segment.deleted {
                link_or_copy(directory, &from.join(&entry.name), &to.join(&entry.name))?;
            }
        }
        directory.sync_dir(&to)?;
    }
    directory.sync_dir(to)?;
    // Its name too, so that the rename has something to move.
    Ok(directory.sync_dir(parent(to))?)
}

/// Gives the copy its name, durably. On another file system it has to be copied once more.
fn move_to(directory: &dyn Directory, new: &Path, target: &Path) -> Result<(), Error> {
    match directory.rename(new, target) {
        Ok(()) => {}
        Err(error) if error.source.kind() == ErrorKind::CrossesDevices => {
            let copied = copy_tree(directory, new, target);
            if let Err(error) = copied {
                let _ = directory.remove_dir_all(target);
                return Err(error.into());
            }
            directory.remove_dir_all(new)?;
        }
        Err(error) => return Err(DirectoryError { path: target.to_owned(), ..error }.into()),
    }
    Ok(directory.sync_dir(parent(target))?)
}

/// Copies a directory; what a file system of its own has to do without is atomicity, so the manifest comes last.
fn copy_tree(directory: &dyn Directory, from: &Path, to: &Path) -> Result<(), DirectoryError> {
    directory.create_dir(to)?;
    let mut entries = directory.list(from)?;
    entries.sort_by_key(|entry| entry.name == MANIFEST);
    for entry in entries {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir { copy_tree(directory, &from, &to)? } else { directory.copy(&from, &to)? }
    }
    directory.sync_dir(to)
}

fn link_or_copy(directory: &dyn Directory, from: &Path, to: &Path) -> Result<(), Error> {
    match directory.hard_link(from, to) {
        Ok(()) => Ok(()),
        // Not there, or no room: copying would not go better.
        Err(error) if matches!(error.source.kind(), ErrorKind::NotFound | ErrorKind::StorageFull) => {
            Err(error.into())
        }
        Err(_) => Ok(directory.copy(from, to)?),
    }
}
